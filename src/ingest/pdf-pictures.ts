/** The pictures of a PDF page as they are shown: decoded, turned by quarters, and in the simplest of picture formats. */
import { type getDocumentProxy, getResolvedPDFJS } from 'unpdf';
import { isLegible } from './picture-size.ts';

export type PdfDocument = Awaited<ReturnType<typeof getDocumentProxy>>;
type PdfPage = Awaited<ReturnType<PdfDocument['getPage']>>;

/** What pdf.js makes of a picture: rows from the top; `kind` 1 a bit a pixel, 2 RGB, 3 RGBA. */
interface Decoded {
  width: number;
  height: number;
  kind: 1 | 2 | 3;
  data: Uint8Array | Uint8ClampedArray;
}

export interface Picture {
  image: Decoded;
  /** Quarters of a turn, clockwise, until it stands as it is shown. */
  quarters: 0 | 1 | 2 | 3;
  /** Of the page that it covers, as far as it is not shown beyond it: 1 is all of it. */
  share: number;
}

/** A page is one picture, or strips of it; what else is on it are ornaments. */
const MAX_PICTURES = 8;
const MIN_PIXELS = 20_000;

type Matrix = readonly [number, number, number, number];

export async function picturesOf(page: PdfPage): Promise<Picture[]> {
  const { OPS } = await getResolvedPDFJS();
  const { fnArray, argsArray } = await page.getOperatorList();
  const pictures: Picture[] = [];
  const [left = 0, bottom = 0, right = 0, top = 0] = page.view;
  const pageArea = Math.max(1, Math.abs((right - left) * (top - bottom)));
  const saved: Matrix[] = [];
  let matrix: Matrix = [1, 0, 0, 1];
  for (let i = 0; i < fnArray.length && pictures.length < MAX_PICTURES; i++) {
    const args: unknown = argsArray[i];
    if (fnArray[i] === OPS.save) saved.push(matrix);
    else if (fnArray[i] === OPS.restore) matrix = saved.pop() ?? matrix;
    else if (fnArray[i] === OPS.transform) matrix = multiply(matrix, numbersOf(args));
    else if (fnArray[i] === OPS.paintImageXObject || fnArray[i] === OPS.paintImageMaskXObject) {
      const image = await decodedOf(page, Array.isArray(args) ? args[0] : undefined);
      if (image && isLegible(image.width, image.height) && image.width * image.height >= MIN_PIXELS) {
        const [a, b, c, d] = matrix;
        pictures.push({
          image,
          quarters: quartersOf(matrix, page.rotate),
          share: Math.min(1, Math.abs(a * d - b * c) / pageArea),
        });
      }
    }
  }
  return pictures;
}

/** A name among the page's objects, or a stencil: the picture itself, or with such a name in it. */
async function decodedOf(page: PdfPage, given: unknown): Promise<Decoded | undefined> {
  const stencil =
    typeof given === 'object' && given !== null ? (given as { data?: unknown; width?: unknown }) : undefined;
  const name = typeof given === 'string' ? given : typeof stencil?.data === 'string' ? stencil.data : undefined;
  if (name === undefined) return asDecoded({ kind: 1, ...stencil });
  const objects = name.startsWith('g_') ? page.commonObjs : page.objs;
  const object = await new Promise<unknown>((resolve) => void objects.get(name, resolve));
  return asDecoded(stencil ? { kind: 1, ...(object as object) } : object);
}

function asDecoded(value: unknown): Decoded | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { width, height, kind, data } = value as Partial<Decoded>;
  if (!width || !height || !data || (kind !== 1 && kind !== 2 && kind !== 3)) return undefined;
  const rowBytes = kind === 1 ? (width + 7) >> 3 : width * (kind + 1);
  return data.length >= rowBytes * height ? { width, height, kind, data } : undefined;
}

const numbersOf = (args: unknown): number[] => (Array.isArray(args) ? args.map(Number) : []);

function multiply([a, b, c, d]: Matrix, [e = 1, f = 0, g = 0, h = 1]: readonly number[]): Matrix {
  return [a * e + c * f, b * e + d * f, a * g + c * h, b * g + d * h];
}

/** A page turns clockwise, coordinates the other way. */
function quartersOf([a, b]: Matrix, rotation: number): 0 | 1 | 2 | 3 {
  const turn = rotation / 90 - Math.atan2(b, a) / (Math.PI / 2);
  return (((Math.round(turn) % 4) + 4) % 4) as 0 | 1 | 2 | 3;
}

/** PGM or PPM: a line of header, then a byte a sample. Transparency is left out: paper has none. */
export function toPnm({ image, quarters }: Omit<Picture, 'share'>): Uint8Array {
  const { width, height, kind } = image;
  const samples = kind === 1 ? 1 : 3;
  const [w, h] = quarters % 2 === 1 ? [height, width] : [width, height];
  const header = Buffer.from(`${samples === 1 ? 'P5' : 'P6'}\n${w} ${h}\n255\n`, 'latin1');
  const out = Buffer.alloc(header.length + w * h * samples);
  header.copy(out);
  const sampleAt = sampler(image);
  for (let y = 0, to = header.length; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const [fromX, fromY] =
        quarters === 0
          ? [x, y]
          : quarters === 1
            ? [y, height - 1 - x]
            : quarters === 2
              ? [width - 1 - x, height - 1 - y]
              : [width - 1 - y, x];
      for (let sample = 0; sample < samples; sample++) out[to++] = sampleAt(fromX, fromY, sample);
    }
  }
  return out;
}

function sampler({ width, kind, data }: Decoded): (x: number, y: number, sample: number) => number {
  if (kind === 1) {
    const rowBytes = (width + 7) >> 3;
    return (x, y) => ((data[y * rowBytes + (x >> 3)] ?? 0) & (0x80 >> (x & 7)) ? 255 : 0);
  }
  const channels = kind + 1;
  return (x, y, sample) => data[(y * width + x) * channels + sample] ?? 255;
}
