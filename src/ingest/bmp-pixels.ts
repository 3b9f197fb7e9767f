/**
 * A BMP as PPM, a large one as PGM. What hands pictures to recognition reads BMPs byte by byte into objects, which takes gigabytes for a page
 * of print. Layout: BITMAPINFOHEADER and what followed it; rows from the bottom, padded to four bytes, blue first.
 */
import { ExtractError } from './extract-error.ts';
import { greyOf, MAX_COLOUR_PIXELS } from './grey-pixels.ts';
import { assertDecodable } from './picture-size.ts';

const FILE_HEADER = 14;
/** Neither packed nor of masks; masks of 32 bits are blue first as well in practice. */
const PLAIN: ReadonlySet<number> = new Set([0, 3]);
const BITS: ReadonlySet<number> = new Set([1, 4, 8, 24, 32]);

/** `undefined` for the rare kinds (run lengths, 16 bits, OS/2). Throws `corrupt` or `limits_exceeded`. */
export function ppmOfBmp(file: Uint8Array): Uint8Array | undefined {
  const bmp = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (bmp.length < FILE_HEADER + 40) throw damaged();
  const headerBytes = bmp.readUInt32LE(14);
  const [width, signed] = [bmp.readInt32LE(18), bmp.readInt32LE(22)];
  const height = Math.abs(signed);
  const [bits, packing] = [bmp.readUInt16LE(28), bmp.readUInt32LE(30)];
  if (headerBytes < 40 || !BITS.has(bits) || !PLAIN.has(packing) || (packing === 3 && bits !== 32)) return undefined;
  if (width < 1 || height < 1) throw damaged();
  assertDecodable(width, height);

  const start = bmp.readUInt32LE(10);
  const rowBytes = Math.ceil((width * bits) / 32) * 4;
  if (start + rowBytes * height > bmp.length) throw damaged();
  const palette = bmp.subarray(FILE_HEADER + headerBytes, start);
  const isGrey = width * height > MAX_COLOUR_PIXELS;
  const header = Buffer.from(`${isGrey ? 'P5' : 'P6'}\n${width} ${height}\n255\n`, 'latin1');
  const ppm = Buffer.alloc(header.length + width * height * (isGrey ? 1 : 3));
  header.copy(ppm);
  const pixels = new Uint8Array(width * 3);
  for (let y = 0, to = header.length; y < height; y++) {
    const row = start + (signed < 0 ? y : height - 1 - y) * rowBytes;
    for (let x = 0; x < width; x++) {
      const from = bits >= 24 ? row + x * (bits / 8) : indexAt(bmp, row, x, bits) * 4;
      const source = bits >= 24 ? bmp : palette;
      pixels[x * 3] = source[from + 2] ?? 0;
      pixels[x * 3 + 1] = source[from + 1] ?? 0;
      pixels[x * 3 + 2] = source[from] ?? 0;
    }
    const line = isGrey ? greyOf(pixels, 3) : pixels;
    ppm.set(line, to);
    to += line.length;
  }
  return ppm;
}

/** Of a pixel's colour, where several are in a byte: the first in its highest bits. */
function indexAt(bmp: Buffer, row: number, x: number, bits: number): number {
  const perByte = 8 / bits;
  const byte = bmp[row + Math.floor(x / perByte)] ?? 0;
  return (byte >> (8 - bits * ((x % perByte) + 1))) & ((1 << bits) - 1);
}

const damaged = () => new ExtractError('corrupt', 'The picture is damaged and cannot be read.');
