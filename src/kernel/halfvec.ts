/**
 * Vectors as pgvector's `halfvec` receives and sends them: the number of dimensions and a zero in 16 bits each, then an
 * IEEE 754 half a dimension, all big-endian. A twelfth of the text form, and nothing is printed or parsed.
 */
import pgvector from 'pgvector';

const HEAD_BYTES = 4;

/** Rounds to the nearest half, ties to even, as the server does. At most 16,000 dimensions. */
export function encodeHalfvec(vector: Float32Array): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(HEAD_BYTES + vector.length * 2);
  bytes.writeUInt16BE(vector.length, 0);
  bytes.writeUInt16BE(0, 2);
  const halves = bytes.subarray(HEAD_BYTES);
  new Float16Array(bytes.buffer, HEAD_BYTES, vector.length).set(vector);
  halves.swap16();
  return bytes;
}

/** The text form, `[0.1,-0.2,…]`, for where no binary parameter can be given. */
export function halfvecText(bytes: Uint8Array): string {
  const halves = Buffer.from(bytes.subarray(HEAD_BYTES));
  halves.swap16();
  const values = new Float16Array(halves.buffer, halves.byteOffset, halves.length / 2);
  return pgvector.toSql(Array.from(values)) as string;
}
