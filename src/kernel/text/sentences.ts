/**
 * Sentences with their exact places. Ends are decided by punctuation of both worlds; headings, list items and table rows
 * are sentences of their own; a line break inside a paragraph is a space. One pass, no sentence longer than `MAX_SENTENCE`.
 */
import { isBlank } from './blanks.ts';

interface Span {
  readonly start: number;
  readonly end: number;
}

/** UTF-16 offsets, `end` exclusive. */
export interface Sentence extends Span {
  /** Exactly `text.slice(start, end)`, without white space around it. */
  readonly text: string;
}

/** A longer one is cut at a space, or else between two characters. */
const MAX_SENTENCE = 2_000;

/** What a sentence ends with, and what closes after that and belongs to it. */
const LATIN_MARK = 1;
const CJK_MARK = 2;
const CLOSER = 3;
const SIGNS = signTable({ '.!?…': LATIN_MARK, '。！？｡': CJK_MARK, '"\'’”」』）)]】》〉»}': CLOSER });
/** Nothing (0) for what is no sign; a table, because every character of a text is asked about. */
const signOf = (code: number): number => SIGNS[code] ?? 0;
const isMark = (code: number): boolean => {
  const sign = signOf(code);
  return sign === LATIN_MARK || sign === CJK_MARK;
};
/** Titles and references: a name or a number follows, never a new sentence. */
const BEFORE_NAME = new Set(
  'mr mrs ms dr prof st sr jr gen col lt sgt capt rev hon gov sen rep pres fr vs no nos fig figs eq eqs sec ch vol vols pp ed eds al approx ca cf eg ie viz resp art para ref refs dept univ bros messrs mme mlle inc ltd co corp jan feb mar apr jun jul aug sep sept oct nov dec bzw ca nr abs zb dh'.split(
    ' ',
  ),
);
/** They end a sentence where a capital follows. */
const MAY_END = new Set('al inc ltd co corp bros jr sr dept univ'.split(' '));
/** A heading, list item, quotation, table row or rule: the line stands for itself. */
const OWN_LINE =
  /^[ \t]*(?:#{1,6}\s|[-*+\u2022\u25cf\u25aa\u2013]\s|\d{1,3}(?:[.)]\s|\u3001)|[(\uff08]?[a-z\d\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341]{1,3}[)\uff09\u3001]|>\s|\||={3,}|-{3,})/u;

function signTable(signs: Readonly<Record<string, number>>): Uint8Array {
  const table = new Uint8Array(0x10000);
  for (const [those, sign] of Object.entries(signs)) for (const one of those) table[one.charCodeAt(0)] = sign;
  return table;
}

export function sentences(text: string): Sentence[] {
  const found: Sentence[] = [];
  for (const block of blocks(text)) splitBlock(text, block, found);
  return found;
}

/** Stretches that no sentence crosses: paragraphs, and lines that stand for themselves. */
function* blocks(text: string): Generator<Span> {
  let start = 0;
  let line = 0;
  let ownLine = false;
  while (line < text.length) {
    const breakAt = text.indexOf('\n', line);
    const end = breakAt < 0 ? text.length : breakAt;
    const content = text.slice(line, Math.min(end, line + 64));
    const blank = content.trim() === '' && text.slice(line, end).trim() === '';
    const own = !blank && OWN_LINE.test(content);
    if (blank || own || ownLine) {
      if (line > start) yield { start, end: line };
      start = line;
    }
    // A list item's text may go on in the next line when that is indented; a heading's or a table row's does not.
    ownLine = own && !continues(text, end + 1);
    line = end + 1;
  }
  if (start < text.length) yield { start, end: text.length };
}

const continues = (text: string, at: number): boolean => text.startsWith('  ', at) || text.startsWith('\t', at);

/**
 * Where sentences end in `text[start, end)`: behind their marks and what closes after them. A mark at `end` counts. What
 * comes after the last one is a sentence without a mark. One pass, with no pattern over more than some characters.
 */
function* sentenceEnds(text: string, start: number, end: number): Generator<number> {
  let from = start;
  for (let at = start; at < end; at += 1) {
    if (!isMark(text.charCodeAt(at))) continue;
    let cjk = false;
    let behind = at;
    for (; behind < end && isMark(text.charCodeAt(behind)); behind += 1) {
      cjk ||= signOf(text.charCodeAt(behind)) === CJK_MARK;
    }
    while (behind < end && signOf(text.charCodeAt(behind)) === CLOSER) behind += 1;
    if (cjk || isEnd(text, from, at, behind, end)) {
      yield behind;
      from = behind;
    }
    at = behind - 1;
  }
}

/** Starts of the sentences after the first in `text[start, end)`, each behind the blanks that follow an end. */
export function* sentenceStarts(text: string, start: number, end: number): Generator<number> {
  for (let at of sentenceEnds(text, start, end)) {
    while (at < end && isBlank(text.charCodeAt(at))) at += 1;
    if (at < end) yield at;
  }
}

function splitBlock(text: string, block: Span, found: Sentence[]): void {
  let start = block.start;
  for (const end of sentenceEnds(text, block.start, block.end)) {
    start = pushCut(text, start, end, found);
  }
  pushCut(text, start, block.end, found);
}

/** Takes a sentence in, in pieces where it is too long; returns its end. */
function pushCut(text: string, from: number, end: number, found: Sentence[]): number {
  let start = from;
  while (end - start > MAX_SENTENCE) {
    const cut = cutBefore(text, start, start + MAX_SENTENCE);
    push(text, start, cut, found);
    start = cut;
  }
  push(text, start, end, found);
  return end;
}

/** The longest of `BEFORE_NAME`: a longer word ends its sentence. */
const LONGEST_BEFORE_NAME = Math.max(...Array.from(BEFORE_NAME, ({ length }) => length));
const isUpper = (code: number): boolean => code >= 0x41 && code <= 0x5a;
const isLower = (code: number): boolean => code >= 0x61 && code <= 0x7a;

/**
 * What `isEnd` says of most full stops, at a tenth of its cost: a word of ASCII letters, and a space and an ASCII letter
 * behind. Undefined for everything else.
 */
function isPlainEnd(text: string, start: number, at: number, end: number): boolean | undefined {
  if (text.charCodeAt(at) !== 0x2e || text.charCodeAt(end) !== 0x20 || end + 1 >= text.length) return undefined;
  const next = text.charCodeAt(end + 1);
  if (isLower(next)) return false;
  if (!isUpper(next)) return undefined;
  let first = at;
  while (first > start) {
    const code = text.charCodeAt(first - 1);
    if (!isUpper(code) && !isLower(code)) break;
    first -= 1;
  }
  const before = first > start ? text.charCodeAt(first - 1) : 0;
  const isPartOfMore = before >= 0x80 || before === 0x2e || (before >= 0x30 && before <= 0x39);
  if (isPartOfMore || first === at) return undefined;
  if (at - first === 1) return false;
  if (at - first > LONGEST_BEFORE_NAME) return true;
  const word = text.slice(first, at).toLowerCase();
  return !BEFORE_NAME.has(word) || MAY_END.has(word);
}

function isEnd(text: string, start: number, at: number, end: number, limit: number): boolean {
  if (end >= limit) return true;
  const plainly = isPlainEnd(text, start, at, end);
  if (plainly !== undefined) return plainly;
  const mark = text.charAt(at);
  if (!isBlank(text.charCodeAt(end))) {
    return mark === '…' || mark === '.' ? false : /^[\p{Lu}\p{Script=Han}]/u.test(text.slice(end, end + 2));
  }
  const next = text
    .slice(end, end + 24)
    .trimStart()
    .charAt(0);
  if (mark !== '.') return !/\p{Ll}/u.test(next);
  if (/\p{Ll}/u.test(next)) return false;
  const word = /([\p{L}\p{N}.]+)$/u.exec(text.slice(Math.max(start, at - 24), at))?.[1] ?? '';
  // A number or letter that opens the line counts a list ("1. First"); one letter is an initial ("J. Smith").
  if (/^[\p{L}\p{Nd}]$/u.test(word) && !/[\p{Nd}]/u.test(word)) return false;
  if (/^\p{Nd}{1,3}$/u.test(word) && text.slice(start, at).trim() === word) return false;
  if (/^(?:\p{L}\.)+\p{L}$/u.test(word)) return !isAbbreviationInside(word, next);
  const plain = word.toLowerCase().replaceAll('.', '');
  if (!BEFORE_NAME.has(plain)) return true;
  return MAY_END.has(plain) && /\p{Lu}/u.test(next);
}

/** "e.g. Paris", "i.e. The", "U.S. Army" go on; "at 5 p.m. The" ends. */
function isAbbreviationInside(word: string, next: string): boolean {
  const lower = word.toLowerCase();
  if (lower === 'a.m' || lower === 'p.m') return !/\p{Lu}/u.test(next);
  return true;
}

/** The last space before `at`, else `at` itself, never inside a surrogate pair. */
function cutBefore(text: string, start: number, at: number): number {
  const space = text.lastIndexOf(' ', at);
  if (space > start) return space;
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff ? at - 1 : at;
}

function push(text: string, from: number, to: number, found: Sentence[]): void {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  if (end > start) found.push({ start, end, text: text.slice(start, end) });
}
