/** The language of a text: by script where that decides, else by tinyld's letter statistics. */
import { detectAll } from 'tinyld/light';
import { truncate } from './normalise.ts';
import { scriptOf } from './script.ts';
import { isStopWord } from './stop-words.ts';

/** So much of a text is looked at. */
const SAMPLE = 4_000;
/** Below so many letters statistics guess; common English words and then the fallback decide. */
const TOO_SHORT = 24;
/** A Chinese character says about as much as so many letters. */
const LETTERS_A_HAN = 3;

/** Names of languages in English; ISO 639 codes that nobody speaks have none. */
const NAMES = new Intl.DisplayNames('en', { type: 'language', fallback: 'none' });

/** The canonical form of a BCP 47 tag (`ZH-cn` → `zh-CN`); undefined for what is none, or names no known language. */
export function canonicalLanguage(tag: string): string | undefined {
  try {
    const [canonical] = Intl.getCanonicalLocales(tag.trim());
    // Extensions and private parts could say anything, and would stand in a prompt.
    if (canonical === undefined || /-[a-z0-9]-/i.test(canonical)) return undefined;
    return NAMES.of(canonical) === undefined ? undefined : canonical;
  } catch {
    return undefined;
  }
}

/** Of a tag, the part that names the language alone: `zh-Hans` → `zh`. */
export const baseLanguage = (tag: string): string => tag.split('-')[0] ?? tag;

/** What a canonical tag is called: `zh-Hans` → `Simplified Chinese`. */
export const languageName = (tag: string): string => NAMES.of(tag) ?? tag;

/** ISO 639-1 code (`zh`, `ja`, `ko`, `en`, `de` …). `fallback` for text that does not say: short, or without letters. */
export function detectLanguage(text: string, fallback = 'en'): string {
  const sample = truncate(text, SAMPLE);
  const counts = { han: 0, kana: 0, hangul: 0, latin: 0, spaceless: 0, other: 0, none: 0 };
  for (const character of sample) counts[scriptOf(character.codePointAt(0) ?? 0)] += 1;
  const eastAsian = counts.han + counts.kana + counts.hangul;
  const alphabetic = counts.latin + counts.spaceless + counts.other;
  if (eastAsian * LETTERS_A_HAN > alphabetic) {
    if (counts.hangul > counts.han + counts.kana) return 'ko';
    return counts.kana * 20 >= eastAsian ? 'ja' : 'zh';
  }
  if (alphabetic === 0) return fallback;
  const words = sample.toLowerCase().match(/[a-z']+/g) ?? [];
  const english = words.filter((word) => word.length > 1 && isStopWord(word.replaceAll("'", ''))).length;
  if (counts.latin > 0 && english * 5 >= words.length && english > 0) return 'en';
  if (counts.latin === alphabetic && alphabetic < TOO_SHORT) return fallback;
  return detectAll(sample)[0]?.lang || fallback;
}
