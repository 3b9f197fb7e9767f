/**
 * Ends of sentences: Latin ones need a blank behind them and no abbreviation before; Chinese and Japanese ones need
 * neither. One pass over the characters, no patterns: a line of 200,000 dots takes as long as any other.
 */
const LATIN = new Set('.!?…');
const CJK = new Set('。！？｡');
const CLOSERS = new Set('"\'”’)]}»」』）】》〉');
/** Words that end in a dot and seldom end a sentence; single letters (initials) are taken as such too. */
const ABBREVIATIONS = new Set(
  'mr mrs ms dr prof sr jr st vs e.g i.e cf al no nos vol pp p fig figs eq eqs sec ch art dept approx inc ltd co corp jan feb mar apr jun jul aug sep sept oct nov dec u.s u.k a.m p.m z.b d.h bzw ca nr abs'.split(
    ' ',
  ),
);

export function isBlank(code: number): boolean {
  return (
    code === 0x20 ||
    (code >= 0x09 && code <= 0x0d) ||
    code === 0xa0 ||
    code === 0x1680 ||
    (code >= 0x2000 && code <= 0x200a) ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000 ||
    code === 0xfeff
  );
}

/** Starts of the sentences after the first in `text[start, end)`, each behind the blanks that follow an end. */
export function sentenceStarts(text: string, start: number, end: number): number[] {
  const starts: number[] = [];
  for (let at = start; at < end; ) {
    const char = text.charAt(at);
    if (!LATIN.has(char) && !CJK.has(char)) {
      at += 1;
      continue;
    }
    const mark = at;
    let cjk = false;
    while (at < end && (LATIN.has(text.charAt(at)) || CJK.has(text.charAt(at)))) {
      cjk ||= CJK.has(text.charAt(at));
      at += 1;
    }
    while (at < end && CLOSERS.has(text.charAt(at))) at += 1;
    const blank = at < end && isBlank(text.charCodeAt(at));
    if (at >= end || !(cjk || (blank && endsSentence(text, start, mark)))) continue;
    while (at < end && isBlank(text.charCodeAt(at))) at += 1;
    if (at < end && (cjk || !startsLowerCase(text, at))) starts.push(at);
  }
  return starts;
}

function endsSentence(text: string, start: number, mark: number): boolean {
  if (text.charAt(mark) !== '.') return true;
  const before = text.slice(Math.max(start, mark - 12), mark);
  const word = /[\p{L}\p{N}.]+$/u.exec(before)?.[0] ?? '';
  // An initial, the number of a list item, or a known short form.
  if (/^\p{L}$/u.test(word) || (/^\d{1,3}$/.test(word) && mark - word.length === start)) return false;
  return !ABBREVIATIONS.has(word.toLowerCase());
}

function startsLowerCase(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 0x61 && code <= 0x7a;
}
