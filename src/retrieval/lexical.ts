/**
 * Ranking by words: BM25 (Robertson and Zaragoza 2009) with Lucene's never-negative inverse document frequency, over terms
 * that the question weights. Pure mathematics over parts of a corpus, each with its own postings: the repository reads,
 * this scores. A chunk's score is joined by its whole document's and, in talk, its neighbours' (`lexical-evidence.ts`).
 *
 * k1 1.2 and b 0.75: on ten sets (XQuAD in two languages, questions on four corpora, package and manual descriptions)
 * 0.9/0.4 was 0.003 lower in the mean of nDCG@10.
 */
const BM25 = { k1: 1.2, b: 0.75 } as const;

export interface WeightedTerm {
  readonly term: string;
  readonly weight: number;
}

/** Which chunks of a part hold a term: each number times 256 plus how often (at most 255), ascending. */
export type Postings = Int32Array;

/** Some of a corpus' chunks, numbered from 0; chunks of one document follow each other in their order. */
export interface LexicalPart {
  readonly size: number;
  /** Length of each chunk in words. */
  readonly lengths: Float32Array;
  /** Number of each chunk's document in this part. */
  readonly documents: Int32Array;
}

export interface ReadPart {
  readonly part: LexicalPart;
  readonly postings: ReadonlyMap<string, Postings>;
}

export interface CorpusStatistics {
  readonly chunks: number;
  readonly documents: number;
  /** Sum of the chunks' lengths. */
  readonly length: number;
  /** In how many chunks each term occurs. */
  readonly df: ReadonlyMap<string, number>;
}

export interface Candidate {
  /** Index among the parts, and number in it. */
  readonly part: number;
  readonly number: number;
  /** BM25, positive and unbounded. */
  readonly score: number;
}

/** How much a term tells: ln(1 + (N - df + 0.5) / (df + 0.5)), above 0 even where every chunk has it. */
export function inverseDocumentFrequency(df: number, documents: number): number {
  const seen = Math.min(df, documents);
  return Math.log(1 + (documents - seen + 0.5) / (seen + 0.5));
}

/** Part of the score that `tf` occurrences of one term earn; in [0, k1 + 1). */
export function termSaturation(tf: number, length: number, averageLength: number): number {
  if (tf <= 0) return 0;
  return (tf * (BM25.k1 + 1)) / (tf + dampingOf(length, averageLength));
}

function dampingOf(length: number, averageLength: number): number {
  const relative = averageLength > 0 ? length / averageLength : 1;
  return BM25.k1 * (1 - BM25.b + BM25.b * relative);
}

const NO_POSTINGS: Postings = new Int32Array();

export interface Ranking {
  /** Chunks that hold a term at all. */
  readonly found: number;
  /** The best `limit`, best first; of equal ones the earlier part and number. */
  best(limit: number): Candidate[];
  /** BM25 of one chunk; 0 for one that holds no term. */
  scoreOf(part: number, number: number): number;
  /** BM25 of the whole documents that these chunks are of, in the order of the candidates. */
  documentScores(candidates: readonly Pick<Candidate, 'part' | 'number'>[]): number[];
}

/** Scores every chunk of the parts that holds one of the terms. */
export function rankChunks(
  terms: readonly WeightedTerm[],
  parts: readonly ReadPart[],
  corpus: CorpusStatistics,
): Ranking {
  const average = corpus.chunks > 0 ? corpus.length / corpus.chunks : 0;
  const weights = terms.map(
    ({ term, weight }) => weight * inverseDocumentFrequency(corpus.df.get(term) ?? 0, corpus.chunks),
  );
  let found = 0;
  const scores = parts.map(({ part, postings }) => {
    // Once a chunk instead of once a posting: what of `termSaturation` does not depend on the term.
    const damping = part.lengths.map((length) => dampingOf(length, average));
    const sums = new Float32Array(part.size);
    for (const [index, { term }] of terms.entries()) {
      const weight = (weights[index] ?? 0) * (BM25.k1 + 1);
      const list = postings.get(term);
      if (!list || weight <= 0) continue;
      for (let at = 0; at < list.length; at += 1) {
        const posting = list[at] ?? 0;
        const number = posting >>> 8;
        const tf = posting & 0xff;
        const before = sums[number] ?? 0;
        if (before === 0) found += 1;
        sums[number] = before + (weight * tf) / (tf + (damping[number] ?? 1));
      }
    }
    return sums;
  });
  return {
    found,
    best: (limit) => bestOf(scores, limit),
    scoreOf: (part, number) => scores[part]?.[number] ?? 0,
    documentScores: (candidates) => documentScores(candidates, { terms, weights, parts, corpus }),
  };
}

