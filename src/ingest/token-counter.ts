/** Counting tokens to cut by: the model's own vocabulary where it is known, else an estimate. */
import { tokenCost, unitCost } from '../kernel/text/tokens.ts';

/** Costs are in hundredths of a token. */
export interface TokenCounter {
  /** Tells apart what counts differently. */
  readonly name: string;
  /** Of a stretch of a text. The sum over the parts of a text is close to the cost of the whole, and seldom less. */
  cost(text: string, start: number, end: number): number;
  /** The furthest place from `start` on, at most `end`, up to which `maxCost` suffices, and what it costs up to there. */
  reach(text: string, start: number, end: number, maxCost: number): { at: number; cost: number };
  /** Tokens of a whole text; absent where they are the sum over its parts. */
  count?(text: string): number;
}

export const estimatingCounter: TokenCounter = {
  name: 'estimate',
  cost: tokenCost,
  reach(text, start, end, maxCost) {
    let cost = 0;
    for (let at = start; at < end; at++) {
      const next = unitCost(text.charCodeAt(at));
      if (cost + next > maxCost) return { at, cost };
      cost += next;
    }
    return { at: end, cost };
  },
};

/** OpenAI's embedding models since 2022 read `cl100k_base`; of others nothing is known. */
const CL100K = /^text-embedding-(?:3-(?:small|large)|ada-002)$/;

/**
 * The counter of an embedding model, for `createChunker`. The vocabulary is loaded when a first text is cut (0.2 s,
 * 45 MB), so whoever cuts none and whoever uses another model pays nothing.
 */
export function countingAs(model: string): { counterName: string; counter: () => Promise<TokenCounter> } {
  if (!CL100K.test(model)) {
    return { counterName: estimatingCounter.name, counter: () => Promise.resolve(estimatingCounter) };
  }
  let loading: Promise<TokenCounter> | undefined;
  return {
    counterName: 'cl100k',
    counter() {
      loading ??= import('./cl100k-counter.ts').then(({ createCl100kCounter }) => createCl100kCounter());
      return loading;
    },
  };
}
