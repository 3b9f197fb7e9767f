/** Plain text and Markdown: bytes in any common encoding become text; Markdown's headings are kept as places in it. */
import type { ExtractedDocument } from '../../contracts/index.ts';
import { decode, detectCharset } from '../charset.ts';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import { frontMatterTitle, markdownHeadings } from '../markdown-headings.ts';

export function extractText(bytes: Uint8Array): ExtractedDocument {
  return { text: decodeText(bytes), title: null, pages: [], headings: [] };
}

/** The text stays as it was written, marks and front matter included: it is what its author reads. */
export function extractMarkdown(bytes: Uint8Array): ExtractedDocument {
  const text = decodeText(bytes);
  const headings = markdownHeadings(text);
  const title = frontMatterTitle(text) ?? headings.find(({ level }) => level === 1)?.title ?? null;
  return { text, title, pages: [], headings };
}

function decodeText(bytes: Uint8Array): string {
  const charset = detectCharset(bytes, true);
  if (!charset) throw new ExtractError('corrupt', 'The text is in no character encoding that is known here.');
  return cleanText(decode(bytes, charset));
}