/** A bounded heap with the worst on top: sorting all of a large tenant's matches would take longer than scoring them. */
function bestOf(scores: readonly Float32Array[], limit: number): Candidate[] {
  const heap: Candidate[] = [];
  const isWorse = (a: Candidate, b: Candidate): boolean =>
    a.score !== b.score ? a.score < b.score : a.part !== b.part ? a.part > b.part : a.number > b.number;
  const swap = (a: number, b: number) => {
    const kept = heap[a] as Candidate;
    heap[a] = heap[b] as Candidate;
    heap[b] = kept;
  };
  const worseAt = (a: number, b: number) => isWorse(heap[a] as Candidate, heap[b] as Candidate);
  const sink = () => {
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let worst = at;
      if (left < heap.length && worseAt(left, worst)) worst = left;
      if (right < heap.length && worseAt(right, worst)) worst = right;
      if (worst === at) return;
      swap(at, worst);
      at = worst;
    }
  };
  for (const [part, sums] of scores.entries()) {
    for (let number = 0; number < sums.length; number += 1) {
      const score = sums[number] ?? 0;
      if (score <= 0 || (heap.length >= limit && score <= (heap[0]?.score ?? 0))) continue;
      const candidate = { part, number, score };
      if (heap.length < limit) {
        heap.push(candidate);
        for (let at = heap.length - 1; at > 0; ) {
          const parent = (at - 1) >> 1;
          if (!worseAt(at, parent)) break;
          swap(at, parent);
          at = parent;
        }
      } else {
        heap[0] = candidate;
        sink();
      }
    }
  }
  return heap.sort((a, b) => (isWorse(a, b) ? 1 : -1));
}

function documentScores(
  candidates: readonly Pick<Candidate, 'part' | 'number'>[],
  {
    terms,
    weights,
    parts,
    corpus,
  }: {
    terms: readonly WeightedTerm[];
    weights: readonly number[];
    parts: readonly ReadPart[];
    corpus: CorpusStatistics;
  },
): number[] {
  const average = corpus.documents > 0 ? corpus.length / corpus.documents : 0;
  const found = candidates.map(() => 0);
  for (const [index, { part, postings }] of parts.entries()) {
    const places = candidates.flatMap(({ part: of, number }, at) => (of === index ? [{ at, number }] : []));
    if (places.length === 0) continue;
    // Documents are numbered in the order of their chunks, so the last one's number says how many there are.
    const documents = 1 + (part.documents[part.size - 1] ?? 0);
    const wanted = new Uint8Array(documents);
    for (const { number } of places) wanted[part.documents[number] ?? 0] = 1;
    const lengths = new Float64Array(documents);
    for (let number = 0; number < part.size; number += 1) {
      const document = part.documents[number] ?? 0;
      lengths[document] = (lengths[document] ?? 0) + (part.lengths[number] ?? 0);
    }
    const sums = new Float64Array(documents);
    for (const [at, { term }] of terms.entries()) {
      const list = postings.get(term) ?? NO_POSTINGS;
      let open = -1;
      let tf = 0;
      const close = () => {
        if (open < 0 || tf === 0) return;
        sums[open] = (sums[open] ?? 0) + (weights[at] ?? 0) * termSaturation(tf, lengths[open] ?? 0, average);
      };
      for (let next = 0; next < list.length; next += 1) {
        const posting = list[next] ?? 0;
        const document = part.documents[posting >>> 8] ?? 0;
        if (wanted[document] === 0) continue;
        if (document !== open) {
          close();
          open = document;
          tf = 0;
        }
        tf += posting & 0xff;
      }
      close();
    }
    for (const { at, number } of places) found[at] = sums[part.documents[number] ?? 0] ?? 0;
  }
  return found;
}
