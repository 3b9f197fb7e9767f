/**
 * Web pages. The main content where there is one to be told from menus and advertisements, else the whole body: losing
 * text is worse than keeping a menu.
 */
import { Readability } from '@mozilla/readability';
import type { ExtractedDocument } from '../../contracts/index.ts';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { decodeHtml } from '../html-charset.ts';
import { htmlToMarkdown, NOT_TEXT } from '../html-to-markdown.ts';
import { depthOf, parseHtml } from '../html-tree.ts';
import { markdownHeadings } from '../markdown-headings.ts';

/** A main content of less than this share of the page's text is a teaser, not the content. */
const MIN_SHARE = 0.35;
const MIN_CHARS = 200;
/** Finding the main content takes more than the square of the depth: 4 s at 1,000 levels. */
const MAX_ARTICLE_DEPTH = 150;
/** Above, finding the main content takes too long, and such pages are data more than articles. */
const MAX_ELEMENTS = 100_000;

export const extractHtml: HeldExtractor = async ({ path }) => htmlDocument(decodeHtml(await Bun.file(path).bytes()));

function htmlDocument(html: string): ExtractedDocument {
  const whole = parseHtml(html);
  const depth = depthOf(whole.documentElement);
  const documentTitle = tidy(whole.querySelector('title')?.textContent);
  const body = contentOf(whole) ?? whole.documentElement;
  const visible = lengthOf(body?.textContent);

  const readable = depth <= MAX_ARTICLE_DEPTH && whole.querySelectorAll('*').length <= MAX_ELEMENTS;
  const article = readable ? mainContent(html) : null;
  const enough = article && article.length >= MIN_CHARS && article.length >= visible * MIN_SHARE;
  const title = (enough ? article.title : null) || documentTitle || null;
  const source = enough ? contentOf(parseHtml(article.html)) : body;
  if (!source) throw new ExtractError('empty', 'The page has no text.');
  const markdown = cleanText(htmlToMarkdown(source));
  // The page's own heading is often outside of what was taken.
  const text = title && !markdown.slice(0, 1000).includes(title) ? cleanText(`# ${title}\n\n${markdown}`) : markdown;
  return { text, title, pages: [], headings: markdownHeadings(text) };
}

/** The body without what holds nothing to read. */
function contentOf(page: Document): Element | null {
  for (const node of page.querySelectorAll(NOT_TEXT)) node.remove();
  return page.querySelector('body');
}

/** `null` where no main content can be told. */
function mainContent(html: string): { html: string; title: string; length: number } | null {
  // Of its own: Readability takes the tree apart.
  const article = new Readability(parseHtml(html), { keepClasses: true }).parse();
  if (!article?.content) return null;
  return { html: article.content, title: tidy(article.title), length: lengthOf(article.textContent) };
}

const tidy = (text: string | null | undefined) =>
  cleanText(text ?? '')
    .replace(/\s+/g, ' ')
    .trim();
const lengthOf = (text: string | null | undefined) => (text ?? '').replace(/\s+/g, ' ').length;
