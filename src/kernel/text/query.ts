/** What a question asks the index for: terms with the weight that each has in the score. */
import { meansAlone } from './lexemes.ts';
import { isStopWord } from './stop-words.ts';
import { segmentRun, visitWords } from './words.ts';

export interface QueryTerm {
  readonly term: string;
  readonly weight: number;
}

export interface QueryWeights {
  /** A word inside an identifier, beside the identifier itself. */
  part: number;
  /** Two neighbouring characters that are not a word, or inside a longer one. */
  pair: number;
  /** A single character inside a longer word. */
  char: number;
}

/** Fitted on XQuAD's Chinese and English questions (`test/unit/retrieval/xquad.test.ts` prints what they give). */
const QUERY_WEIGHTS: Readonly<QueryWeights> = { part: 0.5, pair: 0.3, char: 0.3 };

/**
 * Weighted terms of a question, in order of first appearance. Function words are left out unless there is nothing else.
 * A term that is repeated counts by the square root of its number.
 */
export function queryLexemes(text: string, weights: QueryWeights = QUERY_WEIGHTS): QueryTerm[] {
  const meant = collect(text, weights, false);
  return meant.length > 0 ? meant : collect(text, weights, true);
}

interface Found {
  weight: number;
  /** Where in the question; the segmenter's word and the same pair of characters are one occurrence. */
  at: Set<number>;
}

function collect(text: string, weights: QueryWeights, keepStopWords: boolean): QueryTerm[] {
  const found = new Map<string, Found>();
  const add = (term: string, weight: number, at: number) => {
    const known = found.get(term);
    if (!known) found.set(term, { weight, at: new Set([at]) });
    else {
      known.at.add(at);
      known.weight = Math.max(known.weight, weight);
    }
  };
  let position = 0;
  visitWords(text, {
    word({ term, stop, parts }) {
      position += 1;
      if (!term || (stop && !keepStopWords)) return;
      add(term, 1, position);
      for (const part of parts) add(part, weights.part, position);
    },
    run(run) {
      const units = Array.from(run);
      const start = position + 1;
      const silent = new Array<boolean>(units.length).fill(false);
      let at = 0;
      for (const word of segmentRun(run)) {
        const size = Array.from(word).length;
        if (isStopWord(word) && !keepStopWords) silent.fill(true, at, at + size);
        else add(word, 1, start + at);
        at += size;
      }
      for (const [index, unit] of units.entries()) {
        const next = units[index + 1];
        const silentPair = silent[index] && (next === undefined || silent[index + 1]);
        if (next !== undefined && !silentPair) add(unit + next, weights.pair, start + index);
        if (!silent[index] && (keepStopWords || meansAlone(unit))) add(unit, weights.char, start + index);
      }
      position += units.length;
    },
  });
  return [...found].map(([term, { weight, at }]) => ({ term, weight: weight * Math.sqrt(at.size) }));
}
