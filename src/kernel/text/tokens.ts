/**
 * How many tokens a text takes in a language model, near enough to budget with. Exact counting needs a model's own
 * vocabulary (one takes 0.3 s and 100 MB to load, and the server behind an OpenAI-compatible address may use any), so
 * this estimates by kind of character; `test/unit/text/tokens.test.ts` holds it against a real vocabulary.
 */
import { scriptOf } from './script.ts';

/** Letters that one token holds in a long word. */
const LETTERS_A_TOKEN = 7.5;
const DIGITS_A_TOKEN = 2.5;
/** Tokens of one character. */
const PUNCTUATION = 0.65;
const LINE_BREAK = 0.5;
const BY_SCRIPT = { han: 0.85, kana: 0.65, hangul: 0.62, spaceless: 0.6, latin: 0.4, other: 0.25, none: 0.9 } as const;

/** Estimated tokens of a text: one pass, no allocation. */
export function estimateTokens(text: string): number {
  let tokens = 0;
  let letters = 0;
  let digits = 0;
  let spaces = 0;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    const letter = (unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x7a;
    const digit = unit >= 0x30 && unit <= 0x39;
    if (!letter && letters > 0) {
      tokens += Math.ceil(letters / LETTERS_A_TOKEN);
      letters = 0;
    }
    if (!digit && digits > 0) {
      tokens += Math.ceil(digits / DIGITS_A_TOKEN);
      digits = 0;
    }
    if (letter) letters += 1;
    else if (digit) digits += 1;
    else if (unit === 0x20) {
      spaces += 1;
      continue;
    } else if (unit < 0x80) tokens += unit === 0x0a ? LINE_BREAK : PUNCTUATION;
    else tokens += BY_SCRIPT[scriptOf(unit)];
    if (spaces > 1) tokens += 1;
    spaces = 0;
  }
  return Math.ceil(tokens + Math.ceil(letters / LETTERS_A_TOKEN) + Math.ceil(digits / DIGITS_A_TOKEN));
}
