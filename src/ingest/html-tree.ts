/** HTML as a tree, within the depth that everything here can walk. */
import { parseHTML } from 'linkedom';
import { cleanText } from './clean-text.ts';
import { ExtractError } from './extract-error.ts';
import { htmlToMarkdown, NOT_TEXT } from './html-to-markdown.ts';

/** Converting recurses, so deeper pages are refused; those that people made are some dozens of levels deep. */
const MAX_DEPTH = 1500;

/** A page or a fragment. Throws `limits_exceeded` where it is nested too deeply. */
export function parseHtml(html: string): Document {
  // The parser builds what it reads, so a fragment needs its page around it.
  const complete = /<body[\s>]/i.test(html);
  const { document } = parseHTML(complete ? html : `<!DOCTYPE html><html><body>${html}</body></html>`);
  if (depthOf(document.documentElement) > MAX_DEPTH) {
    throw new ExtractError('limits_exceeded', 'The page is nested too deeply to be read.');
  }
  return document;
}

/** All that a page or fragment says, as Markdown; unlike `extractHtml`, with nothing left out. */
export function markdownOfHtml(html: string): string {
  const document = parseHtml(html);
  for (const node of document.querySelectorAll(NOT_TEXT)) node.remove();
  const body = document.querySelector('body') ?? document.documentElement;
  return body ? cleanText(htmlToMarkdown(body)) : '';
}

/** Levels of elements, found without recursion. */
export function depthOf(root: Node | null): number {
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
