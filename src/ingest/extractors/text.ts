/** Plain text and Markdown: bytes in any common encoding become text; Markdown's headings are kept as places in it. */
import { decodeFile } from '../decode-stream.ts';
import type { StreamedExtractor } from '../extract-file.ts';
import { createHeadingScanner, frontMatterTitle } from '../markdown-headings.ts';

export const extractText: StreamedExtractor = async ({ path }, output) => {
  for await (const piece of decodeFile(path)) output.write(piece);
  return { title: null, pages: [], headings: [] };
};

/** The text stays as it was written, marks and front matter included: it is what its author reads. */
export const extractMarkdown: StreamedExtractor = async ({ path }, output) => {
  const scanner = createHeadingScanner();
  output.onPiece = scanner.push;
  for await (const piece of decodeFile(path)) output.write(piece);
  output.end();
  const { headings, frontMatter } = scanner.end();
  const title = frontMatterTitle(frontMatter) ?? headings.find(({ level }) => level === 1)?.title ?? null;
  return { title, pages: [], headings };
};
