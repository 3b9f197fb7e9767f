/**
 * The directories of a TIFF file: what each of its pictures is, and where its pieces lie. Values stay the bytes that they
 * are, because whoever decodes the picture is given them again. Layout: TIFF 6.0, section 2.
 */
import { ExtractError } from './extract-error.ts';

export interface TiffField {
  type: number;
  count: number;
  /** As they stand in the file. */
  value: Buffer;
}

export interface TiffDirectory {
  littleEndian: boolean;
  fields: ReadonlyMap<number, TiffField>;
}

export const TAG = {
  subfile: 254,
  oldSubfile: 255,
  width: 256,
  height: 257,
  bits: 258,
  compression: 259,
  photometric: 262,
  offsets: 273,
  orientation: 274,
  samples: 277,
  rowsPerStrip: 278,
  byteCounts: 279,
  planar: 284,
  predictor: 317,
  tileWidth: 322,
  extraSamples: 338,
  sampleFormat: 339,
  jpegTables: 347,
} as const;

const MAX_FIELDS = 1000;
/** Strips of a picture at most: rows of one. */
const MAX_VALUE_BYTES = 512 * 1024;
/** Bytes of a value, by its type: BYTE, ASCII, SHORT, LONG, RATIONAL, and the signed ones. */
const TYPE_BYTES: readonly number[] = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4];
const SHORT = 3;
const LONG = 4;

/** Of the file's pictures in their order, at most `most`. Throws `corrupt`, or `unsupported_media_type` for BigTIFF. */
export function readTiffDirectories(file: Buffer, most: number): TiffDirectory[] {
  const littleEndian = file.toString('latin1', 0, 2) === 'II';
  if (file.length < 8) throw damaged();
  const read = reader(file, littleEndian);
  if (read.short(2) === 43) {
    const message = 'This is a TIFF for files of more than 4 GB (BigTIFF). Save it as a common TIFF or a PDF.';
    throw new ExtractError('unsupported_media_type', message);
  }
  const directories: TiffDirectory[] = [];
  const seen = new Set<number>();
  for (let at = read.long(4); at !== 0 && directories.length < most; ) {
    // A chain that comes back to itself would never end.
    if (seen.has(at) || at + 2 > file.length) break;
    seen.add(at);
    const count = read.short(at);
    const end = at + 2 + count * 12;
    if (count === 0 || count > MAX_FIELDS || end > file.length) break;
    const fields = new Map<number, TiffField>();
    for (let field = at + 2; field < end; field += 12) {
      const known = readField(file, read, field);
      if (known) fields.set(read.short(field), known);
    }
    directories.push({ littleEndian, fields });
    at = end + 4 <= file.length ? read.long(end) : 0;
  }
  if (directories.length === 0) throw damaged();
  return directories;
}

function readField(file: Buffer, read: ReturnType<typeof reader>, at: number): TiffField | undefined {
  const [type, count] = [read.short(at + 2), read.long(at + 4)];
  const bytes = (TYPE_BYTES[type] ?? 0) * count;
  const from = bytes <= 4 ? at + 8 : read.long(at + 8);
  // What is none of ours may be of any type, and lie anywhere.
  if (bytes === 0 || bytes > MAX_VALUE_BYTES || from + bytes > file.length) return undefined;
  return { type, count, value: file.subarray(from, from + bytes) };
}

function reader(bytes: Buffer, littleEndian: boolean) {
  return {
    short: (at: number) => (littleEndian ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at)),
    long: (at: number) => (littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)),
  };
}

/** Whole numbers of a field; none where there is no such field, or it holds something else. */
export function numbersOf({ littleEndian, fields }: TiffDirectory, tag: number): number[] {
  const field = fields.get(tag);
  if (!field || (field.type !== SHORT && field.type !== LONG && field.type !== 1)) return [];
  const { type, count, value } = field;
  const read = reader(value, littleEndian);
  return Array.from({ length: count }, (_, i) =>
    type === SHORT ? read.short(i * 2) : type === LONG ? read.long(i * 4) : (value[i] ?? 0),
  );
}

export const numberOf = (directory: TiffDirectory, tag: number, otherwise: number): number =>
  numbersOf(directory, tag)[0] ?? otherwise;

export function longs(littleEndian: boolean, values: readonly number[]): TiffField {
  const value = Buffer.alloc(values.length * 4);
  for (const [i, one] of values.entries()) {
    if (littleEndian) value.writeUInt32LE(one, i * 4);
    else value.writeUInt32BE(one, i * 4);
  }
  return { type: LONG, count: values.length, value };
}

/** A file of one picture, with the fields that say where its strips lie. */
export function writeTiff({ littleEndian, fields }: TiffDirectory, pieces: readonly Uint8Array[]): Buffer {
  const all = new Map(fields);
  all.set(
    TAG.byteCounts,
    longs(
      littleEndian,
      pieces.map(({ length }) => length),
    ),
  );
  all.set(
    TAG.offsets,
    longs(
      littleEndian,
      Array.from(pieces, () => 0),
    ),
  );
  const sorted = [...all].toSorted(([a], [b]) => a - b);
  const directoryBytes = 2 + sorted.length * 12 + 4;
  const valueBytes = sorted.reduce((sum, [, { value }]) => sum + (value.length > 4 ? even(value.length) : 0), 0);
  let at = 8 + directoryBytes + valueBytes;
  const offsets = pieces.map(({ length }) => {
    const start = at;
    at += even(length);
    return start;
  });
  all.set(TAG.offsets, longs(littleEndian, offsets));

  const file = Buffer.alloc(at);
  const short = (value: number, to: number) =>
    littleEndian ? file.writeUInt16LE(value, to) : file.writeUInt16BE(value, to);
  const long = (value: number, to: number) =>
    littleEndian ? file.writeUInt32LE(value, to) : file.writeUInt32BE(value, to);
  file.write(littleEndian ? 'II' : 'MM', 0, 'latin1');
  short(42, 2);
  long(8, 4);
  short(sorted.length, 8);
  let beside = 8 + directoryBytes;
  sorted.forEach(([tag], i) => {
    const { type, count, value } = all.get(tag) ?? longs(littleEndian, []);
    const entry = 10 + i * 12;
    short(tag, entry);
    short(type, entry + 2);
    long(count, entry + 4);
    if (value.length <= 4) value.copy(file, entry + 8);
    else {
      long(beside, entry + 8);
      value.copy(file, beside);
      beside += even(value.length);
    }
  });
  for (const [i, piece] of pieces.entries()) file.set(piece, offsets[i] ?? 0);
  return file;
}

const even = (bytes: number) => bytes + (bytes & 1);

const damaged = () => new ExtractError('corrupt', 'The TIFF is damaged: its list of pictures cannot be read.');
