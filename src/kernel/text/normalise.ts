/** Forms of text that compare equal when a reader would call them the same, and text fit for storage and prompts. */

const ASCII = /^[\x00-\x7f]*$/;
const ACCENTED_LATIN = /(\p{Script=Latin})[\u0300-\u036f]+/gu;

/** Unicode compatibility form (full-width to ASCII, ligatures apart, half-width kana to full); case and accents stay. */
export function compatible(text: string): string {
  return ASCII.test(text) ? text : text.normalize('NFKC');
}

/** Case and accents folded: `Ångström` → `angstrom`, `Straße` → `strasse`. Accents of other scripts are letters and stay. */
export function foldCase(text: string): string {
  const lower = text.toLowerCase();
  if (ASCII.test(lower)) return lower;
  return lower
    .normalize('NFD')
    .replace(ACCENTED_LATIN, '$1')
    .normalize('NFC')
    .replaceAll('ß', 'ss')
    .replaceAll('ς', 'σ')
    .replaceAll('ø', 'o')
    .replaceAll('æ', 'ae')
    .replaceAll('œ', 'oe')
    .replaceAll('ł', 'l')
    .replaceAll('ı', 'i');
}

/**
 * Characters that a reader cannot see but a model reads: zero-width characters, direction overrides, tag characters
 * (U+E0000…), variation selectors outside emoji, soft hyphens, controls other than tab and newline. Text can hide
 * instructions in them. The joiner inside emoji, Arabic and Indic words stays where it stands between two letters or emoji.
 */
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;
const STRAY_JOINER =
  /(?<![\p{L}\p{M}\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])[\u200c\u200d]+|[\u200c\u200d]+(?![\p{L}\p{Extended_Pictographic}])/gu;

/** Removes what cannot be seen and repairs broken surrogate pairs. Changes offsets: for prompts, never for stored text. */
export function stripInvisible(text: string): string {
  if (ASCII.test(text)) return text.replace(INVISIBLE, '');
  return text.toWellFormed().replace(INVISIBLE, '').replace(STRAY_JOINER, '');
}

/** The first `length` UTF-16 units at most, never cutting a surrogate pair. */
export function truncate(text: string, length: number): string {
  if (text.length <= length) return text;
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length);
}
