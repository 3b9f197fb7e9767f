/**
 * The pages of a TIFF, each as a picture that recognition reads. Its own reader (libtiff) is given a file of one page at a
 * time, with nothing in it but what says how to decode that page; what it knows no way to unpack (deflate, JPEG) is
 * unpacked, or put into a file of that kind, before.
 */
import { ExtractError } from './extract-error.ts';
import { greyOf, MAX_COLOUR_PIXELS } from './grey-pixels.ts';
import { assertDecodable, isLegible, MAX_PIXELS } from './picture-size.ts';
import { inflateStrip, rowBytesOf, type StripShape } from './tiff-deflate.ts';
import {
  longs,
  numberOf,
  numbersOf,
  readTiffDirectories,
  TAG,
  type TiffDirectory,
  type TiffField,
  writeTiff,
} from './tiff-directory.ts';
import { jpegOfStrips } from './tiff-jpeg.ts';

/** How pixels are packed: TIFF 6.0, and the numbers that were registered since. */
const NONE = 1;
const JPEG = 7;
/** None, three kinds of fax, LZW, words of fax, runs of bytes. */
const KNOWN: ReadonlySet<number> = new Set([NONE, 2, 3, 4, 5, 32771, 32773]);
const DEFLATE: ReadonlySet<number> = new Set([8, 32946]);
/** Photometric interpretations; the last is luminance and colour differences. */
const BLACK_IS_ZERO = 1;
const RGB = 2;
const YCBCR = 6;
/** As many as a picture of 8-bit colour takes at most. */
const MAX_UNPACKED_BYTES = MAX_PIXELS * 4;

/** Fields that say how a picture is decoded; texts, profiles and private ones stay behind. */
const KEPT: ReadonlySet<number> = new Set([
  256, 257, 258, 259, 262, 266, 274, 277, 278, 282, 283, 284, 292, 293, 296, 317, 320, 338, 339, 529, 530,
]);

/** Of a TIFF. Its file is made when it is asked for, so that one page is held at a time. */
export interface TiffPage {
  /** Whether there is room for letters in it. */
  legible: boolean;
  /** Throws `corrupt`, `limits_exceeded`, or `unsupported_media_type` for a packing that is not read. */
  file(): Uint8Array;
}

/**
 * The pictures that are pages, in their order. Sizes of all are looked at before. Throws `corrupt`, `limits_exceeded`,
 * `needs_ocr` for more than `most`, or `unsupported_media_type`.
 */
export function tiffPages(file: Buffer, most: number): TiffPage[] {
  // Previews come beside pages, and are no more than they are.
  const pages = readTiffDirectories(file, most * 2 + 1).filter(isPage);
  if (pages.length > most) {
    const message = `The TIFF has more than ${most} pages; run text recognition (OCR) on it before.`;
    throw new ExtractError('needs_ocr', message);
  }
  const sizes = pages.map((page) => [numberOf(page, TAG.width, 0), numberOf(page, TAG.height, 0)] as const);
  for (const [width, height] of sizes) assertDecodable(width, height);
  return pages.map((page, i) => ({
    legible: isLegible(...(sizes[i] ?? [0, 0])),
    file: () => pageFile(file, page, i + 1),
  }));
}

/** Neither a smaller copy nor a mask of another picture. */
function isPage(directory: TiffDirectory): boolean {
  return (numberOf(directory, TAG.subfile, 0) & 0b101) === 0 && numberOf(directory, TAG.oldSubfile, 0) !== 2;
}

function pageFile(file: Buffer, page: TiffDirectory, number: number): Uint8Array {
  const compression = numberOf(page, TAG.compression, NONE);
  const inPlanes = numberOf(page, TAG.planar, 1) === 2 && numberOf(page, TAG.samples, 1) > 1;
  if (page.fields.has(TAG.tileWidth)) throw unread(number, 'made of tiles');
  if (inPlanes) throw unread(number, 'made of a plane for each colour');
  const strips = stripsOf(file, page, number);
  if (DEFLATE.has(compression)) return plainFile(page, inflated(page, strips, number));
  if (compression === NONE) return plainFile(page, strips);
  if (KNOWN.has(compression)) return writeTiff(kept(page), strips);
  const jpeg = compression === JPEG ? jpegOf(page, strips) : undefined;
  if (!jpeg) throw unread(number, `packed in a way that is not read (number ${compression})`);
  return jpeg;
}

