/** Lines of all pages as one text with exact places of pages and headings. */
import type { ExtractedDocument, Heading, PageSpan } from '../contracts/index.ts';
import { cleanText } from './clean-text.ts';
import type { Line } from './pdf-layout.ts';

/** Lines this much larger than the body's are headings, where they are short and few. */
const HEADING_RATIO = 1.18;
const MAX_HEADING_CHARS = 120;
const MAX_HEADING_SHARE = 0.2;

export function joinPages(pages: readonly (readonly Line[])[]): Omit<ExtractedDocument, 'title'> {
  const cleaned = pages.map((lines) => lines.map((line) => ({ ...line, text: cleanLine(line.text) })));
  const words = once(() => wordsOf(cleaned));
  const levels = headingLevels(cleaned);
  const pieces: string[] = [];
  const spans: PageSpan[] = [];
  const headings: Heading[] = [];
  let offset = 0;
  const add = (piece: string) => {
    pieces.push(piece);
    offset += piece.length;
  };
  cleaned.forEach((lines, index) => {
    if (index > 0) add('\n\n');
    const start = offset;
    lines.forEach((line, i) => {
      const previous = lines[i - 1];
      const broken = previous && line.before === '\n' ? brokenWord(previous.text, line.text, words) : undefined;
      if (broken === 'join') {
        offset -= 1;
        pieces.push((pieces.pop() ?? '').slice(0, -1));
      } else if (broken === undefined && i > 0) add(line.before);
      const level = levels(line);
      const title = line.text.replace(/\s+/g, ' ').trim();
      const last = headings.at(-1);
      if (level && last && last.level === level && line.before === '\n' && last.end + 1 === offset) {
        // A heading that takes two lines.
        last.title += ` ${title}`;
        last.end = offset + line.text.length;
      } else if (level) headings.push({ level, title, start: offset, end: offset + line.text.length });
      add(line.text);
    });
    spans.push({ page: index + 1, start, end: offset });
  });
  return { text: pieces.join(''), pages: spans, headings };
}

/** All words of a long document take time to gather, and few documents break any. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** Marks of lists from symbol fonts, which have them at places of their own. */
const BULLETS = /[\uf06c\uf06e\uf071\uf076\uf0a7\uf0a8\uf0b7\uf0d8\uf0fc]/g;

/** One line's text; fonts without a proper mapping name characters by their look-alikes: radicals and ligatures. */
function cleanLine(text: string): string {
  // Most lines of most documents need no look at each character.
  if (/^[\x21-\x7e\t]+(?: [\x21-\x7e\t]+)*$/.test(text)) return text;
  const mapped = text
    .replace(BULLETS, '•')
    .replace(/[\u2e9f\u2ef3\u2f00-\u2fd5\ufb00-\ufb06]/g, (char) => char.normalize('NFKC'));
  return cleanText(mapped.replace(/[^\S\t]+/g, ' ')).replaceAll('\n', ' ');
}

function wordsOf(pages: readonly (readonly Line[])[]): Set<string> {
  const words = new Set<string>();
  for (const lines of pages) {
    for (const { text } of lines)
      for (const [word] of text.toLowerCase().matchAll(/\p{L}{3,}(?!-$)/gu)) words.add(word);
  }
  return words;
}

/**
 * A word broken at the end of a line: `con-` `firming` is one word; `chat-` `optimized` keeps its hyphen, since both
 * halves stand elsewhere as words of their own. `undefined` where the line simply ends.
 */
function brokenWord(previous: string, line: string, words: () => ReadonlySet<string>): 'join' | 'keep' | undefined {
  const head = /(\p{L}+)-$/u.exec(previous.slice(-60))?.[1]?.toLowerCase();
  const tail = /^\p{Ll}+/u.exec(line.slice(0, 60))?.[0];
  if (!head || !tail) return undefined;
  if (words().has(head + tail)) return 'join';
  return words().has(head) && words().has(tail) ? 'keep' : 'join';
}

/** Level of a line by its font size, `undefined` for body text. */
function headingLevels(pages: readonly (readonly Line[])[]): (line: Line) => number | undefined {
  const chars = new Map<number, number>();
  let lines = 0;
  for (const page of pages) {
    lines += page.length;
    for (const { size, text } of page) chars.set(rounded(size), (chars.get(rounded(size)) ?? 0) + text.length);
  }
  const body = [...chars].reduce((a, b) => (b[1] > a[1] ? b : a), [0, 0])[0];
  const isLarge = ({ size, text }: Line) =>
    size >= body * HEADING_RATIO && text.length <= MAX_HEADING_CHARS && /\p{L}{2}|\p{Script=Han}/u.test(text);
  const large = pages.flatMap((page) => page.filter(isLarge));
  if (body === 0 || large.length === 0 || large.length > Math.max(3, lines * MAX_HEADING_SHARE)) return () => undefined;
  const sizes = [...new Set(large.map(({ size }) => rounded(size)))].toSorted((a, b) => b - a);
  return (line) => (isLarge(line) ? Math.min(6, sizes.indexOf(rounded(line.size)) + 1) : undefined);
}

const rounded = (size: number) => Math.round(size * 2) / 2;
