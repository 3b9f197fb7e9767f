/**
 * Cuts text into words. One pass by regular expression finds runs of one kind; each kind is then cut its own way:
 * Chinese and Japanese by `Intl.Segmenter`, identifiers at underscores and case changes, numbers as one value.
 * Time is linear: no run handed to the segmenter is longer than `MAX_RUN`, and a word's forms are remembered.
 */
import { stem } from 'porter2';
import { compatible, foldCase, truncate } from './normalise.ts';
import { isStopWord } from './stop-words.ts';

/** Longer runs without a break are cut: segmenters and tokenizers are quadratic on them. */
const MAX_RUN = 2_000;
/** A longer word is indexed and searched by its beginning. */
const MAX_WORD = 64;

/** A word of an alphabet: `term` is what is indexed; `parts` are the words inside an identifier (`getUserName`). */
export interface WordForms {
  readonly term: string;
  readonly stop: boolean;
  readonly parts: readonly string[];
  /** Whoever counts the words of a text notes here which text met it last, and where it counts it there. */
  text: number;
  place: number;
}

export interface WordVisitor {
  /** A word, number or emoji written with breaks around it. */
  word(forms: WordForms): void;
  /** A run of Chinese, Japanese or another script without spaces, at most `MAX_RUN` long. */
  run(text: string, script: 'cjk' | 'hangul' | 'spaceless'): void;
}

const CJK = '\\p{Script=Han}\\u3005-\\u3007\\u3041-\\u309f\\u30a1-\\u30fa\\u30fc-\\u30ff\\u3100-\\u312f\\u31f0-\\u31ff';
const HANGUL = '\\p{Script=Hangul}';
const SPACELESS = '\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff';
/** A letter, mark or digit of a script that is none of the above. */
const ALPHABETIC = `(?:(?![${CJK}${HANGUL}${SPACELESS}])[\\p{L}\\p{M}\\p{N}_])`;

const TOKEN = new RegExp(
  [
    `([${CJK}]+)`,
    `([${HANGUL}]+)`,
    `([${SPACELESS}]+)`,
    `(\\p{Nd}+(?:[.,]\\p{Nd}+)+(?!${ALPHABETIC}))`,
    `([A-Za-z](?:\\+\\+|#)(?!${ALPHABETIC}))`,
    `(${ALPHABETIC}+(?:['\u2019]${ALPHABETIC}+)*)`,
    '(\\p{Emoji_Presentation})',
  ].join('|'),
  'gu',
);

/** Calls the visitor for every word and run of the text, in order. */
export function visitWords(text: string, visitor: WordVisitor): void {
  const whole = compatible(text);
  const length = whole.length;
  for (let at = 0; at < length; ) {
    // Most text is words of ASCII letters with ASCII around them, and the expression takes ten times as long over them as
    // this: where a word ends, and the place at which its forms are remembered, in one pass.
    let end = at;
    let hash = 0;
    let next = whole.charCodeAt(end);
    while (next < 0x80 && ASCII_WORD[next] === 1) {
      hash = (Math.imul(hash, 31) + next) | 0;
      end += 1;
      next = end < length ? whole.charCodeAt(end) : 0;
    }
    if (end === at && next < 0x80) at += 1;
    else if (end > at && endsWord(whole, at, next)) {
      visitor.word(formsAt(whole, at, end, hash));
      at = end;
    } else {
      TOKEN.lastIndex = at;
      const match = TOKEN.exec(whole);
      if (!match) return;
      visitMatch(match, visitor);
      at = TOKEN.lastIndex;
    }
  }
}

/** What a word of ASCII letters, digits and underscores is made of. */
const ASCII_WORD = Uint8Array.from({ length: 0x80 }, (_, code) => (/\w/.test(String.fromCharCode(code)) ? 1 : 0));

/** Whether an ASCII word that begins at `at` ends before `next`; else only the expression can tell. */
function endsWord(text: string, at: number, next: number): boolean {
  // A number with a point, an elided form, C++ and C#, or a letter of another alphabet.
  const goesOn = next >= 0x80 || next === 0x27 || next === 0x2e || next === 0x2c || next === 0x2b || next === 0x23;
  if (!goesOn) return true;
  const first = text.charCodeAt(at);
  const isNumber = first >= 0x30 && first <= 0x39;
  return (next === 0x2e || next === 0x2c) && !isNumber;
}

function visitMatch(match: RegExpExecArray, visitor: WordVisitor): void {
  const [whole, cjk, hangul, spaceless, number, codeName, word] = match;
  if (word !== undefined) visitor.word(formsOf(word));
  else if (cjk !== undefined) visitRun(cjk, 'cjk', visitor);
  else if (number !== undefined) for (const term of numbersIn(number)) visitor.word(plain(term));
  else if (hangul !== undefined) visitRun(hangul, 'hangul', visitor);
  else if (spaceless !== undefined) visitRun(spaceless, 'spaceless', visitor);
  else visitor.word(plain(codeName === undefined ? whole : codeName.toLowerCase()));
}

