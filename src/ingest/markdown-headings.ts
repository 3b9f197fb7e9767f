/**
 * Headings of Markdown text with their exact places: `# …` and underlined ones, outside of code blocks and front matter.
 * A scanner over lines rather than a parser, since parsers give no offsets; it is linear in the text.
 */
import type { Heading } from '../contracts/index.ts';

const ATX = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
/** Longer lines are no headings, and patterns over them would take long. */
const MAX_HEADING_CHARS = 400;

export function markdownHeadings(text: string): Heading[] {
  const headings: Heading[] = [];
  let fence: string | undefined;
  let previous: { start: number; end: number; text: string } | undefined;
  for (let start = frontMatterEnd(text); start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    const line = end - start <= MAX_HEADING_CHARS ? text.slice(start, end) : '';
    const mark = FENCE.exec(line)?.[1];
    const atx = fence ? null : ATX.exec(line);
    const underline = !fence && previous ? /^ {0,3}(=+|-{2,})[ \t]*$/.exec(line) : null;
    if (fence) {
      if (mark?.startsWith(fence) && line.trim() === mark) fence = undefined;
    } else if (mark) {
      fence = mark;
    } else if (atx) {
      const title = plainTitle(atx[2] ?? '');
      if (title) headings.push({ level: atx[1]?.length ?? 1, title, start, end });
    } else if (underline && previous) {
      const title = plainTitle(previous.text);
      if (title) headings.push({ level: underline[1]?.startsWith('=') ? 1 : 2, title, start: previous.start, end });
    }
    // What may be underlined: a line of text with a blank line, a heading or nothing before it.
    const plain =
      line.trim() !== '' && !fence && !mark && !atx && !underline && !/^ {0,3}(?:[-*+>|]|\d+[.)]) ?/.test(line);
    previous = plain && !isContinuation(text, start, headings) ? { start, end, text: line } : undefined;
    start = end + 1;
  }
  return headings;
}

/** True where the line before `start` is text of the same paragraph. */
function isContinuation(text: string, start: number, headings: readonly Heading[]): boolean {
  if (start === 0) return false;
  const before = text.slice(text.lastIndexOf('\n', start - 2) + 1, start - 1);
  return before.trim() !== '' && headings.at(-1)?.end !== start - 1;
}

/** Where the text begins after a YAML front matter (`---` … `---`), 0 without one. */
function frontMatterEnd(text: string): number {
  if (!text.startsWith('---\n')) return 0;
  const close = text.slice(0, 20_000).search(/\n(?:---|\.\.\.)[ \t]*(?:\n|$)/);
  if (close < 0) return 0;
  const next = text.indexOf('\n', close + 1);
  return next < 0 ? text.length : next + 1;
}

/** The `title:` of a YAML front matter. */
export function frontMatterTitle(text: string): string | null {
  const match = /^title:[ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\n]+))$/m.exec(text.slice(0, frontMatterEnd(text)));
  return (match?.[1] ?? match?.[2] ?? match?.[3])?.trim() || null;
}

/** A heading's words without the marks around them: links, emphasis, code, anchors, tags. */
function plainTitle(source: string): string {
  return source
    .replace(/!?\[([^\][]*)\]\([^()]*\)/g, '$1')
    .replace(/<[^<>]*>|\{#[^{}]*\}/g, '')
    .replace(/[*`~]+|(?<!\w)_+|_+(?!\w)/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}
