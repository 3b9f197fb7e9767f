/** Word documents of before 2007, through word-extractor. */
import * as XLSX from '@e965/xlsx';
import WordExtractor from 'word-extractor';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';

/** Quotation marks and dashes stay what they are; the library's types know no such wish. */
const AS_WRITTEN = { filterUnicode: false };
type Wish = typeof AS_WRITTEN;

interface OldDocument {
  getBody(wish: Wish): string;
  getHeaders(wish: Wish & { includeFooters: boolean }): string;
  getTextboxes(wish: Wish): string;
  getFootnotes(wish: Wish): string;
  getEndnotes(wish: Wish): string;
  getAnnotations(wish: Wish): string;
}

export const extractDoc: HeldExtractor = async ({ path }) => {
  const document = await open(path);
  const asides: [string, string][] = [
    ['Headers', document.getHeaders({ includeFooters: true, ...AS_WRITTEN })],
    ['Text boxes', document.getTextboxes(AS_WRITTEN)],
    ['Footnotes', document.getFootnotes(AS_WRITTEN)],
    ['Endnotes', document.getEndnotes(AS_WRITTEN)],
    ['Comments', document.getAnnotations(AS_WRITTEN)],
  ];
  const blocks = [
    tidy(document.getBody(AS_WRITTEN)),
    ...asides.flatMap(([name, text]) => (text.trim() === '' ? [] : [`${name}:\n${tidy(text)}`])),
  ];
  return { text: cleanText(blocks.join('\n\n').trim()), title: null, pages: [], headings: [] };
};

async function open(path: string): Promise<OldDocument> {
  try {
    if (isEncrypted(await Bun.file(path).bytes()))
      throw new ExtractError('encrypted', 'The Word document is protected with a password.');
    return (await new WordExtractor().extract(path)) as unknown as OldDocument;
  } catch (error) {
    if (error instanceof RangeError || error instanceof ExtractError) throw error;
    throw new ExtractError('corrupt', 'The Word document is damaged and cannot be read.', error);
  }
}

/** The header says so, and the library does not look. [MS-DOC] 2.5.2, `fEncrypted`. */
function isEncrypted(bytes: Uint8Array): boolean {
  const stream = XLSX.CFB.find(XLSX.CFB.read(Buffer.from(bytes), { type: 'buffer' }), 'WordDocument');
  const header = Buffer.from(stream?.content ?? []);
  const isWord = header.length >= 12 && header.readUInt16LE(0) === 0xa5ec;
  return isWord && (header.readUInt16LE(10) & 0x0100) !== 0;
}

/** Cells end in a tab; paragraphs are lines, with nothing between that tells them apart. */
function tidy(text: string): string {
  return cleanText(text)
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}
