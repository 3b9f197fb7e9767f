/**
 * Which character encoding some bytes are in. Order of trust: byte order mark, strict UTF-8, the pattern of zero bytes
 * in UTF-16, then the reading that makes the most plausible text.
 *
 * Chinese, Japanese and Korean encodings share most of their byte ranges, and statistical detectors need more text than
 * a note of two sentences has. So each reading is scored by how common its characters are: right readings consist of
 * everyday characters, wrong ones of rare ones. Single-byte encodings are left to chardet, which knows letter statistics.
 */
import { analyse } from 'chardet';
import { COMMON_HANGUL, COMMON_SIMPLIFIED, COMMON_TRADITIONAL } from './common-characters.ts';

/** A label of the Encoding Standard, or `utf-32le`/`utf-32be`, which it lacks. */
export type Charset = string;

/** Bytes that scoring looks at: enough to be sure, few enough to be fast. */
const SAMPLE_BYTES = 16 * 1024;
/** Mean score of the non-ASCII characters below which a reading is not believed. */
const PLAUSIBLE = 0.35;

const BOMS: readonly (readonly [Charset, readonly number[]])[] = [
  ['utf-8', [0xef, 0xbb, 0xbf]],
  ['utf-32le', [0xff, 0xfe, 0, 0]],
  ['utf-32be', [0, 0, 0xfe, 0xff]],
  ['utf-16le', [0xff, 0xfe]],
  ['utf-16be', [0xfe, 0xff]],
];

export function charsetByBom(bytes: Uint8Array): Charset | undefined {
  return BOMS.find(([, bom]) => bom.every((byte, i) => bytes[i] === byte))?.[0];
}

/** `undefined` where no reading makes sense: binary data. `complete` is false for the beginning of something longer. */
export function detectCharset(bytes: Uint8Array, complete: boolean): Charset | undefined {
  const marked = charsetByBom(bytes);
  if (marked) return marked;
  // Before UTF-8, for which a zero byte is a character like any other.
  const wide = utf16ByZeros(bytes);
  if (wide) return wide;
  if (isUtf8(bytes, complete)) return hasIso2022Escape(bytes) ? 'iso-2022-jp' : 'utf-8';
  const sample = sampleOf(bytes);
  if (isBrokenUtf8(sample)) return 'utf-8';
  const ends = complete && sample.byteOffset + sample.length === bytes.byteOffset + bytes.length;
  const best = MULTI_BYTE.map((reading) => ({
    charset: reading.charset,
    score: scoreOf(reading, sample, ends),
  })).reduce((a, b) => (b.score > a.score ? b : a));
  if (best.score >= PLAUSIBLE) return best.charset;
  return singleByte(sample) ?? (best.score > 0 ? best.charset : undefined);
}

/** Throws a `RangeError` for a label that is not known. What cannot be decoded becomes U+FFFD. */
export function decode(bytes: Uint8Array, charset: Charset): string {
  if (charset === 'utf-32le' || charset === 'utf-32be') return decodeUtf32(bytes, charset === 'utf-32le');
  return new TextDecoder(charset as ConstructorParameters<typeof TextDecoder>[0]).decode(bytes);
}

/** `decode` for bytes that come in pieces, cut anywhere. */
export function createDecoder(charset: Charset): { decode(bytes: Uint8Array): string; end(): string } {
  if (charset === 'utf-32le' || charset === 'utf-32be') return createUtf32Decoder(charset === 'utf-32le');
  const decoder = new TextDecoder(charset as ConstructorParameters<typeof TextDecoder>[0]);
  return { decode: (bytes) => decoder.decode(bytes, { stream: true }), end: () => decoder.decode() };
}

function createUtf32Decoder(littleEndian: boolean): { decode(bytes: Uint8Array): string; end(): string } {
  let held: Uint8Array = new Uint8Array();
  return {
    decode(bytes) {
      const all = held.length > 0 ? Buffer.concat([held, bytes]) : bytes;
      const whole = all.length & ~3;
      held = all.slice(whole);
      return decodeUtf32(all.subarray(0, whole), littleEndian);
    },
    end: () => '',
  };
}

/** The label to decode a declared charset with: supersets where senders mean those, `undefined` for unknown names. */
export function knownCharset(label: string): Charset | undefined {
  try {
    const name = new TextDecoder(label as ConstructorParameters<typeof TextDecoder>[0]).encoding;
    // Every GB2312 and GBK text is GB18030 too.
    return name === 'gbk' ? 'gb18030' : name;
  } catch {
    return undefined;
  }
}

export function isUtf8(bytes: Uint8Array, complete: boolean): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: !complete });
    return true;
  } catch {
    return false;
  }
}

