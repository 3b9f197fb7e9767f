/**
 * Measures of a ranking against graded judgements, as trec_eval defines them: nDCG with the grade itself as gain and
 * log2(rank + 1) as discount, recall over all relevant documents, the first relevant one's reciprocal rank.
 */

export interface Measures {
  /** All in [0, 1]. */
  readonly ndcg10: number;
  readonly recall100: number;
  readonly mrr10: number;
  readonly hit1: number;
}

export const MEASURES = ['ndcg10', 'recall100', 'mrr10', 'hit1'] as const satisfies readonly (keyof Measures)[];

/** Grade of each relevant document, above 0. */
export type Judgements = ReadonlyMap<string, number>;

/** One question's measures. `ranking` holds document ids, best first, each once. */
export function measure(ranking: readonly string[], relevant: Judgements): Measures {
  const first = ranking.findIndex((id) => relevant.has(id));
  const found = ranking.slice(0, 100).filter((id) => relevant.has(id)).length;
  const ideal = [...relevant.values()].sort((a, b) => b - a);
  const best = discounted(ideal);
  return {
    ndcg10: best > 0 ? discounted(ranking.map((id) => relevant.get(id) ?? 0)) / best : 0,
    recall100: relevant.size > 0 ? found / relevant.size : 0,
    mrr10: first >= 0 && first < 10 ? 1 / (first + 1) : 0,
    hit1: first === 0 ? 1 : 0,
  };
}

function discounted(gains: readonly number[]): number {
  return gains.slice(0, 10).reduce((sum, gain, index) => sum + gain / Math.log2(index + 2), 0);
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Means over the questions. */
export function summarise(all: readonly Measures[]): Measures {
  const over = (name: keyof Measures) => mean(all.map((one) => one[name]));
  return { ndcg10: over('ndcg10'), recall100: over('recall100'), mrr10: over('mrr10'), hit1: over('hit1') };
}

const RESAMPLES = 1_000;

/**
 * 95 % confidence interval of a mean by the percentile bootstrap (Efron 1979) over questions. The draws are seeded, so the
 * same measurements give the same interval.
 */
export function interval(values: readonly number[]): { low: number; high: number } {
  const random = mulberry32(values.length);
  const means = Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    for (let draw = 0; draw < values.length; draw += 1) sum += values[Math.floor(random() * values.length)] ?? 0;
    return values.length === 0 ? 0 : sum / values.length;
  }).sort((a, b) => a - b);
  return { low: means[Math.floor(RESAMPLES * 0.025)] ?? 0, high: means[Math.ceil(RESAMPLES * 0.975) - 1] ?? 0 };
}

/** A small generator of uniform numbers in [0, 1) with 32 bits of state (Tommy Ettinger's Mulberry32). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
