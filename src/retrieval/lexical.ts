/**
 * Ranking by words: BM25 (Robertson and Zaragoza 2009) with Lucene's never-negative inverse document frequency, over terms
 * that the question weights. Pure mathematics: the repository counts, this scores.
 *
 * k1 1.2 and b 0.75 gave MRR@10 0.961 (en) and 0.964 (zh) on XQuAD and 0.784 on five English corpora cut every 800
 * characters; 0.9/0.4 gave 0.964, 0.964 and 0.782, 1.5/0.75 was lower everywhere.
 */
export const BM25 = { k1: 1.2, b: 0.75 } as const;

/** How often one term of the question occurs: `df` in how many chunks of the tenant's corpus. */
export interface TermStatistics {
  readonly weight: number;
  readonly df: number;
}

export interface CorpusStatistics {
  /** Chunks that could have been found. */
  readonly documents: number;
  /** Mean of their lengths (`toTextIndex(…).length`). */
  readonly averageLength: number;
}

export interface LexicalCandidate {
  readonly id: string;
  readonly length: number;
  /** How often each term of the question occurs in it, in the order of the terms. */
  readonly tf: readonly number[];
}

export interface LexicalHit {
  readonly id: string;
  /** BM25 divided by the best hit's: in (0, 1], comparable within one question only. */
  readonly score: number;
  /** BM25 divided by what a text holding every term endlessly often would reach: in (0, 1), comparable across questions. */
  readonly support: number;
}

/** How much a term tells: ln(1 + (N - df + 0.5) / (df + 0.5)), above 0 even where every chunk has it. */
export function inverseDocumentFrequency(df: number, documents: number): number {
  const seen = Math.min(df, documents);
  return Math.log(1 + (documents - seen + 0.5) / (seen + 0.5));
}

/** Part of the score that `tf` occurrences of one term earn; in [0, k1 + 1). */
export function termSaturation(tf: number, length: number, averageLength: number): number {
  if (tf <= 0) return 0;
  const relative = averageLength > 0 ? length / averageLength : 1;
  return (tf * (BM25.k1 + 1)) / (tf + BM25.k1 * (1 - BM25.b + BM25.b * relative));
}

/** Scores candidates and orders them, best first, ties by id; those that hold no term are left out. */
export function rankLexically(
  terms: readonly TermStatistics[],
  candidates: readonly LexicalCandidate[],
  corpus: CorpusStatistics,
): LexicalHit[] {
  const weights = terms.map(({ weight, df }) => weight * inverseDocumentFrequency(df, corpus.documents));
  const ideal = weights.reduce((sum, weight) => sum + weight, 0) * (BM25.k1 + 1);
  const scored: { id: string; raw: number }[] = [];
  for (const { id, length, tf } of candidates) {
    let raw = 0;
    for (const [index, weight] of weights.entries()) {
      raw += weight * termSaturation(tf[index] ?? 0, length, corpus.averageLength);
    }
    if (raw > 0) scored.push({ id, raw });
  }
  scored.sort((a, b) => b.raw - a.raw || (a.id < b.id ? -1 : 1));
  const best = scored[0]?.raw ?? 1;
  return scored.map(({ id, raw }) => ({ id, score: raw / best, support: raw / ideal }));
}
