/**
 * JSON as people read it: indented, with escaped characters (`\u6570`, `\n`) as what they stand for, and the rest as it
 * was written: a number of thirty digits stays one, and what is no valid JSON is still the text it is. A scanner over
 * characters rather than a parser: it needs no memory for what it has read, and no stack for how deep it is.
 */
import { decodeFile } from '../decode-stream.ts';
import { ExtractError } from '../extract-error.ts';
import type { StreamedExtractor } from '../extract-file.ts';

const MAX_DEPTH = 1000;
/** Deeper lines are indented no further: else text would grow by the square of its depth. */
const MAX_INDENT = 12;
/** Numbers and short strings of a list share a line up to here. */
const LIST_LINE = 100;

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '',
  b: '',
  f: '',
  '"': '"',
  '\\': '\\',
  '/': '/',
};

export const extractJson: StreamedExtractor = async ({ path }, output) => {
  const formatter = createFormatter();
  for await (const piece of decodeFile(path)) output.write(formatter.push(piece));
  return { title: null, pages: [], headings: [] };
};

/** A record a line, as it was: records are found by the line they stand in. */
export const extractJsonLines: StreamedExtractor = async ({ path }, output) => {
  const formatter = createFormatter({ lines: true });
  for await (const piece of decodeFile(path)) output.write(formatter.push(piece));
  return { title: null, pages: [], headings: [] };
};

/** `lines` keeps newlines where they are and makes none. Exported for tests of pieces. */
export function createFormatter({ lines = false }: { lines?: boolean } = {}): { push(piece: string): string } {
  let inString = false;
  /** A backslash and what of its escape has come so far. */
  let pendingEscape = '';
  /** The half of a surrogate pair whose other half is expected. */
  let high = '';
  let lineLength = 0;
  /** One for each open container: a list whose items so far are all short and flat, else something of lines. */
  const open: ('flat' | 'list' | 'object')[] = [];
  /** What the next value or name begins with: `line` after a comment that goes to the end of its own. */
  let pending: '' | 'break' | 'space' | 'line' = '';
  /** A word or string was last, and blanks came after it: two of them with nothing between are no JSON, and stay apart. */
  let afterWord = false;
  let blank = false;
  /** `/` may begin a comment, which programs take though the standard has none; no strings begin in one. */
  let remark: '' | 'begun' | 'line' | 'block' | 'block*' = '';

  const indent = () => `\n${'  '.repeat(Math.min(open.length, MAX_INDENT))}`;

  function inside(char: string): string {
    if (pendingEscape !== '') return escaped(char);
    if (char === '\\') {
      pendingEscape = char;
      return '';
    }
    // A line ends whatever its record left open.
    if (char === '"' || (lines && char === '\n')) inString = false;
    return flushHigh() + (inString || char === '"' ? char : outside(char));
  }

  function escaped(char: string): string {
    pendingEscape += char;
    const unicode = pendingEscape.charAt(1) === 'u';
    if (unicode && pendingEscape.length < 6 && (pendingEscape.length === 2 || /[\da-f]/i.test(char))) return '';
    const whole = pendingEscape;
    pendingEscape = '';
    if (unicode) return decoded(whole);
    return flushHigh() + (SHORT_ESCAPES[char] ?? whole).replace('\n', lines ? ' ' : '\n');
  }

  function decoded(whole: string): string {
    const code = Number.parseInt(whole.slice(2), 16);
    if (!/^\\u[\da-f]{4}$/i.test(whole)) return flushHigh() + whole;
    const char = String.fromCharCode(code);
    if ((code & 0xfc00) === 0xd800) {
      const before = flushHigh();
      high = char;
      return before;
    }
    const pair = high + char;
    high = '';
    return pair;
  }

  function flushHigh(): string {
    const char = high;
    high = '';
    return char;
  }

  function start(char: string): string {
    const parent = open.length - 1;
    // A list that holds another container has a line an item.
    const broken = open[parent] === 'flat';
    if (broken) open[parent] = 'list';
    const before = broken && !lines ? indent() : lead();
    if (open.length >= MAX_DEPTH) {
      throw new ExtractError('limits_exceeded', 'The document is nested too deeply to be read.');
    }
    open.push(char === '{' ? 'object' : 'flat');
    pending = char === '{' && !lines ? 'break' : '';
    return before + char;
  }

  function lead(): string {
    const wanted = pending;
    const apart = blank && afterWord;
    pending = '';
    blank = false;
    if (wanted === 'break' || wanted === 'line') return indent();
    return wanted === 'space' || apart ? ' ' : '';
  }

  function inRemark(char: string): string {
    if (remark === 'begun') {
      remark = char === '/' ? 'line' : char === '*' ? 'block' : '';
      const apart = blank && open.length > 0;
      const before = lead() || (apart ? ' ' : '');
      afterWord = true;
      return remark === '' ? `${before}/${outside(char)}` : `${before}/${char}`;
    }
    if (char === '\n' && (lines || remark === 'line')) {
      remark = '';
      if (lines) return outside(char);
      pending = 'line';
      return '';
    }
    if (remark === 'line') return char;
    const ends = remark === 'block*' && char === '/';
    remark = ends ? '' : char === '*' ? 'block*' : 'block';
    blank = ends;
    return char;
  }

  function outside(char: string): string {
    if (remark !== '') return inRemark(char);
    if (char === '\n' && lines) {
      open.length = 0;
      pending = '';
      afterWord = false;
      return char;
    }
    // Blanks and control characters; no others stand between values.
    if (char <= ' ' || char === '\ufeff') {
      blank = true;
      return '';
    }
    if (char === '/') {
      remark = 'begun';
      return '';
    }
    const text = sign(char);
    afterWord = !'{}[],:'.includes(char);
    blank = false;
    return text;
  }

  function sign(char: string): string {
    if (char === '{' || char === '[') return start(char);
    if (char === '}' || char === ']') {
      const kind = open.pop();
      const empty = kind === 'object' && pending === 'break';
      const flat = kind === 'flat' && pending !== 'line';
      pending = '';
      return (flat || empty || lines || kind === undefined ? '' : indent()) + char;
    }
    if (char === ',') {
      const flat = open.at(-1) === 'flat' && lineLength < LIST_LINE;
      pending = flat || lines ? 'space' : 'break';
      return char;
    }
    if (char === ':') {
      pending = 'space';
      return char;
    }
    const before = lead();
    if (char === '"') inString = true;
    return before + char;
  }

  return {
    push(piece) {
      let out = '';
      // By UTF-16 unit, since what matters is ASCII; runs of a string that need no look are copied at once.
      for (let at = 0; at < piece.length; at++) {
        if (inString && pendingEscape === '' && high === '') {
          const end = nextMark(piece, at, lines);
          out += piece.slice(at, end);
          lineLength += end - at;
          at = end;
          if (at >= piece.length) break;
        }
        const text = inString ? inside(piece.charAt(at)) : outside(piece.charAt(at));
        const newline = text.lastIndexOf('\n');
        lineLength = newline < 0 ? lineLength + text.length : text.length - newline;
        out += text;
      }
      return out;
    },
  };
}

/** The next quote or backslash, or newline where that means something. */
function nextMark(text: string, from: number, lines: boolean): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22 || code === 0x5c || (lines && code === 0x0a)) return at;
  }
  return text.length;
}
