/**
 * PDF through pdf.js (packaged by unpdf): text page by page. Chinese, Japanese and Korean fonts that are not embedded
 * need the character maps of `pdfjs-dist`; without them such a page reads as empty. One pdf.js a process: this runs in
 * the extraction child.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getDocumentProxy } from 'unpdf';
import type { ExtractedDocument } from '../../contracts/index.ts';
import { cleanText, hasContent } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import { type Line, layOutPage, type Run } from '../pdf-layout.ts';
import { joinPages } from '../pdf-text.ts';

type PdfDocument = Awaited<ReturnType<typeof getDocumentProxy>>;
type PdfPage = Awaited<ReturnType<PdfDocument['getPage']>>;

export async function extractPdf(
  bytes: Uint8Array,
  { outputChars }: { outputChars: number },
): Promise<ExtractedDocument> {
  const pdf = await openPdf(bytes);
  try {
    const pages: Line[][] = [];
    let chars = 0;
    for (let number = 1; number <= pdf.numPages; number++) {
      const lines = await readPage(pdf, number);
      for (const { text } of lines) chars += text.length + 1;
      if (chars > outputChars) {
        throw new ExtractError('limits_exceeded', `The document has more than ${outputChars} characters of text.`);
      }
      pages.push(lines);
    }
    const document = joinPages(pages);
    if (!hasContent(document.text)) {
      throw new ExtractError(
        'needs_ocr',
        'The PDF holds pictures of pages and no text; it needs text recognition (OCR).',
      );
    }
    return { ...document, title: await titleOf(pdf) };
  } finally {
    await pdf.loadingTask.destroy();
  }
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

async function readPage(pdf: PdfDocument, number: number): Promise<Line[]> {
  let page: PdfPage | undefined;
  try {
    page = await pdf.getPage(number);
    const { items } = await page.getTextContent();
    return layOutPage(items.flatMap((item) => ('str' in item ? [toRun(item)] : [])));
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
  const { info } = await pdf.getMetadata().catch(() => ({ info: {} }));
  const title =
    'Title' in info && typeof info.Title === 'string' ? cleanText(info.Title).replace(/\s+/g, ' ').trim() : '';
  const placeholder =
    /^\(?(?:untitled|anonymous|unspecified|title)\)?$|^Microsoft \w+ - |\.(?:docx?|pdf|tex|indd|pptx?|xlsx?)$/i;
  return title === '' || placeholder.test(title) || title.length > 300 ? null : title;
}
