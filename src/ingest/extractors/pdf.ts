/**
 * PDF through pdf.js (packaged by unpdf): text page by page. Chinese, Japanese and Korean fonts that are not embedded
 * need the character maps of `pdfjs-dist`; without them such a page reads as empty. One pdf.js a process: this runs in
 * the extraction child.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getDocumentProxy } from 'unpdf';
import { cleanText, hasContent } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { ExtractContext, HeldExtractor } from '../extract-file.ts';
import { withWritten, writtenOn } from '../pdf-annotations.ts';
import { type Line, layOutPage, type Run } from '../pdf-layout.ts';
import type { PdfDocument } from '../pdf-pictures.ts';
import { hasScan, readScan } from '../pdf-scan.ts';
import { joinPages } from '../pdf-text.ts';
import { MAX_PIXELS } from '../picture-size.ts';
import { tooLarge } from '../text-output.ts';

type PdfPage = Awaited<ReturnType<PdfDocument['getPage']>>;

/** One is parsed while another is laid out. */
const PAGES_AT_ONCE = 8;
/** Recognition takes seconds a page. */
const MAX_SCANNED_PAGES = 60;
/** A stamp, a number or a heading; more is a page's own text. */
const MAX_STAMP_CHARS = 120;
const MAX_STAMPED_PAGES = 20;
const MIN_SCAN_SHARE = 0.6;

export const extractPdf: HeldExtractor = async ({ path }, context) => {
  const pdf = await openPdf(await Bun.file(path).bytes());
  try {
    const pages: Line[][] = [];
    let chars = 0;
    for (let number = 1; number <= pdf.numPages; number += PAGES_AT_ONCE) {
      const count = Math.min(PAGES_AT_ONCE, pdf.numPages - number + 1);
      const batch = await Promise.all(Array.from({ length: count }, (_, i) => readPage(pdf, number + i)));
      for (const { text } of batch.flat()) chars += text.length + 1;
      if (chars > context.heldChars) throw tooLarge(context.heldChars);
      pages.push(...batch);
    }
    await addFiles(pdf, context);
    await recognisePages(pdf, pages, context);
    const document = joinPages(pages);
    if (!hasContent(document.text)) {
      throw new ExtractError('needs_ocr', 'The PDF has no text in it, and none was recognised in its pictures.');
    }
    return { ...document, title: await titleOf(pdf) };
  } finally {
    await pdf.loadingTask.destroy();
  }
};

/**
 * Pages without text may be pictures of text; what is recognised becomes their text. So may pages with a stamp or a number
 * on a picture of the whole page: there it comes behind what they have.
 */
async function recognisePages(pdf: PdfDocument, pages: Line[][], { onRecognising }: ExtractContext): Promise<void> {
  const texts = pages.map((lines) => lines.map(({ text }) => text).join(''));
  const wordless = texts.flatMap((text, i) => (hasContent(text) ? [] : [i]));
  const all = wordless.length === pages.length;
  const scanned: number[] = [];
  // Few pages only are looked at closely: a long document with empty pages is not a scanned one.
  for (const i of wordless.slice(0, MAX_SCANNED_PAGES + 1)) if (await hasScan(pdf, i + 1)) scanned.push(i);
  const stamped = texts.flatMap((text, i) => (hasContent(text) && text.length <= MAX_STAMP_CHARS ? [i] : []));
  for (const i of stamped.slice(0, Math.max(0, MAX_STAMPED_PAGES - scanned.length))) {
    if (await hasScan(pdf, i + 1, MIN_SCAN_SHARE)) scanned.push(i);
  }
  if (scanned.length === 0) return;
  if (all && scanned.length > MAX_SCANNED_PAGES) {
    const message = `The PDF has more than ${MAX_SCANNED_PAGES} scanned pages; run text recognition (OCR) on it before.`;
    throw new ExtractError('needs_ocr', message);
  }
  onRecognising();
  // Loaded when it is needed, which is seldom.
  const { createRecogniser } = await import('../recognition.ts');
  const recognise = createRecogniser();
  for (const i of scanned) pages[i] = [...(pages[i] ?? []), ...(await readScan(pdf, i + 1, recognise))];
}

async function openPdf(bytes: Uint8Array): Promise<PdfDocument> {
  const resources = dirname(fileURLToPath(import.meta.resolve('pdfjs-dist/package.json')));
  try {
    return await getDocumentProxy(bytes, {
      cMapUrl: join(resources, 'cmaps/'),
      cMapPacked: true,
      standardFontDataUrl: join(resources, 'standard_fonts/'),
      wasmUrl: join(resources, 'wasm/'),
      disableFontFace: true,
      maxImageSize: MAX_PIXELS,
      useSystemFonts: false,
      verbosity: 0,
    });
  } catch (error) {
    if (error instanceof Error && error.name === 'PasswordException') {
      throw new ExtractError('encrypted', 'The PDF is protected with a password.', error);
    }
    if (error instanceof RangeError) throw error;
    throw new ExtractError('corrupt', 'The PDF is damaged and cannot be opened.', error);
  }
}

/** What is attached to it, and what a portfolio consists of. */
async function addFiles(pdf: PdfDocument, { addFile }: ExtractContext): Promise<void> {
  // Broken lists of files are no reason not to read the pages.
  const attached = await pdf.getAttachments().catch(() => null);
  for (const [id, { filename }] of attached ?? []) {
    const bytes = await pdf.getAttachmentContent(id).catch(() => undefined);
    if (bytes && bytes.length > 0) addFile(filename || 'attachment', '', bytes);
  }
}

async function readPage(pdf: PdfDocument, number: number): Promise<Line[]> {
  let page: PdfPage | undefined;
  try {
    page = await pdf.getPage(number);
    const { items } = await page.getTextContent();
    // What is broken there is not shown by anybody; the page's text is read all the same.
    const { runs, remarks } = writtenOn(await page.getAnnotations().catch(() => []));
    const text = items.flatMap((item) => ('str' in item ? [toRun(item)] : []));
    return [...layOutPage(runs.length > 0 ? withWritten(text, runs) : text), ...remarks];
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new ExtractError('corrupt', `Page ${number} of the PDF is damaged and cannot be read.`, error);
  } finally {
    page?.cleanup();
  }
}

function toRun({ str, transform, width }: { str: string; transform: unknown[]; width: number }): Run {
  const [, , c = 0, d = 0, x = 0, y = 0] = transform.map(Number);
  return { text: str, x, y, width, size: Math.hypot(c, d) };
}

/** The title that its author gave it; programs fill the field with file names and placeholders. */
async function titleOf(pdf: PdfDocument): Promise<string | null> {
  // A document whose metadata are broken has no title, and is read all the same.
  const { info } = await pdf.getMetadata().catch(() => ({ info: {} }));
  const title =
    'Title' in info && typeof info.Title === 'string' ? cleanText(info.Title).replace(/\s+/g, ' ').trim() : '';
  const placeholder =
    /^\(?(?:untitled|anonymous|unspecified|title)\)?$|^Microsoft \w+ - |\.(?:docx?|pdf|tex|indd|pptx?|xlsx?)$/i;
  return title === '' || placeholder.test(title) || title.length > 300 ? null : title;
}
