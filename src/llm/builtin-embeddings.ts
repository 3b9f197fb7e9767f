/**
 * Embeddings with no model and no download: feature hashing (Weinberger et al. 2009). A text's features are its words,
 * pairs of neighbouring words and four characters at a time inside words; for scripts without spaces characters and
 * pairs of them. Each feature is hashed to a dimension and a sign, weighted by its kind and by the logarithm of its count, and the
 * sum is brought to unit length. Texts that share words or parts of words point the same way.
 *
 * The vectors are stored, so the same text must give the same vector in every later release: whatever changes them needs
 * another model name. For that reason the segmenter, whose dictionary comes with the runtime, is not used here.
 */
import type { EmbeddingProvider } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import { analyse, type LexemeKind } from '../kernel/text/lexemes.ts';
import { isStopWord } from '../kernel/text/stop-words.ts';
import { estimateTokens } from '../kernel/text/tokens.ts';
import { breathe } from '../kernel/turns.ts';

export interface BuiltinEmbeddingOptions {
  /** 64…4000; more tell more texts apart. */
  dimensions?: number;
}

/** Weight of each kind of feature; fitted by random search on XQuAD and the chunking questions, then rounded. */
const KIND_WEIGHT: Readonly<Record<LexemeKind, number>> = { word: 1, part: 0.5, pair: 0.4, char: 0.65 };
const STOP_WEIGHT = 0.02;
const WORD_PAIR_WEIGHT = 0.09;
const GRAM_WEIGHT = 0.4;
const GRAM = 4;
/** A word that is repeated e times counts 1.5 times. */
const REPEAT_WEIGHT = 0.5;
/** Texts between two breaths: some milliseconds. */
const A_BREATH = 8;

/**
 * Hashing brings no meaning that the words do not have, so beside a good word index it decides between equals and adds what
 * no word finds: misspelt and inflected words. More weight costs rank: on all 2,380 questions of XQuAD hybrid is above text
 * up to 0.002 and below it in Chinese from 0.003 on; on 5,000 descriptions it is below text at 0.002; over 17 sets nothing is
 * gained up to 0.05, and 0.004 lost at 0.15.
 */
const BUILTIN_VECTOR_WEIGHT = 0.0005;

export function createBuiltinEmbeddings({ dimensions = 1024 }: BuiltinEmbeddingOptions = {}): EmbeddingProvider {
  if (!Number.isInteger(dimensions) || dimensions < 64 || dimensions > 4000) {
    throw new AppError('internal', `The built-in embeddings have 64 to 4000 dimensions, not ${dimensions}.`);
  }
  return {
    provider: 'builtin',
    model: 'dreamhub-hash-v1',
    dimensions,
    maxBatch: 256,
    vectorWeight: BUILTIN_VECTOR_WEIGHT,
    async embed(texts, { signal }) {
      const vectors: Float32Array[] = [];
      let tokens = 0;
      for (const [index, text] of texts.entries()) {
        if (index > 0 && index % A_BREATH === 0) await breathe();
        signal?.throwIfAborted();
        vectors.push(hashEmbedding(text, dimensions));
        tokens += estimateTokens(text);
      }
      return { vectors, tokens, counted: true };
    },
  };
}

/** The unit vector of one text. A text without any word gets the vector of the empty feature: equal to its like only. */
export function hashEmbedding(text: string, dimensions: number): Float32Array {
  const features = countFeatures(text);
  const vector = new Float32Array(dimensions);
  for (const { hash, weight, count } of features.values()) {
    const sign = hash & 1 ? 1 : -1;
    const at = (hash >>> 1) % dimensions;
    vector[at] = (vector[at] ?? 0) + sign * weight * (1 + REPEAT_WEIGHT * Math.log(count));
  }
  let norm = 0;
  for (const value of vector) norm += value * value;
  if (norm === 0) {
    vector[mix(SEED) % dimensions] = 1;
    return vector;
  }
  const scale = 1 / Math.sqrt(norm);
  for (const [index, value] of vector.entries()) vector[index] = value * scale;
  return vector;
}

interface Feature {
  readonly hash: number;
  readonly weight: number;
  count: number;
}

function countFeatures(text: string): Map<number, Feature> {
  const features = new Map<number, Feature>();
  const add = (rawHash: number, weight: number) => {
    const known = features.get(rawHash);
    if (known) known.count += 1;
    else features.set(rawHash, { hash: mix(rawHash), weight, count: 1 });
  };
  let previous: string | undefined;
  for (const { term, kind } of analyse(text, { segment: false }).lexemes) {
    const stop = kind === 'word' && isStopWord(term);
    add(hashOf(term, 0, term.length, WHOLE), stop ? STOP_WEIGHT : KIND_WEIGHT[kind]);
    if (kind === 'part') continue;
    if (kind !== 'word') {
      previous = undefined;
      continue;
    }
    if (previous !== undefined)
      add(hashOf(term, 0, term.length, hashOf(previous, 0, previous.length, PAIR)), WORD_PAIR_WEIGHT);
    previous = term;
    if (stop || term.length <= GRAM) continue;
    for (let at = 0; at + GRAM <= term.length; at += 1) add(hashOf(term, at, at + GRAM, INSIDE), GRAM_WEIGHT);
  }
  return features;
}

const SEED = 0x811c9dc5;
/** Salts that tell kinds of features apart; a word inside an identifier is meant to equal the word. */
const WHOLE = 0;
const PAIR = 2;
const INSIDE = 3;

/** FNV-1a over UTF-16 units, `salt` telling kinds of features apart. */
function hashOf(text: string, from: number, to: number, salt: number): number {
  let hash = (SEED ^ salt) >>> 0;
  for (let index = from; index < to; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

/** Finaliser of MurmurHash3: FNV's low bits alone are too regular to choose a dimension by. */
function mix(hash: number): number {
  let mixed = hash;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
