/**
 * Rows in PostgreSQL's binary COPY format (the manual's chapter on COPY, "Binary Format"), written into one growing
 * buffer: no object, string or buffer is made for a field. All numbers are big-endian.
 */
export interface BinaryRows {
  /** Begins a row of so many fields. */
  row(fields: number): void;
  null(): void;
  int4(value: number): void;
  float4(value: number): void;
  /** The form with hyphens. */
  uuid(value: string): void;
  /** Well-formed and without NUL, or the server refuses the row. */
  text(value: string): void;
  /** Bytes as they are: of a `bytea`, or of any type's own binary form. */
  bytes(value: Uint8Array): void;
  textArray(values: readonly string[]): void;
  /** All rows so far with the trailer; no row can follow. */
  end(): Uint8Array;
}

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
const TEXT_OID = 25;
const START_BYTES = 64 * 1024;

export function createBinaryRows(): BinaryRows {
  let buffer = Buffer.allocUnsafe(START_BYTES);
  let at = 0;

  function reserve(bytes: number): void {
    if (at + bytes <= buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(buffer.length * 2, at + bytes));
    buffer.copy(larger, 0, 0, at);
    buffer = larger;
  }
  function int16(value: number): void {
    reserve(2);
    at = buffer.writeInt16BE(value, at);
  }
  function int32(value: number): void {
    reserve(4);
    at = buffer.writeInt32BE(value, at);
  }
  function text(value: string): void {
    // No UTF-16 unit takes more than three bytes of UTF-8.
    reserve(4 + value.length * 3);
    const written = buffer.write(value, at + 4, 'utf8');
    buffer.writeInt32BE(written, at);
    at += 4 + written;
  }
  function bytes(value: Uint8Array): void {
    reserve(4 + value.length);
    at = buffer.writeInt32BE(value.length, at);
    buffer.set(value, at);
    at += value.length;
  }

  reserve(SIGNATURE.length + 8);
  at += SIGNATURE.copy(buffer, at);
  int32(0);
  int32(0);
  return {
    row: int16,
    null: () => int32(-1),
    int4(value) {
      int32(4);
      int32(value);
    },
    float4(value) {
      int32(4);
      reserve(4);
      at = buffer.writeFloatBE(value, at);
    },
    uuid(value) {
      int32(16);
      reserve(16);
      at += buffer.write(value.replaceAll('-', ''), at, 'hex');
    },
    text,
    bytes,
    textArray(values) {
      reserve(4);
      const length = at;
      at += 4;
      int32(values.length === 0 ? 0 : 1);
      int32(0);
      int32(TEXT_OID);
      if (values.length > 0) {
        int32(values.length);
        int32(1);
        for (const value of values) text(value);
      }
      buffer.writeInt32BE(at - length - 4, length);
    },
    end() {
      int16(-1);
      return buffer.subarray(0, at);
    },
  };
}
