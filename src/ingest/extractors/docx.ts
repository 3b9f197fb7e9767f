/**
 * Word documents: unpacked within limits, then mammoth's HTML, then Markdown, so that headings, lists, tables and notes
 * keep their form. Pictures are left out but for their descriptions, equations are written in a line.
 */
import { parseHTML } from 'linkedom';
import mammoth from 'mammoth';
import { cleanText } from '../clean-text.ts';
import { equationText } from '../equation-text.ts';
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
  ...['Source Code', 'HTML Preformatted', 'Preformatted Text', 'Code'].map(
    (name) => `p[style-name='${name}'] => pre:separator('\\n')`,
  ),
];

export const extractDocx: HeldExtractor = async ({ path }) => {
  const parts = await unpackOffice(path);
  const xml = new TextDecoder();
  for (const [name, bytes] of parts) {
    const text = xml.decode(bytes);
    const readable = withReadings(withFieldResults(withEquationsAsText(text)));
    if (readable !== text) parts.set(name, new TextEncoder().encode(readable));
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

/** mammoth skips equations; each becomes a run of text. */
function withEquationsAsText(xml: string): string {
  if (!xml.includes('<m:oMath')) return xml;
  const texts = replaceElements(
    xml,
    'm:oMath',
    (equation) => `<w:r><w:t xml:space="preserve">${equationText(equation)}</w:t></w:r>`,
  );
  return texts.replace(/<\/?m:oMathPara(?:\s[^<>]*)?>/g, '');
}

/** It skips simple fields as well (numbers of figures, cross-references): what they last showed is text like any other. */
function withFieldResults(xml: string): string {
  return xml.includes('<w:fldSimple') ? xml.replace(/<\/?w:fldSimple(?:\s[^<>]*)?>/g, '') : xml;
}

/** And words that say how they are read: the reading stands behind them, as it does where print has no room above. */
function withReadings(xml: string): string {
  if (!xml.includes('<w:ruby')) return xml;
  return replaceElements(xml, 'w:ruby', (ruby) => {
    const at = ruby.indexOf('<w:rubyBase');
    const [reading, base] = [textsOf(ruby.slice(0, Math.max(0, at))), textsOf(ruby.slice(at))];
    return `<w:t xml:space="preserve">${base}${reading && `(${reading})`}</w:t>`;
  });
}

const textsOf = (xml: string) => Array.from(xml.matchAll(/<w:t(?:\s[^<>]*)?>([^<]*)</g), ([, text]) => text).join('');

/** Elements of a name, of which none is within another. Step by step: a pattern would look for missing ends for ever. */
function replaceElements(xml: string, name: string, replacement: (element: string) => string): string {
  const pieces: string[] = [];
  const close = `</${name}>`;
  let at = 0;
  for (let start = nextElement(xml, name, 0); start >= 0; start = nextElement(xml, name, at)) {
    const end = xml.indexOf(close, start);
    if (end < 0) break;
    pieces.push(xml.slice(at, start), replacement(xml.slice(start, end)));
    at = end + close.length;
  }
  pieces.push(xml.slice(at));
  return pieces.join('');
}

function nextElement(xml: string, name: string, from: number): number {
  const plain = xml.indexOf(`<${name}>`, from);
  const attributed = xml.indexOf(`<${name} `, from);
  return plain < 0 || attributed < 0 ? Math.max(plain, attributed) : Math.min(plain, attributed);
}

function titleOf(core: string): string | null {
  const raw = /<dc:title[^>]{0,200}>([^<]{1,500})</.exec(core)?.[1];
  if (!raw) return null;
  const decoded = parseHTML(`<p>${raw}</p>`).document.querySelector('p')?.textContent ?? '';
  return cleanText(decoded).replace(/\s+/g, ' ').trim() || null;
}
