/** Strips of a TIFF picture that are packed by deflate, unpacked: the decoder of pictures here knows no deflate. */
import { inflateSync } from 'node:zlib';

export interface StripShape {
  /** Pixels in a row, and rows, of the largest strip. */
  width: number;
  rows: number;
  /** Of a pixel; they stand together. */
  samples: number;
  bits: number;
  littleEndian: boolean;
  /** Samples are kept as differences from the one at the left: TIFF 6.0, section 14. */
  differences: boolean;
}

/** Throws what zlib does, a `RangeError` among it where the strip unpacks to more than it should. */
export function inflateStrip(packed: Uint8Array, shape: StripShape): Buffer {
  const rowBytes = rowBytesOf(shape);
  const bytes = inflateSync(packed, { maxOutputLength: Math.max(1, rowBytes * shape.rows) });
  if (shape.differences) {
    for (let at = 0; at + rowBytes <= bytes.length; at += rowBytes) addUp(bytes.subarray(at, at + rowBytes), shape);
  }
  return bytes;
}

export const rowBytesOf = ({ width, samples, bits }: StripShape): number => Math.ceil((width * samples * bits) / 8);

/** Of 8 and 16 bits, as the standard has it; of others there are no differences. */
function addUp(row: Buffer, { samples, bits, littleEndian }: StripShape): void {
  if (bits === 8) {
    for (let at = samples; at < row.length; at++) row[at] = ((row[at] ?? 0) + (row[at - samples] ?? 0)) & 0xff;
    return;
  }
  for (let at = samples * 2; at + 2 <= row.length; at += 2) {
    const left = at - samples * 2;
    if (littleEndian) row.writeUInt16LE((row.readUInt16LE(at) + row.readUInt16LE(left)) & 0xffff, at);
    else row.writeUInt16BE((row.readUInt16BE(at) + row.readUInt16BE(left)) & 0xffff, at);
  }
}