/** UTF-8 with a few bad bytes, as cut logs and joined files have it; text in another encoding is nearly all bad. */
function isBrokenUtf8(sample: Uint8Array): boolean {
  const foreign = decode(sample, 'utf-8').match(/[^\p{ASCII}]/gu) ?? [];
  const bad = foreign.filter((char) => char === '\ufffd').length;
  return foreign.length - bad >= 5 && bad * 8 <= foreign.length;
}

function hasIso2022Escape(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, SAMPLE_BYTES)).toString('latin1');
  return /\x1b\$[@B]/.test(head) && /\x1b\([BJ]/.test(head);
}

/** UTF-16 without a mark: text with Latin letters, spaces or newlines has zeros, and all of them on one side. */
function utf16ByZeros(bytes: Uint8Array): Charset | undefined {
  const zeros = [0, 0];
  const length = Math.min(bytes.length, SAMPLE_BYTES) & ~1;
  for (let i = 0; i < length; i++) if (bytes[i] === 0) zeros[i & 1] = (zeros[i & 1] ?? 0) + 1;
  const [even = 0, odd = 0] = zeros;
  const enough = Math.max(2, length / 50);
  const charset =
    odd > enough && even * 20 < odd ? 'utf-16le' : even > enough && odd * 20 < even ? 'utf-16be' : undefined;
  if (!charset) return undefined;
  const text = decode(bytes.subarray(0, length), charset);
  return badShare(text) < 0.01 ? charset : undefined;
}

/** Share of characters that no text has: replacement, private use, unassigned, controls. */
function badShare(text: string): number {
  let bad = 0;
  for (const match of text.matchAll(/[\ufffd\p{Co}\p{Cn}\p{Cs}]|(?![\t\n\f\r])\p{Cc}/gu)) bad += match[0].length;
  return bad / Math.max(1, text.length);
}

/** Bytes around the first ones that are not ASCII: a long English licence before Chinese text says nothing. */
function sampleOf(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte >= 0x80);
  // Lines are safe places to start: no encoding here has a newline inside a character.
  const line = first < 0 ? 0 : bytes.lastIndexOf(0x0a, first) + 1;
  return bytes.subarray(Math.max(line, first - 1024), Math.max(line, first - 1024) + SAMPLE_BYTES);
}

interface Reading {
  charset: Charset;
  /** Score of one character, −1…1. */
  score(char: string, code: number): number;
}

/** The characters that a block of two-byte codes stands for. */
function block(charset: Charset, leads: readonly [number, number], trails: readonly (readonly [number, number])[]) {
  const bytes: number[] = [];
  for (let lead = leads[0]; lead <= leads[1]; lead++) {
    for (const [from, to] of trails) for (let trail = from; trail <= to; trail++) bytes.push(lead, trail);
  }
  return new Set(decode(Uint8Array.from(bytes), charset));
}

const isPunctuation = (code: number) =>
  (code >= 0x3000 && code <= 0x3011) || (code >= 0xff01 && code <= 0xff5e) || (code >= 0x2013 && code <= 0x2026);
const isKana = (code: number) => code >= 0x3041 && code <= 0x30fe;
const isHan = (code: number) => code >= 0x4e00 && code <= 0x9fff;

/** The everyday half of GB 2312, Big5 and JIS X 0208: their standards put it into blocks of its own. */
const GB_LEVEL_1 = block('gb18030', [0xb0, 0xd7], [[0xa1, 0xfe]]);
const BIG5_LEVEL_1 = block(
  'big5',
  [0xa4, 0xc6],
  [
    [0x40, 0x7e],
    [0xa1, 0xfe],
  ],
);
const JIS_LEVEL_1 = block('euc-jp', [0xb0, 0xcf], [[0xa1, 0xfe]]);
const GB_LEVEL_2 = block('gb18030', [0xd8, 0xf7], [[0xa1, 0xfe]]);
const KS_HANGUL = block('euc-kr', [0xb0, 0xc8], [[0xa1, 0xfe]]);
const HANGUL = new Set(COMMON_HANGUL);
const SIMPLIFIED = new Set(COMMON_SIMPLIFIED);
const TRADITIONAL = new Set(COMMON_TRADITIONAL);

const chinese =
  (common: ReadonlySet<string>, level1: ReadonlySet<string>, level2?: ReadonlySet<string>) =>
  (char: string, code: number): number => {
    if (common.has(char)) return 1;
    if (isPunctuation(code)) return 0.7;
    if (isHan(code)) return level1.has(char) ? 0.4 : level2?.has(char) ? -0.1 : -0.5;
    return isKana(code) ? -0.2 : -0.5;
  };

const japanese = (char: string, code: number): number => {
  if (isKana(code)) return 0.9;
  if (isPunctuation(code)) return 0.7;
  // Half-width katakana are what Chinese and Latin bytes look like in Shift-JIS.
  if (isHan(code)) return JIS_LEVEL_1.has(char) ? 0.4 : -0.4;
  return -0.5;
};