const segmenter = new Intl.Segmenter('zh', { granularity: 'word' });

/** Words of a run without spaces; the dictionary covers Chinese, Japanese, Thai, Lao, Khmer and Burmese whatever the locale. */
export function segmentRun(run: string): string[] {
  const words: string[] = [];
  for (const { segment } of segmenter.segment(run)) words.push(segment);
  return words;
}

function visitRun(run: string, script: 'cjk' | 'hangul' | 'spaceless', visitor: WordVisitor): void {
  for (let rest = run; rest.length > 0; ) {
    const head = truncate(rest, MAX_RUN);
    visitor.run(head, script);
    rest = rest.slice(head.length);
  }
}

const plain = (term: string): WordForms => ({
  term: truncate(term, MAX_WORD),
  stop: false,
  parts: [],
  text: 0,
  place: 0,
});

const THOUSANDS = /^\d{1,3}(?:,\d{3})+(?:\.\d+)?$/;
const DECIMAL_OR_VERSION = /^\d+(?:\.\d+)+$/;

/** `1,190` → `1190`, `3.14` and `1.4.5` as they stand, `1,2,3` → three numbers. */
function numbersIn(text: string): string[] {
  if (THOUSANDS.test(text)) return [text.replaceAll(',', '')];
  return DECIMAL_OR_VERSION.test(text) ? [text] : text.split(/[.,]/);
}

/** Forms of the words met last: text repeats itself, and stemming and case splitting cost more than a look-up. */
const remembered = new Map<string, WordForms>();
const REMEMBERED_MAX = 20_000;

function formsOf(word: string): WordForms {
  const known = remembered.get(word);
  if (known) return known;
  const forms = computeForms(word);
  if (remembered.size >= REMEMBERED_MAX) remembered.clear();
  if (word.length <= MAX_WORD) remembered.set(word, forms);
  return forms;
}

/** The short ASCII words met last, each in the place that its characters lead to. */
const PLACES = 1 << 15;
const MOST_PLACED = 24;
const placed: ({ readonly word: string; readonly forms: WordForms } | undefined)[] = new Array(PLACES).fill(undefined);

/** `formsOf` a part of a text: most words were met before, and then no string is made of them. `hash` is its characters'. */
function formsAt(text: string, from: number, to: number, hash: number): WordForms {
  if (to - from > MOST_PLACED) return formsOf(text.slice(from, to));
  const place = (hash ^ (hash >>> 15)) & (PLACES - 1);
  const known = placed[place];
  if (known && isAt(known.word, text, from, to)) return known.forms;
  // A part of a text would keep all of it in memory.
  const word = Buffer.from(text.slice(from, to), 'latin1').toString('latin1');
  const forms = formsOf(word);
  placed[place] = { word, forms };
  return forms;
}

function isAt(word: string, text: string, from: number, to: number): boolean {
  if (word.length !== to - from) return false;
  for (let at = 0; at < word.length; at++) if (word.charCodeAt(at) !== text.charCodeAt(from + at)) return false;
  return true;
}

const POSSESSIVE = /['\u2019]s?$/u;
const APOSTROPHE = /['\u2019]/gu;

function computeForms(word: string): WordForms {
  const bare = word.replace(POSSESSIVE, '').replace(/^_+|_+$/g, '');
  const folded = foldCase(bare.replace(APOSTROPHE, ''));
  const parts = new Set(partsOf(bare).map((part) => stemmed(foldCase(part))));
  const term = truncate(stemmed(folded), MAX_WORD);
  parts.delete(term);
  const stop = isStopWord(foldCase(word.replace(APOSTROPHE, ''))) || isStopWord(folded);
  return { term, stop, parts: [...parts], text: 0, place: 0 };
}

/** Between lower and upper case, before the last capital of an acronym, between letters and digits. */
const CASE_BOUNDARY = /(?<=\p{Ll})(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})|(?<=\p{L})(?=\p{Nd})|(?<=\p{Nd})(?=\p{L})/u;

/** Words inside an identifier or an elided form (`l'eau` → `eau`); empty where there is only the word itself. */
function partsOf(word: string): string[] {
  if (word.length > 4 * MAX_WORD) return [];
  const elided = /^\p{L}{1,2}['\u2019](\p{L}{3,})$/u.exec(word)?.[1];
  if (elided) return [elided];
  const pieces = word
    .replace(APOSTROPHE, '')
    .split('_')
    .flatMap((piece) => piece.split(CASE_BOUNDARY))
    .filter((piece) => piece.length > 1 || /\p{Nd}/u.test(piece));
  return pieces.length > 1 || (pieces[0] ?? word).length < word.length
    ? pieces.map((piece) => truncate(piece, MAX_WORD))
    : [];
}

const STEMMABLE = /^[a-z]{3,}$/;

function stemmed(word: string): string {
  return STEMMABLE.test(word) && word.length <= MAX_WORD ? stem(word) : word;
}
