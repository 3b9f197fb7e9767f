/** TIFF files, honest and hostile, and other pictures as little as their readers look at. Little-endian. */

/** A field: its number, its type (3 of 16 bits, 4 of 32) and its values. */
type Field = readonly [tag: number, type: 3 | 4, ...values: number[]];

export interface TiffPicture {
  width: number;
  height: number;
  compression?: number;
  strips?: readonly Uint8Array[];
  /** Beside what is said above; the same numbers replace it. */
  fields?: readonly Field[];
}

/** One grey byte a pixel. `nextOf` says which picture's directory follows a picture's; the next one, unless told. */
export function tiff(
  pictures: readonly TiffPicture[],
  nextOf: (index: number) => number = (index) => index + 1,
): Uint8Array {
  const header = Buffer.from('49492a0000000000', 'hex');
  const pieces: Buffer[] = [header];
  let at = header.length;
  const put = (bytes: Uint8Array): number => {
    const start = at;
    const padded = Buffer.concat([bytes, Buffer.alloc(bytes.length & 1)]);
    pieces.push(padded);
    at += padded.length;
    return start;
  };
  const directories = pictures.map(({ width, height, compression = 1, strips = [new Uint8Array(8)], fields = [] }) => {
    const own: Field[] = [
      [256, 4, width],
      [257, 4, height],
      [258, 3, 8],
      [259, 3, compression],
      [262, 3, 1],
      [273, 4, ...strips.map(put)],
      [277, 3, 1],
      [278, 4, Math.ceil(height / strips.length)],
      [279, 4, ...strips.map(({ length }) => length)],
    ];
    const all = new Map([...own, ...fields].map((field) => [field[0], field]));
    const sorted = [...all.values()].toSorted(([a], [b]) => a - b);
    const entries = sorted.map(([tag, type, ...values]) => {
      const value = Buffer.alloc(Math.max(4, values.length * (type === 3 ? 2 : 4)));
      for (const [i, one] of values.entries()) {
        if (type === 3) value.writeUInt16LE(one, i * 2);
        else value.writeUInt32LE(one, i * 4);
      }
      const entry = Buffer.alloc(12);
      entry.writeUInt16LE(tag, 0);
      entry.writeUInt16LE(type, 2);
      entry.writeUInt32LE(values.length, 4);
      if (value.length === 4) value.copy(entry, 8);
      else entry.writeUInt32LE(put(value), 8);
      return entry;
    });
    const count = Buffer.alloc(2);
    count.writeUInt16LE(entries.length);
    const directory = Buffer.concat([count, ...entries, Buffer.alloc(4)]);
    const start = put(directory);
    return { start, end: start + directory.length - 4 };
  });
  const file = Buffer.concat(pieces);
  file.writeUInt32LE(directories[0]?.start ?? 0, 4);
  for (const [i, { end }] of directories.entries()) file.writeUInt32LE(directories[nextOf(i)]?.start ?? 0, end);
  return file;
}

/** A screen of one size and frames of another, of two colours; each frame is as little data as ends it. */
export function gif(
  screen: readonly [number, number],
  frame: readonly [number, number] = screen,
  frames = 1,
): Uint8Array {
  const head = Buffer.from('4749463839610000000080000000000000ffffff', 'hex').subarray(0, 19);
  head.writeUInt16LE(screen[0], 6);
  head.writeUInt16LE(screen[1], 8);
  const image = Buffer.from('2c000000000000000000024c0100', 'hex');
  image.writeUInt16LE(frame[0], 5);
  image.writeUInt16LE(frame[1], 7);
  const one = Buffer.concat([image.subarray(0, 10), Buffer.from([2, 1, 0x2c, 0])]);
  return Buffer.concat([head, ...Array.from({ length: frames }, () => one), Buffer.from([0x3b])]);
}

/** A BMP's headers, without a pixel unless given: 24 bits each, rows from the bottom. */
export function bmp(width: number, height: number, pixels: Uint8Array = new Uint8Array(), bits = 24): Uint8Array {
  const header = Buffer.alloc(54);
  header.write('BM', 0, 'latin1');
  header.writeUInt32LE(54 + pixels.length, 2);
  header.writeUInt32LE(54, 10);
  header.writeUInt32LE(40, 14);
  header.writeInt32LE(width, 18);
  header.writeInt32LE(height, 22);
  header.writeUInt16LE(1, 26);
  header.writeUInt16LE(bits, 28);
  return Buffer.concat([header, pixels]);
}
