/**
 * A DOM tree as Markdown to read and to search: headings, lists, tables and code keep their marks; links, pictures and
 * emphasis keep their words only. Addresses are noise to an embedding, and a quote must stand in the text word for word.
 */
import TurndownService from 'turndown';
import { createSpanGrid, type SpanGrid, type SpanningCell } from './span-grid.ts';

export function htmlToMarkdown(root: Element): string {
  // Turndown's types come from the browser's; it walks any tree that has the same properties.
  const markdown = createTurndown().turndown(root as unknown as TurndownService.Node);
  // Line by line: a pattern for blanks at line ends takes the square of a long run of blanks.
  const lines = markdown
    .replaceAll('\u00a0', ' ')
    .split('\n')
    .map((line) => line.trimEnd());
  return lines
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}

/** Parts of a page that hold nothing to read. */
export const NOT_TEXT =
  'script, style, noscript, template, svg, canvas, iframe, object, embed, audio, video, select, button, head > title, [hidden], .katex-html';

function createTurndown(): TurndownService {
  const turndown = new TurndownService({
    headingStyle: 'atx',
    codeBlockStyle: 'fenced',
    bulletListMarker: '-',
    hr: '---',
  });
  // Text is text: no backslashes before what would be a mark.
  turndown.escape = (text) => text;
  turndown.addRule('words', {
    filter: ['a', 'em', 'i', 'strong', 'b', 'u', 'mark', 'sub', 'sup'],
    replacement: (content) => content,
  });
  // As it is written for people, where it says so; its parts alone would run into one another.
  turndown.addRule('formula', {
    filter: ['math' as 'main'],
    replacement: (content, node) => formulaOf(node) || content,
  });
  turndown.addRule('picture', { filter: ['img'], replacement: (_, node) => attributeOf(node, 'alt') });
  turndown.addRule('heading', {
    filter: ['h1', 'h2', 'h3', 'h4', 'h5', 'h6'],
    replacement(content, node) {
      const title = content.replace(/\s+/g, ' ').trim();
      return title && `\n\n${'#'.repeat(Number(node.nodeName.charAt(1)))} ${title}\n\n`;
    },
  });
  turndown.addRule('item', {
    filter: 'li',
    replacement(content, node) {
      const parent = node.parentNode;
      const ordered = parent?.nodeName === 'OL';
      const mark = ordered ? `${numberOf(node, parent)}. ` : '- ';
      const body = content
        .trim()
        .replace(/\n{2,}/g, '\n')
        .replaceAll('\n', `\n${' '.repeat(mark.length)}`);
      return `${mark}${body}\n`;
    },
  });
  turndown.addRule('code', {
    filter: 'pre',
    replacement(_, node) {
      const code = codeOf(node as Element).replace(/\n+$/, '');
      if (!code.trim()) return '';
      const longest = (code.match(/`+/g) ?? []).reduce((most, run) => Math.max(most, run.length), 2);
      const fence = '`'.repeat(longest + 1);
      return `\n\n${fence}${languageOf(node)}\n${code}\n${fence}\n\n`;
    },
  });
  addTables(turndown);
  return turndown;
}

/** Tables become one line a row. A table that holds another lays out a page: its cells are blocks. */
function addTables(turndown: TurndownService): void {
  const layouts = new WeakMap<Element, boolean>();
  function isLayout(node: TurndownService.Node): boolean {
    const table = (node as Element).closest('table');
    if (!table) return true;
    const known = layouts.get(table) ?? table.querySelector('table') !== null;
    layouts.set(table, known);
    return known;
  }
  const cells = new WeakMap<TurndownService.Node, SpanningCell>();
  const grids = new WeakMap<Element, SpanGrid>();
  turndown.addRule('cell', {
    filter: ['td', 'th'],
    replacement(content, node) {
      if (isLayout(node)) return `\n\n${content.trim()}\n\n`;
      const text = content.replace(/\s+/g, ' ').replaceAll('|', '\\|').trim();
      cells.set(node, { text, columns: spanOf(node, 'colspan'), rows: spanOf(node, 'rowspan') });
      return '';
    },
  });
  turndown.addRule('row', {
    filter: 'tr',
    replacement(content, node) {
      if (isLayout(node)) return `\n\n${content}\n\n`;
      const row = node as Element;
      const table = row.closest('table') ?? row;
      const grid = grids.get(table) ?? createSpanGrid();
      grids.set(table, grid);
      const first = table.querySelector('tr') === row;
      const own = [...row.children].flatMap((cell) => cells.get(cell as TurndownService.Node) ?? []);
      const isHeader = first || [...row.children].every(({ nodeName }) => nodeName === 'TH');
      const shown = grid.row(own, isHeader);
      if (shown.every((cell) => cell === '')) return '';
      return `\n| ${shown.join(' | ')} |${first ? `\n|${' --- |'.repeat(shown.length)}` : ''}`;
    },
  });
  turndown.addRule('caption', { filter: 'caption', replacement: (content) => `\n${content.trim()}\n` });
  turndown.addRule('section', { filter: ['thead', 'tbody', 'tfoot'], replacement: (content) => content });
  turndown.addRule('table', { filter: 'table', replacement: (content) => `\n\n${content.trim()}\n\n` });
}

function attributeOf(node: TurndownService.Node, name: string): string {
  return ((node as Element).getAttribute(name) ?? '').replace(/\s+/g, ' ').trim();
}

/** Lines of code, which some pages make of elements instead of newlines. */
function codeOf(pre: Element): string {
  for (const rest of pre.querySelectorAll('br')) rest.replaceWith('\n');
  for (const line of pre.querySelectorAll('div, p, li, tr')) {
    if (!line.textContent?.endsWith('\n')) line.append('\n');
  }
  return pre.textContent ?? '';
}

function spanOf(cell: TurndownService.Node, name: 'colspan' | 'rowspan'): number {
  return Number.parseInt(attributeOf(cell, name), 10) || 1;
}

function numberOf(item: TurndownService.Node, list: ParentNode | null): number {
  const first = Number((list as Element | null)?.getAttribute('start') ?? 1) || 1;
  return first + Math.max(0, [...(list?.children ?? [])].indexOf(item as Element));
}

function formulaOf(math: TurndownService.Node): string {
  const written = (math as Element).querySelector(
    'annotation[encoding="application/x-tex"], annotation[encoding="TeX"]',
  );
  return written?.textContent?.trim() || attributeOf(math, 'alttext');
}

function languageOf(pre: TurndownService.Node): string {
  const code = (pre as Element).querySelector('code');
  const classes = `${code?.getAttribute('class') ?? ''} ${attributeOf(pre, 'class')}`;
  return /(?:^|\s)(?:lang|language|highlight-source)-([\w+#-]+)/.exec(classes)?.[1] ?? '';
}
