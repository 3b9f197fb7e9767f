/** Text of scanned pages: the pictures of a page through recognition. */
import type { Line } from './pdf-layout.ts';
import { type PdfDocument, picturesOf, toPnm } from './pdf-pictures.ts';
import type { Recogniser } from './recognition.ts';

/** Whether the page, numbered from 1, has a picture that may be one of text, over at least such a share of it. */
export async function hasScan(pdf: PdfDocument, number: number, share = 0): Promise<boolean> {
  const page = await pdf.getPage(number);
  const pictures = await picturesOf(page);
  page.cleanup();
  return pictures.length > 0 && pictures.reduce((sum, picture) => sum + picture.share, 0) >= share;
}

/** Lines in reading order, without places; empty where nothing was recognised. */
export async function readScan(pdf: PdfDocument, number: number, recognise: Recogniser): Promise<Line[]> {
  const page = await pdf.getPage(number);
  const lines: Line[] = [];
  for (const picture of await picturesOf(page)) {
    let gap = lines.length > 0;
    for (const line of (await recognise(toPnm(picture))).split('\n')) {
      if (line.trim() === '') {
        gap = true;
        continue;
      }
      // Of no size, so that it is taken for neither heading nor body.
      lines.push({ text: line.trim(), x: 0, right: 0, y: 0, size: Number.NaN, before: gap ? '\n\n' : '\n' });
      gap = false;
    }
  }
  page.cleanup();
  return lines;
}
