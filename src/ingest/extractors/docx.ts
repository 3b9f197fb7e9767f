/**
 * Word documents: unpacked within limits, then mammoth's HTML, then Markdown, so that headings, lists, tables and notes
 * keep their form. Pictures are left out but for their descriptions, equations are written in a line.
 */
import { parseHTML } from 'linkedom';
import mammoth from 'mammoth';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { htmlToMarkdown } from '../html-to-markdown.ts';
import { markdownHeadings } from '../markdown-headings.ts';
import { unpackOffice } from '../office-parts.ts';
import { storedZip } from '../zip-write.ts';

/** Beside mammoth's own: built-in names as other languages' programs write them, and comments. */
const STYLES = [
  "p[style-name='Title'] => h1:fresh",
  "p[style-name='标题'] => h1:fresh",
  ...[1, 2, 3, 4, 5, 6].map((level) => `p[style-name='标题 ${level}'] => h${level}:fresh`),
  "p[style-name='Subtitle'] => p:fresh",
  'comment-reference => sup',
];

export const extractDocx: HeldExtractor = async ({ path }) => {
  const parts = await unpackOffice(path);
  const xml = new TextDecoder();
  for (const [name, bytes] of parts) {
    const text = xml.decode(bytes);
    if (text.includes('<m:oMath')) parts.set(name, new TextEncoder().encode(withEquationsAsText(text)));
  }
  const html = await toHtml(storedZip(parts));
  const text = cleanText(htmlToMarkdown(parseHTML(`<!DOCTYPE html><html><body>${html}</body></html>`).document.body));
  const headings = markdownHeadings(text);
  const core = parts.get('docProps/core.xml');
  const title = (core && titleOf(xml.decode(core))) || headings.find(({ level }) => level === 1)?.title || null;
  return { text, title, pages: [], headings };
};

async function toHtml(file: Buffer): Promise<string> {
  try {
    const { value } = await mammoth.convertToHtml(
      { buffer: file },
      {
        styleMap: STYLES,
        externalFileAccess: false,
        // The picture itself is never read: it was not unpacked.
        convertImage: mammoth.images.imgElement(async () => ({ src: '' })),
      },
    );
    // The way back from a note to its mark.
    return value.replaceAll(/ ?<a href="#[^"<]{1,200}">↑<\/a>/g, '');
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new ExtractError('corrupt', 'The Word document is damaged and cannot be read.', error);
  }
}

/** mammoth skips equations; each becomes a run of text: `x=(-b)/2a`, fractions and exponents marked. */
function withEquationsAsText(xml: string): string {
  const pieces: string[] = [];
  let at = 0;
  for (let start = nextEquation(xml, 0); start >= 0; start = nextEquation(xml, at)) {
    const end = xml.indexOf('</m:oMath>', start);
    if (end < 0) break;
    pieces.push(
      xml.slice(at, start),
      `<w:r><w:t xml:space="preserve">${equationText(xml.slice(start, end))}</w:t></w:r>`,
    );
    at = end + '</m:oMath>'.length;
  }
  pieces.push(xml.slice(at));
  return pieces.join('').replace(/<\/?m:oMathPara(?:\s[^<>]*)?>/g, '');
}

function nextEquation(xml: string, from: number): number {
  const plain = xml.indexOf('<m:oMath>', from);
  const attributed = xml.indexOf('<m:oMath ', from);
  return plain < 0 || attributed < 0 ? Math.max(plain, attributed) : Math.min(plain, attributed);
}

function equationText(xml: string): string {
  const marks: Readonly<Record<string, string>> = { den: '/', sup: '^', sub: '_' };
  let text = '';
  for (const [, run, part, sign] of xml.matchAll(
    /<m:t(?:\s[^<>]*)?>([^<]*)<|<m:(den|sup|sub)>|<m:chr m:val="([^"<]*)"/g,
  )) {
    text += run ?? sign ?? marks[part ?? ''] ?? '';
  }
  return text;
}

function titleOf(core: string): string | null {
  const raw = /<dc:title[^>]{0,200}>([^<]{1,500})</.exec(core)?.[1];
  if (!raw) return null;
  const decoded = parseHTML(`<p>${raw}</p>`).document.querySelector('p')?.textContent ?? '';
  return cleanText(decoded).replace(/\s+/g, ' ').trim() || null;
}
