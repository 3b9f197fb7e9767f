/** Which writing system a character belongs to: decides how text is cut into words. All by code point, all O(1). */

/** `spaceless`: scripts besides CJK that write words without spaces (Thai, Lao, Khmer, Burmese). */
export type Script = 'han' | 'kana' | 'hangul' | 'latin' | 'spaceless' | 'other' | 'none';

const LATIN = /\p{Script=Latin}/u;
const LETTER = /[\p{L}\p{N}]/u;

/** The script of one code point; `none` for whatever is neither letter nor digit, `other` for digits and other alphabets. */
export function scriptOf(codePoint: number): Script {
  if (codePoint < 0x80) {
    if ((codePoint | 0x20) >= 0x61 && (codePoint | 0x20) <= 0x7a) return 'latin';
    return codePoint >= 0x30 && codePoint <= 0x39 ? 'other' : 'none';
  }
  if (isHan(codePoint)) return 'han';
  if (isKana(codePoint)) return 'kana';
  if (isHangul(codePoint)) return 'hangul';
  if (
    (codePoint >= 0x0e00 && codePoint <= 0x0eff) ||
    (codePoint >= 0x1000 && codePoint <= 0x109f) ||
    (codePoint >= 0x1780 && codePoint <= 0x17ff)
  ) {
    return 'spaceless';
  }
  const character = String.fromCodePoint(codePoint);
  if (LATIN.test(character)) return 'latin';
  return LETTER.test(character) ? 'other' : 'none';
}

/** Chinese and Japanese characters: written without spaces, one or two of them a word. */
export function isCjk(codePoint: number): boolean {
  return isHan(codePoint) || isKana(codePoint);
}

function isHan(codePoint: number): boolean {
  return (
    (codePoint >= 0x4e00 && codePoint <= 0x9fff) ||
    (codePoint >= 0x3400 && codePoint <= 0x4dbf) ||
    (codePoint >= 0x20000 && codePoint <= 0x3ffff) ||
    (codePoint >= 0xf900 && codePoint <= 0xfaff) ||
    (codePoint >= 0x3005 && codePoint <= 0x3007)
  );
}

/** Hiragana, katakana (half-width too, without the middle dot) and bopomofo. */
function isKana(codePoint: number): boolean {
  return (
    (codePoint >= 0x3041 && codePoint <= 0x30ff && codePoint !== 0x30fb && codePoint !== 0x30a0) ||
    (codePoint >= 0x3100 && codePoint <= 0x312f) ||
    (codePoint >= 0x31f0 && codePoint <= 0x31ff) ||
    (codePoint >= 0xff66 && codePoint <= 0xff9f)
  );
}

function isHangul(codePoint: number): boolean {
  return (
    (codePoint >= 0xac00 && codePoint <= 0xd7af) ||
    (codePoint >= 0x1100 && codePoint <= 0x11ff) ||
    (codePoint >= 0x3130 && codePoint <= 0x318f)
  );
}
