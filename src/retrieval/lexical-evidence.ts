/**
 * A second look at the best hits of a text search, with what a sum over single words cannot see. The result is in [0, 1].
 *
 * - the whole document's score, and in talk the neighbouring chunks': shares by kind of content (`content-kind.ts`)
 * - pairs: words that follow each other in the question do so in the chunk
 * - closeness: they stand near each other, the nearer the better
 * - grams: four characters at a time inside words, for inflected, compound and misspelt words that no stem joins
 *
 * Pairs and closeness are sums of inverse document frequencies as BM25 is one, so they are weighted on its scale: divided
 * by their own best, a long question's single pair would count as much as ten of its words. Grams know frequencies of the
 * candidates alone and have no common scale; they are divided by their best.
 *
 * Fitted on 17 sets (mean nDCG@10 of one half of each one's questions, of the other in brackets; both were looked at):
 * words alone 0.643 (0.644), with the document 0.646 (0.648), with pairs and closeness 0.649 (0.652), with grams 0.651
 * (0.655).
 */
import type { ContentKind } from './content-kind.ts';
import type { ForwardIndex } from './forward-index.ts';
import { inverseDocumentFrequency, termSaturation, type WeightedTerm } from './lexical.ts';

/** So many of the best candidates are looked at. */
export const LOOKED_AT = 100;

/**
 * Shares of the document's score, and of the better neighbour's beside the chunk's own. A single turn says little without
 * the turns around it; a chunk of many turns has most of them. Neighbours of prose and code cost rank where chunks are few.
 */
const CONTEXT: Readonly<Record<ContentKind, { document: number; neighbour: number }>> = {
  prose: { document: 0.4, neighbour: 0 },
  turn: { document: 0.5, neighbour: 0.3 },
  talk: { document: 0.3, neighbour: 0.3 },
  code: { document: 0.4, neighbour: 0 },
};
const PAIR_WEIGHT = 0.1;
const CLOSENESS_WEIGHT = 0.3;
const GRAM_WEIGHT = 0.1;
/** Words that follow each other with one more between them at most still make a pair. */
const PAIR_DISTANCE = 2;
/** Words further apart than this have nothing to do with each other. */
const FARTHEST = 10;
const GRAM = 4;

export interface Looked {
  readonly id: string;
  /** BM25 of the chunk, of its document and of the better of its neighbours. */
  readonly score: number;
  readonly documentScore: number;
  readonly neighbourScore: number;
  readonly kind: ContentKind;
  /** `null`: not worth looking at; it keeps its place relative to what earned nothing more. */
  readonly index: ForwardIndex | null;
}

