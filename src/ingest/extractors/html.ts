/**
 * Web pages. The main content where there is one to be told from menus and advertisements, else the whole body: losing
 * text is worse than keeping a menu.
 */
import { Readability } from '@mozilla/readability';
import { parseHTML } from 'linkedom';
import type { ExtractedDocument } from '../../contracts/index.ts';
import { charsetByBom, decode, detectCharset, isUtf8, knownCharset } from '../charset.ts';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import { htmlToMarkdown, NOT_TEXT } from '../html-to-markdown.ts';
import { markdownHeadings } from '../markdown-headings.ts';

/** A main content of less than this share of the page's text is a teaser, not the content. */
const MIN_SHARE = 0.35;
const MIN_CHARS = 200;
/** Converting recurses, so deeper pages are refused; those that people made are some dozens of levels deep. */
const MAX_DEPTH = 1500;
/** Finding the main content takes more than the square of the depth: 4 s at 1,000 levels. */
const MAX_ARTICLE_DEPTH = 150;
/** Above, finding the main content takes too long, and such pages are data more than articles. */
const MAX_ELEMENTS = 100_000;

export function extractHtml(bytes: Uint8Array): ExtractedDocument {
  return htmlDocument(decodeHtml(bytes));
}

function htmlDocument(html: string): ExtractedDocument {
  const whole = parse(html);
  const depth = depthOf(whole.documentElement);
  if (depth > MAX_DEPTH) throw new ExtractError('limits_exceeded', 'The page is nested too deeply to be read.');
  const documentTitle = tidy(whole.querySelector('title')?.textContent);
  for (const node of whole.querySelectorAll(NOT_TEXT)) node.remove();
  const body = whole.querySelector('body') ?? whole.documentElement;
  const visible = lengthOf(body?.textContent);

  const readable = depth <= MAX_ARTICLE_DEPTH && whole.querySelectorAll('*').length <= MAX_ELEMENTS;
  const article = readable ? mainContent(html) : null;
  const enough = article && article.length >= MIN_CHARS && article.length >= visible * MIN_SHARE;
  const title = (enough ? article.title : null) || documentTitle || null;
  const source = enough ? parse(article.html).querySelector('body') : body;
  if (!source) throw new ExtractError('empty', 'The page has no text.');
  const markdown = cleanText(htmlToMarkdown(source));
  // The page's own heading is often outside of what was taken.
  const text = title && !markdown.slice(0, 1000).includes(title) ? cleanText(`# ${title}\n\n${markdown}`) : markdown;
  return { text, title, pages: [], headings: markdownHeadings(text) };
}

/** `null` where no main content can be told. */
function mainContent(html: string): { html: string; title: string; length: number } | null {
  // Of its own: Readability takes the tree apart.
  const article = new Readability(parse(html)).parse();
  if (!article?.content) return null;
  return { html: article.content, title: tidy(article.title), length: lengthOf(article.textContent) };
}

/** The parser builds what it reads, so a fragment needs its page around it. */
function parse(html: string): Document {
  const complete = /<body[\s>]/i.test(html);
  return parseHTML(complete ? html : `<!DOCTYPE html><html><body>${html}</body></html>`).document;
}

/** Levels of elements, found without recursion. */
function depthOf(root: Node | null): number {
  let depth = 0;
  let deepest = 0;
  for (let node = root; node; ) {
    if (node.firstChild) {
      node = node.firstChild;
      depth += 1;
      deepest = Math.max(deepest, depth);
      continue;
    }
    while (node && node !== root && !node.nextSibling) {
      node = node.parentNode;
      depth -= 1;
    }
    node = node && node !== root ? node.nextSibling : null;
  }
  return deepest;
}

const tidy = (text: string | null | undefined) =>
  cleanText(text ?? '')
    .replace(/\s+/g, ' ')
    .trim();
const lengthOf = (text: string | null | undefined) => (text ?? '').replace(/\s+/g, ' ').length;

/** A mark wins, then what the page declares, unless its bytes contradict it. */
function decodeHtml(bytes: Uint8Array): string {
  const declared = declaredCharset(bytes);
  const contradicted = declared === 'utf-8' && !isUtf8(bytes, true);
  const charset = charsetByBom(bytes) ?? (declared && !contradicted ? declared : detectCharset(bytes, true));
  if (!charset) throw new ExtractError('corrupt', 'The page is in no character encoding that is known here.');
  return decode(bytes, charset);
}

/** `<meta charset>` or `<meta http-equiv … content="…; charset=">` in the first 4 KiB, or an XML declaration. */
function declaredCharset(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4096)).toString('latin1');
  const label =
    /<meta[^>]{0,300}?charset\s*=\s*["']?\s*([\w:.-]+)/i.exec(head)?.[1] ??
    /^\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([\w:.-]+)/i.exec(head)?.[1];
  const known = label ? knownCharset(label) : undefined;
  // A declaration that could be read as ASCII is not in UTF-16, whatever it says.
  return known?.startsWith('utf-16') ? 'utf-8' : known;
}
