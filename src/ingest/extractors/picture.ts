/** Pictures: the text that can be recognised in them. Pictures of a TIFF are pages, of a GIF or a WebP the first one is read. */
import { imageSize } from 'image-size';
import type { PageSpan } from '../../contracts/index.ts';
import { ppmOfBmp } from '../bmp-pixels.ts';
import { cleanText, hasContent } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { firstFrame } from '../gif-frame.ts';
import { assertDecodable } from '../picture-size.ts';
import { createRecogniser, type Recogniser } from '../recognition.ts';
import { tiffPages } from '../tiff-pages.ts';
import { stillWebp } from '../webp-frame.ts';

/** Recognition takes seconds a page. */
const MAX_TIFF_PAGES = 60;
/** What the library's own reader takes without running out of memory. */
const MAX_RARE_BMP_BYTES = 4 * 1024 * 1024;
const PAGE_GAP = '\n\n';

export const extractPicture: HeldExtractor = async ({ path }, { onRecognising }) => {
  const bytes = await Bun.file(path).bytes();
  const { width, height } = sizeOf(bytes);
  assertDecodable(width, height);
  onRecognising();
  return { text: said(await recognised(createRecogniser(), stillWebp(bytes))), title: null, pages: [], headings: [] };
};

export const extractBmp: HeldExtractor = async ({ path }, { onRecognising }) => {
  const bytes = await Bun.file(path).bytes();
  const pixels = ppmOfBmp(bytes);
  if (!pixels && bytes.length > MAX_RARE_BMP_BYTES) {
    const message = 'This kind of BMP is not read. Save the picture as PNG and send it again.';
    throw new ExtractError('unsupported_media_type', message);
  }
  onRecognising();
  return { text: said(await recognised(createRecogniser(), pixels ?? bytes)), title: null, pages: [], headings: [] };
};

export const extractGif: HeldExtractor = async ({ path }, { onRecognising }) => {
  const frame = firstFrame(await Bun.file(path).bytes());
  onRecognising();
  return { text: said(await recognised(createRecogniser(), frame)), title: null, pages: [], headings: [] };
};

export const extractTiff: HeldExtractor = async ({ path }, { onRecognising }) => {
  const scans = tiffPages(Buffer.from(await Bun.file(path).arrayBuffer()), MAX_TIFF_PAGES);
  onRecognising();
  const recognise = createRecogniser();
  const pages: PageSpan[] = [];
  let text = '';
  for (const [i, scan] of scans.entries()) {
    const page = scan.legible ? cleanText(await recognised(recognise, scan.file(), i + 1)) : '';
    if (page !== '' && text !== '') text += PAGE_GAP;
    pages.push({ page: i + 1, start: text.length, end: text.length + page.length });
    text += page;
  }
  return { text: said(text), title: null, pages, headings: [] };
};

function sizeOf(bytes: Uint8Array): { width: number; height: number } {
  try {
    return imageSize(bytes);
  } catch (error) {
    throw new ExtractError('corrupt', 'The picture is damaged and cannot be read.', error);
  }
}

async function recognised(recognise: Recogniser, bytes: Uint8Array, page?: number): Promise<string> {
  // What the page before left behind would be missed: a child has room for one large page, packed small or not.
  Bun.gc(true);
  try {
    return await recognise(bytes);
  } catch (error) {
    if (error instanceof ExtractError || error instanceof RangeError) throw error;
    const what = page === undefined ? 'The picture' : `Page ${page} of the TIFF`;
    throw new ExtractError('corrupt', `${what} is damaged and cannot be read.`, error);
  }
}

/** Clean text, if there is any. */
function said(recognisedText: string): string {
  const text = cleanText(recognisedText);
  if (!hasContent(text)) throw new ExtractError('empty', 'No text was recognised in the picture.');
  return text;
}
