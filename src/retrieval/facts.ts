/**
 * What a user has noted, held against a question. A fact's worth is the share of the question's weight whose terms its key
 * and value hold; what was changed last comes first among equals.
 */
import type { Fact } from '../contracts/index.ts';
import { analyse } from '../kernel/text/lexemes.ts';
import { queryLexemes } from '../kernel/text/query.ts';

export interface WeighedFact extends Fact {
  /** 0…1 */
  share: number;
}

/** Words of a key: `favourite_colour` and `home.city` are two each. */
const wordsOf = (key: string): string => key.replace(/[._:-]+/g, ' ').replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2');

/** Strings, numbers and the like of a value, with the names of their fields. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(textOf).join(', ');
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .map(([name, part]) => `${wordsOf(name)}: ${textOf(part)}`)
      .join(', ');
  }
  return String(value);
}

/** Facts with their text and worth, the worthiest first. `stored` is what was changed last first. */
export function weighFacts(stored: readonly { key: string; value: unknown }[], question: string): WeighedFact[] {
  const wanted = queryLexemes(question);
  const total = wanted.reduce((sum, { weight }) => sum + weight, 0);
  return stored
    .map(({ key, value }) => {
      const text = textOf(value);
      const held = new Set(analyse(`${wordsOf(key)}\n${text}`).lexemes.map(({ term }) => term));
      const weight = wanted.reduce((sum, one) => sum + (held.has(one.term) ? one.weight : 0), 0);
      return { key, name: wordsOf(key), value: JSON.stringify(value), text, share: total > 0 ? weight / total : 0 };
    })
    .sort((a, b) => b.share - a.share);
}
