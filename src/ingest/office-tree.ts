/** The tree that officeparser makes of a document, as Markdown: what every other extractor here gives as well. */
import type { OfficeContentNode } from 'officeparser';
import { createSpanGrid, type SpanningCell } from './span-grid.ts';

const MAX_HEADING_CHARS = 300;
const MAX_LIST_LEVEL = 6;

/** Blocks of text in reading order, none of them empty. Recursion is as deep as the parser allowed tables to nest. */
export function blocksOf(nodes: readonly OfficeContentNode[]): string[] {
  const blocks: string[] = [];
  let list: string[] = [];
  const flush = () => {
    if (list.length > 0) blocks.push(list.join('\n'));
    list = [];
  };
  for (const node of nodes) {
    if (node.type === 'list') {
      list.push(...[itemOf(node), ...asidesOf(node)].filter((line) => line.trim() !== ''));
      continue;
    }
    flush();
    blocks.push(...blocksOfNode(node), ...asidesOf(node));
  }
  flush();
  return blocks.filter((block) => block.trim() !== '');
}

function blocksOfNode(node: OfficeContentNode): string[] {
  switch (node.type) {
    case 'heading': {
      const title = inline(node).replace(/\s+/g, ' ').trim();
      const level = Math.max(1, Math.min(6, node.metadata?.level ?? 1));
      return title.length > MAX_HEADING_CHARS ? [title] : [title && `${'#'.repeat(level)} ${title}`];
    }
    case 'table':
      return tableOf(node);
    case 'code':
      return [`\`\`\`\n${inline(node)}\n\`\`\``];
    case 'paragraph':
    case 'text':
    case 'definitionTerm':
    case 'definitionDescription':
      return node.children?.some(({ type }) => type === 'table') ? blocksOf(node.children) : [inline(node).trim()];
    case 'image':
      return [node.metadata?.altText?.trim() ?? ''];
    default:
      return node.children && node.children.length > 0 ? blocksOf(node.children) : [node.text?.trim() ?? ''];
  }
}

function itemOf(node: OfficeContentNode & { type: 'list' }): string {
  const { listType, indentation = 0, itemIndex = 0 } = node.metadata ?? {};
  const mark = listType === 'ordered' ? `${itemIndex + 1}.` : '-';
  const text = inline(node).trim().replaceAll('\n', ' ');
  return text && `${'  '.repeat(Math.min(indentation, MAX_LIST_LEVEL))}${mark} ${text}`;
}

/** Notes and comments of a node and all within it, behind the block in which they are marked. */
function asidesOf(node: OfficeContentNode): string[] {
  const own = [...(node.notes ?? []), ...(node.comments ?? [])].map((aside) => {
    const text = blocksOf(aside.children ?? []).join(' ') || (aside.text ?? '');
    return text.trim() && `[${aside.type === 'comment' ? 'Comment' : 'Note'}: ${text.trim()}]`;
  });
  // A table's and a slide's parts were asked when they became blocks.
  const within = node.type === 'paragraph' || node.type === 'heading' || node.type === 'list';
  return [...own, ...(within ? (node.children ?? []).flatMap(asidesOf) : [])].filter((line) => line !== '');
}

/** The words of a node without its structure. */
function inline(node: OfficeContentNode): string {
  if (node.type === 'break') return '\n';
  if (node.type === 'image') return node.metadata?.altText ?? '';
  if (!node.children || node.children.length === 0) return node.text ?? '';
  return node.children.map(inline).join('');
}

/** One line a row. A row that holds another table lays out a page: its cells are blocks, as they are of a web page. */
function tableOf(table: OfficeContentNode): string[] {
  const blocks: string[] = [];
  let lines: string[] = [];
  let grid = createSpanGrid();
  const flush = () => {
    blocks.push(lines.join('\n'));
    lines = [];
    grid = createSpanGrid();
  };
  for (const { type, children: row = [] } of table.children ?? []) {
    if (type !== 'row') continue;
    if (row.some(({ children }) => children?.some((child) => child.type === 'table'))) {
      flush();
      blocks.push(...row.flatMap((cell) => blocksOf(cell.children ?? [])));
      continue;
    }
    const cells = grid.row(row.map(cellOf), lines.length === 0);
    if (cells.every((cell) => cell === '')) continue;
    if (lines.push(`| ${cells.join(' | ')} |`) === 1) lines.push(`|${' --- |'.repeat(cells.length)}`);
  }
  flush();
  return blocks;
}

function cellOf(cell: OfficeContentNode): SpanningCell {
  const text = blocksOf(cell.children ?? [cell])
    .join(' ')
    .replace(/\s+/g, ' ')
    .replaceAll('|', '\\|');
  const { colSpan = 1, rowSpan = 1 } = cell.type === 'cell' ? (cell.metadata ?? {}) : {};
  return { text, columns: colSpan, rows: rowSpan };
}