/** Of pixels that are not packed. */
function plainFile(page: TiffDirectory, strips: readonly Uint8Array[]): Uint8Array {
  const plain = kept(page, true);
  const samples = numberOf(page, TAG.samples, 1);
  const isColour = samples >= 3 && numberOf(page, TAG.photometric, 0) === RGB && numberOf(page, TAG.bits, 1) === 8;
  const pixels = numberOf(page, TAG.width, 0) * numberOf(page, TAG.height, 0);
  if (!isColour || pixels <= MAX_COLOUR_PIXELS) return writeTiff(plain, strips);
  const one = (value: number) => longs(page.littleEndian, [value]);
  const fields = new Map(plain.fields)
    .set(TAG.bits, one(8))
    .set(TAG.samples, one(1))
    .set(TAG.photometric, one(BLACK_IS_ZERO));
  for (const tag of [TAG.extraSamples, TAG.sampleFormat]) fields.delete(tag);
  return writeTiff(
    { ...plain, fields },
    strips.map((strip) => greyOf(strip, samples)),
  );
}

/** Those of honest files are no more than the file together. */
function stripsOf(file: Buffer, page: TiffDirectory, number: number): Uint8Array[] {
  const counts = numbersOf(page, TAG.byteCounts);
  let total = 0;
  const strips = numbersOf(page, TAG.offsets).map((offset, i) => {
    // Old fax programs do not say how long the only strip is.
    const strip = file.subarray(offset, offset + (counts[i] ?? file.length));
    total += strip.length;
    return strip;
  });
  if (total === 0 || total > file.length) throw damaged(number);
  return strips;
}

function kept({ littleEndian, fields }: TiffDirectory, unpacked = false): TiffDirectory {
  const wanted = new Map<number, TiffField>([...fields].filter(([tag]) => KEPT.has(tag)));
  // Written as they are not in photographs: what hands pictures to the reader looks for that, and would turn them again.
  wanted.set(TAG.orientation, longs(littleEndian, [orientationOf({ littleEndian, fields })]));
  if (unpacked) {
    wanted.set(TAG.compression, longs(littleEndian, [NONE]));
    wanted.delete(TAG.predictor);
  }
  return { littleEndian, fields: wanted };
}

/** 1 as it is shown, to 8: TIFF 6.0, page 36. */
const orientationOf = (page: TiffDirectory) => Math.max(1, Math.min(8, numberOf(page, TAG.orientation, 1)));

function inflated(page: TiffDirectory, strips: readonly Uint8Array[], number: number): Uint8Array[] {
  const [width, height] = [numberOf(page, TAG.width, 0), numberOf(page, TAG.height, 0)];
  const predictor = numberOf(page, TAG.predictor, 1);
  const shape: StripShape = {
    width,
    rows: Math.min(height, numberOf(page, TAG.rowsPerStrip, height)),
    samples: numberOf(page, TAG.samples, 1),
    bits: numberOf(page, TAG.bits, 1),
    littleEndian: page.littleEndian,
    differences: predictor === 2,
  };
  const known = predictor === 1 || (predictor === 2 && (shape.bits === 8 || shape.bits === 16));
  if (!known || shape.samples > 8 || shape.bits > 32) throw damaged(number);
  const tooMuch = new ExtractError(
    'limits_exceeded',
    `Page ${number} of the TIFF unpacks to more than a page may have.`,
  );
  if (rowBytesOf(shape) * shape.rows * strips.length > MAX_UNPACKED_BYTES) throw tooMuch;
  try {
    return strips.map((strip) => inflateStrip(strip, shape));
  } catch (error) {
    throw error instanceof RangeError ? tooMuch : damaged(number, error);
  }
}

function jpegOf(page: TiffDirectory, strips: readonly Uint8Array[]): Uint8Array | undefined {
  const height = numberOf(page, TAG.height, 0);
  return jpegOfStrips(strips, {
    width: numberOf(page, TAG.width, 0),
    height,
    rowsPerStrip: Math.min(height, numberOf(page, TAG.rowsPerStrip, height)),
    orientation: orientationOf(page),
    ycbcr: numberOf(page, TAG.photometric, 0) === YCBCR,
    tables: page.fields.get(TAG.jpegTables)?.value,
  });
}

const unread = (number: number, how: string) =>
  new ExtractError(
    'unsupported_media_type',
    `Page ${number} of the TIFF is ${how}. Save it as a PDF, or as a TIFF with LZW or fax compression.`,
  );

const damaged = (number: number, cause?: unknown) =>
  new ExtractError('corrupt', `Page ${number} of the TIFF is damaged and cannot be read.`, cause);