const korean = (char: string, code: number): number => {
  if (HANGUL.has(char)) return 1;
  if (isPunctuation(code)) return 0.5;
  return KS_HANGUL.has(char) ? 0.4 : -0.5;
};

const unicode = (char: string, code: number): number => {
  if (SIMPLIFIED.has(char) || TRADITIONAL.has(char) || isKana(code)) return 1;
  if (isPunctuation(code)) return 0.7;
  if (KS_HANGUL.has(char)) return 0.5;
  return isHan(code) && (GB_LEVEL_1.has(char) || BIG5_LEVEL_1.has(char)) ? 0.4 : -0.5;
};

const MULTI_BYTE: readonly Reading[] = [
  { charset: 'gb18030', score: chinese(SIMPLIFIED, GB_LEVEL_1, GB_LEVEL_2) },
  { charset: 'big5', score: chinese(TRADITIONAL, BIG5_LEVEL_1) },
  { charset: 'shift_jis', score: japanese },
  { charset: 'euc-jp', score: japanese },
  { charset: 'euc-kr', score: korean },
  { charset: 'utf-16le', score: unicode },
  { charset: 'utf-16be', score: unicode },
];

/** Mean score of the non-ASCII characters; −1 for a reading that has too many errors to be one. */
function scoreOf({ charset, score }: Reading, sample: Uint8Array, ends: boolean): number {
  const text = decode(sample, charset);
  let sum = 0;
  let count = 0;
  let broken = 0;
  let last = '';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    last = char;
    if (code < 0x80) {
      // A trail byte that is a control character, or a wide reading of narrow text.
      if (code < 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09 && code !== 0x0c) broken += 1;
      continue;
    }
    count += 1;
    if (code === 0xfffd) broken += 1;
    else sum += score(char, code);
  }
  // The sample may end inside a character; a text does not.
  if (last === '\ufffd' && !ends) broken -= 1;
  if (count === 0 || broken > count / 100) return -1;
  return sum / count;
}

/** Windows-125x, KOI8 and their like, by letter statistics; the result must read as words. */
function singleByte(sample: Uint8Array): Charset | undefined {
  if (isEverydayWestern(decode(sample, 'windows-1252'))) return 'windows-1252';
  const guessed = analyse(sample)
    .filter(({ name }) => /^(iso-8859|windows-125|koi8)/i.test(name))
    .map(({ name }) => knownCharset(name));
  const known = guessed.find((charset) => charset !== undefined && readsAsWords(decode(sample, charset)));
  if (known) return known;
  if (isRussian(decode(sample, 'windows-1251'))) return 'windows-1251';
  return ['windows-1252', 'windows-1250'].find((charset) => readsAsWords(decode(sample, charset)));
}

/** A word or two, too few for statistics as well: letters of Russian alone, capital at most at the beginning. */
function isRussian(text: string): boolean {
  const words = text.match(/[^\p{ASCII}]+/gu) ?? [];
  return words.length > 0 && words.every((word) => /^[А-ЯЁ]?[а-яё]+$/.test(word));
}

/** A word or two with accents, too few for statistics: Western letters in mostly unaccented words. */
function isEverydayWestern(text: string): boolean {
  const foreign = text.match(/[^\p{ASCII}]/gu) ?? [];
  const everyday = foreign.every((char) =>
    'éèêëàâáäãåçñíîïóôöõúûùüßæøœÉÈÀÂÄÖÜÑÇÅØ“”‘’–—…€£§°«»¿¡©®·\u00a0'.includes(char),
  );
  return everyday && foreign.length <= 12 && foreign.length * 3 <= text.length;
}

/** Most of what is not ASCII is letters, or the quotes, dashes and signs that office programs put between them. */
function readsAsWords(text: string): boolean {
  if (badShare(text) > 0.01) return false;
  const foreign = text.match(/[^\p{ASCII}]/gu) ?? [];
  const letters = foreign.filter((char) => /[\p{L}\p{M}]/u.test(char)).length;
  const marks = foreign.filter((char) => /[\u2010-\u2026\u00a0«»°§€£©®·]/u.test(char)).length;
  // Case changes inside words are what random bytes look like.
  const oddCase = (text.match(/\p{Ll}\p{Lu}/gu) ?? []).length;
  return (letters + marks) / Math.max(1, foreign.length) > 0.7 && oddCase <= text.length / 20;
}

function decodeUtf32(bytes: Uint8Array, littleEndian: boolean): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pieces: string[] = [];
  let piece = '';
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const code = view.getUint32(at, littleEndian);
    if (at === 0 && code === 0xfeff) continue;
    piece += code > 0x10ffff ? '\ufffd' : String.fromCodePoint(code);
    if (piece.length > 8192) {
      pieces.push(piece);
      piece = '';
    }
  }
  return pieces.join('') + piece;
}