/** Candidates with scores in [0, 1], best first, ties by id. `idf` says how much a term tells. */
export function weighEvidence(
  terms: readonly WeightedTerm[],
  candidates: readonly Looked[],
  idf: (term: string) => number,
): { id: string; score: number }[] {
  const best = Math.max(...candidates.map(({ score }) => score), Number.MIN_VALUE);
  const bestDocument = Math.max(...candidates.map(({ documentScore }) => documentScore), Number.MIN_VALUE);
  const base = candidates.map(({ score, documentScore, neighbourScore, kind }) => {
    const { document, neighbour } = CONTEXT[kind];
    const own = (score + neighbour * neighbourScore) / (best * (1 + neighbour));
    return (1 - document) * own + (document * documentScore) / bestDocument;
  });
  const pairs = neighbours(terms);
  const grams = gramsOf(terms);
  const indexes = candidates.map(({ index }) => index);
  const paired = indexes.map((index) => (index ? pairScore(index, pairs, idf) : 0));
  const close = indexes.map((index) => (index ? closeness(index, pairs, idf) : 0));
  const inside = gramScores(indexes, grams);
  const top = Math.max(...base, Number.MIN_VALUE);
  const bestInside = Math.max(...inside, Number.MIN_VALUE);
  const scores = base.map(
    (share, at) =>
      share / top +
      (PAIR_WEIGHT * (paired[at] ?? 0) + CLOSENESS_WEIGHT * (close[at] ?? 0)) / best +
      (GRAM_WEIGHT * (inside[at] ?? 0)) / bestInside,
  );
  const most = Math.max(...scores, Number.MIN_VALUE);
  return candidates
    .map(({ id }, at) => ({ id, score: (scores[at] ?? 0) / most }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
}

function neighbours(terms: readonly WeightedTerm[]): [string, string][] {
  const words = terms.filter(({ weight }) => weight >= 1).map(({ term }) => term);
  return words.slice(1).map((term, index) => [words[index] ?? term, term]);
}

const lesser = (pair: readonly [string, string], idf: (term: string) => number): number =>
  Math.min(idf(pair[0]), idf(pair[1]));

function pairScore(index: ForwardIndex, pairs: readonly [string, string][], idf: (term: string) => number): number {
  let sum = 0;
  for (const pair of pairs) {
    const [left, right] = [index.get(pair[0]), index.get(pair[1])];
    if (!left || !right) continue;
    const tf = left.filter((at) => right.some((other) => other > at && other - at <= PAIR_DISTANCE)).length;
    if (tf > 0) sum += lesser(pair, idf) * termSaturation(tf, 1, 1);
  }
  return sum;
}

function closeness(index: ForwardIndex, pairs: readonly [string, string][], idf: (term: string) => number): number {
  let sum = 0;
  for (const pair of pairs) {
    const distance = nearest(index.get(pair[0]) ?? [], index.get(pair[1]) ?? []);
    if (distance <= FARTHEST) sum += lesser(pair, idf) / distance;
  }
  return sum;
}

/** The least distance above 0 between two ascending lists of positions. */
function nearest(left: readonly number[], right: readonly number[]): number {
  let best = Number.POSITIVE_INFINITY;
  let at = 0;
  for (const position of left) {
    while (at < right.length && (right[at] ?? 0) < position) at += 1;
    for (const other of [right[at - 1], right[at], right[at + 1]]) {
      if (other !== undefined && other !== position) best = Math.min(best, Math.abs(other - position));
    }
  }
  return best;
}

const isGrammable = (term: string): boolean => term.length > GRAM && /^\p{Script=Latin}+$/u.test(term);

function* insideOf(term: string): Generator<string> {
  for (let at = 0; at + GRAM <= term.length; at += 1) yield term.slice(at, at + GRAM);
}

/** The question's grams, with the weight of their words. */
function gramsOf(terms: readonly WeightedTerm[]): Map<string, number> {
  const grams = new Map<string, number>();
  for (const { term, weight } of terms) {
    if (!isGrammable(term)) continue;
    for (const gram of insideOf(term)) grams.set(gram, (grams.get(gram) ?? 0) + weight);
  }
  return grams;
}

/** BM25 over grams; their frequencies are those among the candidates, which is all that is compared. */
function gramScores(indexes: readonly (ForwardIndex | null)[], wanted: ReadonlyMap<string, number>): number[] {
  if (wanted.size === 0) return indexes.map(() => 0);
  const counted = indexes.map((index) => (index ? countGrams(index, wanted) : undefined));
  const looked = counted.filter((one) => one !== undefined);
  const average = looked.reduce((sum, { length }) => sum + length, 0) / Math.max(1, looked.length);
  const worth = new Map<string, number>();
  for (const [gram, weight] of wanted) {
    const df = looked.filter(({ counts }) => counts.has(gram)).length;
    worth.set(gram, Math.sqrt(weight) * inverseDocumentFrequency(df, looked.length));
  }
  return counted.map((one) => {
    let sum = 0;
    for (const [gram, tf] of one?.counts ?? [])
      sum += (worth.get(gram) ?? 0) * termSaturation(tf, one?.length ?? 0, average);
    return sum;
  });
}

function countGrams(index: ForwardIndex, wanted: ReadonlyMap<string, number>) {
  const counts = new Map<string, number>();
  let length = 0;
  for (const [term, positions] of index) {
    if (!isGrammable(term)) continue;
    length += (term.length - GRAM + 1) * positions.length;
    for (const gram of insideOf(term)) {
      if (wanted.has(gram)) counts.set(gram, (counts.get(gram) ?? 0) + positions.length);
    }
  }
  return { counts, length };
}
