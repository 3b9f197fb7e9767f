/**
 * Headings of Markdown text with their exact places: `# …` and underlined ones, outside of code blocks and front matter.
 * A scanner over lines rather than a parser, since parsers give no offsets; it is linear in the text and holds none of it.
 */
import type { Heading } from '../contracts/index.ts';

const ATX = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
/** Longer lines are no headings, and patterns over them would take long. */
const MAX_HEADING_CHARS = 400;

/** YAML front matter longer than this is no front matter. */
const MAX_FRONT_MATTER_CHARS = 20_000;
/** More headings than anybody wrote: the rest of them are text like other text. */
const MAX_HEADINGS = 100_000;

export interface HeadingScanner {
  /** The next piece of the text, of any length. */
  push(piece: string): void;
  /** To be called once, after the last piece. */
  end(): { headings: Heading[]; frontMatter: string };
}

export function markdownHeadings(text: string): Heading[] {
  const scanner = createHeadingScanner();
  scanner.push(text);
  return scanner.end().headings;
}

/** Finds headings in a text that comes in pieces, holding no more of it than the beginning of a line. */
export function createHeadingScanner(): HeadingScanner {
  const headings: Heading[] = [];
  const front = createFrontMatter();
  let fence: string | undefined;
  let previous: Line | undefined;
  /** The line before had words on it, and was no heading: what follows goes on with it. */
  let within = false;

  function scan(line: Line): void {
    const { start, end } = line;
    const text = line.long ? '' : line.text;
    const mark = FENCE.exec(text)?.[1];
    const atx = fence ? null : ATX.exec(text);
    const underline = !fence && previous ? /^ {0,3}(=+|-{2,})[ \t]*$/.exec(text) : null;
    const found = headings.length;
    const add = (level: number, title: string, from: number) => {
      if (title && found < MAX_HEADINGS) headings.push({ level, title: copyOf(title), start: from, end });
    };
    if (fence) {
      if (mark?.startsWith(fence) && text.trim() === mark) fence = undefined;
    } else if (mark) fence = mark;
    else if (atx) add(atx[1]?.length ?? 1, plainTitle(atx[2] ?? ''), start);
    else if (underline && previous) {
      add(underline[1]?.startsWith('=') ? 1 : 2, plainTitle(previous.text), previous.start);
    }
    // What may be underlined: a line of text with a blank line, a heading or nothing before it.
    const plain =
      text.trim() !== '' && !fence && !mark && !atx && !underline && !/^ {0,3}(?:[-*+>|]|\d+[.)]) ?/.test(text);
    previous = plain && !within ? line : undefined;
    within = !line.blank && headings.length === found;
  }

  const lines = createLines((line) => {
    for (const ready of front.pass(line)) scan(ready);
  });
  return {
    push: lines.push,
    end() {
      lines.end();
      for (const ready of front.end()) scan(ready);
      return { headings, frontMatter: front.text() };
    },
  };
}

/** A string of its own: a part of a piece would keep the whole piece in memory. */
const copyOf = (text: string) => Buffer.from(text, 'utf8').toString('utf8');

interface Line {
  start: number;
  /** Without its newline. */
  end: number;
  /** The first `MAX_HEADING_CHARS` of it. */
  text: string;
  /** There is more of it than `text`. */
  long: boolean;
  blank: boolean;
}

/** Cuts pieces into lines, of which it keeps the beginnings. */
function createLines(onLine: (line: Line) => void): { push(piece: string): void; end(): void } {
  let offset = 0;
  let line: Line = { start: 0, end: 0, text: '', long: false, blank: true };
  return {
    push(piece) {
      for (let at = 0; at < piece.length; ) {
        const newline = piece.indexOf('\n', at);
        const end = newline < 0 ? piece.length : newline;
        line.long ||= line.text.length + end - at > MAX_HEADING_CHARS;
        line.text += piece.slice(at, Math.min(end, at + MAX_HEADING_CHARS - line.text.length));
        line.blank &&= !/\S/.test(piece.slice(at, end));
        line.end = offset + end;
        at = end;
        if (newline < 0) break;
        onLine(line);
        at += 1;
        line = { start: offset + at, end: offset + at, text: '', long: false, blank: true };
      }
      offset += piece.length;
    },
    end() {
      if (line.end > line.start) onLine(line);
    },
  };
}

/** Holds lines back while they may be front matter (`---` … `---`), and drops those that are. */
function createFrontMatter() {
  let state: 'start' | 'open' | 'past' = 'start';
  let held: Line[] = [];
  let text = '';
  const release = (): Line[] => {
    const lines = held;
    held = [];
    state = 'past';
    return lines;
  };
  return {
    pass(line: Line): Line[] {
      if (state === 'past') return [line];
      if (state === 'start') {
        state = !line.long && line.text === '---' ? 'open' : 'past';
        if (state === 'past') return [line];
        held.push(line);
        return [];
      }
      if (/^(?:---|\.\.\.)[ \t]*$/.test(line.text)) {
        text = held
          .slice(1)
          .map((one) => one.text)
          .join('\n');
        release();
        return [];
      }
      held.push(line);
      return line.end > MAX_FRONT_MATTER_CHARS ? release() : [];
    },
    end: release,
    text: () => text,
  };
}

/** The `title:` of a YAML front matter. */
export function frontMatterTitle(frontMatter: string): string | null {
  const match = /^title:[ \t]*(?:"([^"\n]+)"|'([^'\n]+)'|([^\n]+))$/m.exec(frontMatter);
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
