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
