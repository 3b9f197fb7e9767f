/**
 * What to look for where a question leans on the talk before it: "and in 2023?" names its subject nowhere. Such a question
 * takes along the latest one that stands by itself, and counts twice beside it, because it says what is new.
 */
import { queryLexemes } from '../kernel/text/query.ts';
import { scriptOf } from '../kernel/text/script.ts';

/** Openings that go on with something, and words that stand for something said before. */
const CONNECTIVE =
  /^\s*(?:and|but|or|so|then|also|what about|how about|why(?: not)?\s*\?|那么?|还有|另外|然后|而且|为什么\s*[?？]|じゃあ|では|それで|また)/iu;
const PRONOUN =
  /(?<![\p{L}\p{N}])(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|this|that|these|those|there|one|ones|the same|former|latter)(?![\p{L}\p{N}])|[它他她]们?|这个|那个|这些|那些|其中|上述|それ|これ|その|この|あれ/iu;
/** A question of fewer words of its own says too little to be looked for alone; two Chinese characters are a word. */
const FEW_WORDS = 3;
const FEW_CHARACTERS = 6;
const MAX_QUERY = 2_000;

interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

/** Whether a question can only be understood with what was said before it. */
export function isFollowUp(question: string): boolean {
  if (CONNECTIVE.test(question)) return true;
  const isSpaceless = Array.from(question).some((one) => ['han', 'kana'].includes(scriptOf(one.codePointAt(0) ?? 0)));
  const says = isSpaceless
    ? Array.from(question.replaceAll(/[\p{P}\p{S}\s]/gu, '')).length > FEW_CHARACTERS
    : queryLexemes(question).filter(({ weight }) => weight >= 1).length >= FEW_WORDS;
  return !says || PRONOUN.test(question);
}

/** The query for a question. `history` is oldest first. */
export function standaloneQuery(question: string, history: readonly Message[]): string {
  const trimmed = question.trim();
  const asked = history.filter(({ role }) => role === 'user').map(({ content }) => content.trim());
  if (asked.length === 0 || !isFollowUp(trimmed)) return bounded(trimmed);
  const subject = asked.findLast((one) => !isFollowUp(one)) ?? asked[0] ?? '';
  if (subject === '' || subject === trimmed) return bounded(trimmed);
  return bounded(`${trimmed}\n${subject}\n${trimmed}`);
}

const bounded = (query: string): string => query.slice(0, MAX_QUERY).toWellFormed();
