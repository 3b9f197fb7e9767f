/**
 * Where a text may be cut: never inside a surrogate pair, nor between a character and its accents, nor inside an emoji
 * of several parts. The segmenter is asked about a small window only, and only where a look at two characters cannot
 * decide, so cutting stays linear.
 */
const segmenter = new Intl.Segmenter('und', { granularity: 'grapheme' });
/** A grapheme longer than this is no character of any language, and may be cut between code points. */
const MAX_GRAPHEME = 512;
const AHEAD = 32;

/** Characters that neither attach to what is before them nor attract what follows, unless that attaches itself. */
function isSimple(code: number): boolean {
  return (
    (code < 0x300 && code !== 0x0d) ||
    (code >= 0x4e00 && code <= 0x9fff) ||
    (code >= 0x3000 && code <= 0x3029) ||
    (code >= 0x3041 && code <= 0x3096) ||
    (code >= 0x30a1 && code <= 0x30fe) ||
    (code >= 0xff01 && code <= 0xff60)
  );
}

/** The last place at or before `position` where the text may be cut. */
export function graphemeFloor(text: string, position: number): number {
  if (position <= 0 || position >= text.length) return Math.max(0, Math.min(position, text.length));
  if (isSimple(text.charCodeAt(position - 1)) && isSimple(text.charCodeAt(position))) return position;
  const farthest = Math.max(0, position - MAX_GRAPHEME);
  let start = position - 1;
  // A simple character starts a grapheme, so a window from there sees what the whole text would.
  while (start > farthest && !isSimple(text.charCodeAt(start))) start -= 1;
  if (start === farthest && start > 0 && !isSimple(text.charCodeAt(start))) return codePointFloor(text, position);
  const found = segmenter.segment(text.slice(start, position + AHEAD)).containing(position - start);
  return found ? start + found.index : position;
}

export function isGraphemeBoundary(text: string, position: number): boolean {
  return graphemeFloor(text, position) === position;
}

export function codePointFloor(text: string, position: number): number {
  const low = (text.charCodeAt(position) & 0xfc00) === 0xdc00;
  return low && (text.charCodeAt(position - 1) & 0xfc00) === 0xd800 ? position - 1 : position;
}
