/**
 * The one place that decides what extracted text may look like. Every offset in DreamHub counts in the cleaned text, so
 * a change here is a new pipeline version.
 *
 * - newlines are `\n`, whatever they were (CR, CRLF, NEL, U+2028, vertical tab, form feed)
 * - no NUL and no other control character but tab and newline; nothing invisible inside words either (soft hyphens,
 *   zero-width spaces, byte order marks, invisible operators). Joiners stay: emoji and Persian need them
 * - no orders to a terminal (colours in logs and notebooks), which would leave `[31m` behind
 * - well-formed: half a surrogate pair becomes U+FFFD, because databases and embedders refuse it
 * - NFC: the same word typed on two systems is the same text, and Korean or accented text from a Mac is found. Not NFKC,
 *   which would rewrite what people see (½, ①, full-width forms)
 */
export function cleanText(raw: string): string {
  return (raw.includes(ESCAPE) ? raw.replace(TERMINAL, '') : raw)
    .replace(/\r\n?|[\v\f\u0085\u2028\u2029]/g, '\n')
    .replace(/[\0-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060-\u2064\ufeff]/g, '')
    .toWellFormed()
    .normalize('NFC');
}

const ESCAPE = '\x1b';
/** Control sequences and operating system commands: ECMA-48, 5.4 and 8.3.89. */
const TERMINAL = /\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\))/g;
const BEGUN_TERMINAL = /^\x1b(?:\[[0-?]{0,32}[ -/]{0,4}|\][^\x07\x1b]{0,512}\x1b?)?$/;
const LONGEST_TERMINAL = 520;

/** True where a text has something to read: a letter, a digit or a symbol, not blanks and rules alone. */
export function hasContent(text: string): boolean {
  return /[\p{L}\p{N}\p{S}]/u.test(text);
}

/** Pieces held back at most, in UTF-16 units: then a piece ends wherever a character does. */
const MAX_HELD = 1024 * 1024;

/** `cleanText` for text that comes in pieces: what comes out, put together, is what the whole would have become. */
export function createCleaner(): { push(raw: string): string; end(): string } {
  let held = '';
  return {
    push(raw) {
      const text = held + raw;
      const cut = text.length > MAX_HELD ? forcedCut(text) : safeCut(text, held.length);
      held = text.slice(cut);
      return cut === 0 ? '' : cleanText(text.slice(0, cut));
    },
    end() {
      const rest = cleanText(held);
      held = '';
      return rest;
    },
  };
}

/** The last place before which nothing changes with what follows, looking back no further than `from`; 0 for none. */
function safeCut(text: string, from: number): number {
  for (let at = text.length - 1; at >= Math.max(1, from - 1); at--) if (isSafe(text, at)) return at;
  return 0;
}

/**
 * ASCII and Han characters compose with nothing before them; a newline may belong to the return before it, and of a control
 * character nothing is left that would stand between what is before and after it.
 */
function isSafe(text: string, at: number): boolean {
  return composesNot(text, at) && !isInTerminal(text, at);
}

function isInTerminal(text: string, at: number): boolean {
  const start = text.lastIndexOf(ESCAPE, at - 1);
  return start >= 0 && at - start <= LONGEST_TERMINAL && BEGUN_TERMINAL.test(text.slice(start, at));
}

function composesNot(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  if (code === 0x0a) return text.charCodeAt(at - 1) !== 0x0d;
  return code === 0x09 || code === 0x0d || (code >= 0x20 && code < 0x7f) || (code >= 0x4e00 && code <= 0x9fff);
}

function forcedCut(text: string): number {
  const safe = safeCut(text, 0);
  if (safe > 0) return safe;
  const low = (text.charCodeAt(text.length - 1) & 0xfc00) === 0xdc00;
  return text.length - (low ? 2 : 1);
}
