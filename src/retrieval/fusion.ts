/**
 * Joins what words found and what vectors found. The default is a convex combination of normalised scores: measured, it
 * gains a little where reciprocal ranks lose (`design/measurements.md`). Text scores are divided by their best (their
 * floor is 0). Vector scores are stretched between the list's worst and best, because cosines of a real model crowd
 * together far above 0; in a short list the worst says little, so the floor is 0 there too.
 */
export interface ScoredHit {
  readonly id: string;
  /** Higher is better; negative counts as 0. */
  readonly score: number;
}

export interface FuseOptions {
  /** Share of the vector score, 0…1. */
  vectorWeight: number;
  method?: 'convex' | 'rrf';
}

export interface FusedHit {
  readonly id: string;
  /** In [0, 1]. */
  readonly score: number;
  /** Normalised score within each list, `null` where the list does not have the hit. */
  readonly text: number | null;
  readonly vector: number | null;
}

/** Ranks from 1 lose their weight slowly: the constant of Cormack, Clarke and Büttcher (2009). */
const RRF_K = 60;
const SHORT_LIST = 10;

/** Below and above this much of a question's words (`LexicalAnswer.met`) nothing changes. */
const [BARELY_MET, WELL_MET] = [0.2, 0.8];

/**
 * The share of the vector score that fits a question: `weight` where the text search met its words, `wordless` where it met
 * none, in between by how much it met. Questions in other words than their answers, or in another language, are the
 * vectors' to answer: with multilingual-e5-small, descriptions of functions have nDCG@10 0.571 by text, 0.786 by vectors,
 * 0.684 with one weight for all and 0.778 so, while XQuAD loses nothing.
 */
export function vectorShare({ weight, wordless }: { weight: number; wordless: number }, met: number): number {
  const known = Math.min(1, Math.max(0, (met - BARELY_MET) / (WELL_MET - BARELY_MET)));
  return wordless + (weight - wordless) * known;
}

/** The union of both lists, best first; ties by text score, then by vector score, then by id. */
export function fuse(
  textHits: readonly ScoredHit[],
  vectorHits: readonly ScoredHit[],
  { vectorWeight, method = 'convex' }: FuseOptions,
): FusedHit[] {
  const share = Math.min(1, Math.max(0, vectorWeight));
  const text = normalise(textHits, () => 0);
  const vector = normalise(vectorHits, (scores) => (scores.length < SHORT_LIST ? 0 : Math.max(0, Math.min(...scores))));
  const textRanks = ranksOf(text);
  const vectorRanks = ranksOf(vector);
  const hits = [...new Set([...text.keys(), ...vector.keys()])].map((id): FusedHit => {
    const textScore = text.get(id) ?? null;
    const vectorScore = vector.get(id) ?? null;
    const score =
      method === 'rrf'
        ? (1 - share) * reciprocal(textRanks.get(id)) + share * reciprocal(vectorRanks.get(id))
        : (1 - share) * (textScore ?? 0) + share * (vectorScore ?? 0);
    return { id, score, text: textScore, vector: vectorScore };
  });
  return hits.sort(
    (a, b) =>
      b.score - a.score ||
      (b.text ?? -1) - (a.text ?? -1) ||
      (b.vector ?? -1) - (a.vector ?? -1) ||
      (a.id < b.id ? -1 : 1),
  );
}

/** Scores in [0, 1], each id once with its best. */
function normalise(hits: readonly ScoredHit[], floorOf: (scores: number[]) => number): Map<string, number> {
  const best = new Map<string, number>();
  for (const { id, score } of hits) best.set(id, Math.max(best.get(id) ?? 0, Number.isFinite(score) ? score : 0));
  const scores = [...best.values()];
  const top = Math.max(0, ...scores);
  const floor = floorOf(scores);
  const range = top - floor;
  return new Map([...best].map(([id, score]) => [id, range > 0 ? (score - floor) / range : top > 0 ? 1 : 0]));
}

function ranksOf(scores: Map<string, number>): Map<string, number> {
  const ordered = [...scores].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  return new Map(ordered.map(([id], index) => [id, index + 1]));
}

const reciprocal = (rank: number | undefined): number => (rank === undefined ? 0 : (RRF_K + 1) / (RRF_K + rank));
