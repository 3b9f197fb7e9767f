/**
 * Reranking with no model: how much of the question the best two neighbouring sentences of a text hold, each term weighed
 * by how few of the texts have it. It tells a passage that answers from one that has the words all over it; it knows no
 * meaning, so it has little weight.
 *
 * Fitted on 17 sets, as `lexical-evidence.ts` is (nDCG@10): with 0.02 questions about talks and studies gain up to 0.003, no
 * set loses more than 0.005, and the mean stays; with 0.1 talks gain 0.01, and abstracts, functions and sections lose as much.
 */
import type { Reranker } from '../contracts/index.ts';
import { createLru } from '../kernel/lru.ts';
import { analyse } from '../kernel/text/lexemes.ts';
import { queryLexemes } from '../kernel/text/query.ts';
import { sentences } from '../kernel/text/sentences.ts';

const WEIGHT = 0.02;
/** Texts between two turns of the event loop. */
const A_TURN = 8;
/** Terms of sentences that are kept between questions: the same passages are looked at again and again. */
const KEPT_TERMS = 400_000;

export function createBuiltinRerank(): Reranker {
  const known = createLru<string, readonly ReadonlySet<string>[]>(KEPT_TERMS);

  function sentenceTerms(text: string): readonly ReadonlySet<string>[] {
    const before = known.get(text);
    if (before) return before;
    const found = sentences(text).map((sentence) => new Set(analyse(sentence.text).lexemes.map(({ term }) => term)));
    // The text itself counts as its key does: one term for some four characters.
    known.set(
      text,
      found,
      found.reduce((sum, { size }) => sum + size, Math.ceil(text.length / 4)),
    );
    return found;
  }

  return {
    model: 'dreamhub-sentences',
    weight: WEIGHT,
    async rerank(query, texts, signal) {
      const terms = queryLexemes(query);
      const wanted = new Set(terms.map(({ term }) => term));
      const windows: Set<string>[][] = [];
      for (const [index, text] of texts.entries()) {
        if (index % A_TURN === 0) await new Promise(setImmediate);
        signal?.throwIfAborted();
        windows.push(windowsOf(sentenceTerms(text), wanted));
      }
      const worth = new Map(
        terms.map(({ term, weight }): [string, number] => {
          const df = windows.filter((some) => some.some((one) => one.has(term))).length;
          return [term, weight * Math.log(1 + (texts.length - df + 0.5) / (df + 0.5))];
        }),
      );
      const total = [...worth.values()].reduce((sum, value) => sum + value, 0);
      return windows.map((some) => (total > 0 ? Math.max(0, ...some.map((one) => sumOf(one, worth))) / total : 0));
    },
  };
}

/** The wanted terms of each sentence together with the next. */
function windowsOf(terms: readonly ReadonlySet<string>[], wanted: ReadonlySet<string>): Set<string>[] {
  const parts = terms.map((sentence) => wanted.intersection(sentence));
  return parts.map((part, index) => part.union(parts[index + 1] ?? new Set()));
}

function sumOf(terms: ReadonlySet<string>, worth: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const term of terms) sum += worth.get(term) ?? 0;
  return sum;
}
