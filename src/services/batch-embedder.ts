/** From chunks to rows: what is embedded and indexed of each, its vector bought once for each text of a tenant. */
import type { Chunk, EmbeddingProvider } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Space } from '../db/spaces.ts';
import { AppError } from '../kernel/errors.ts';
import { encodeHalfvec } from '../kernel/halfvec.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { toTextIndex } from '../kernel/text/tsvector.ts';
import { type IndexedChunk, knownEmbeddings } from '../repositories/chunks-write.ts';
import type { Bought } from './usage-meter.ts';

export interface TextVectorsOptions {
  database: Pick<Database, 'tenant'>;
  metrics: Pick<Metrics, 'embeddingSeconds'>;
}

/** What is bought from, and where the vectors belong. */
export interface Buyer extends Pick<Space, 'id'> {
  readonly embeddings: EmbeddingProvider;
  /** Other spaces of the same model: a vector that one of them has is not bought again. */
  readonly siblings?: readonly number[];
}

export interface EmbeddedText {
  text: string;
  hash: Uint8Array;
  /** The hash as a key. */
  key: string;
}

/** What is embedded and indexed of a chunk: its place among the headings, then its text. */
export function embeddedText({ headings, text: own }: Pick<Chunk, 'headings' | 'text'>): EmbeddedText {
  const text = headings.length > 0 ? `${headings.join(' › ')}\n${own}` : own;
  const hash = new Bun.CryptoHasher('sha256').update(text).digest();
  return { text, hash, key: hash.toString('hex') };
}

/** Reads which of the keys have vectors in a space, in a transaction. */
type Lookup = (spaceId: number, keys: readonly string[]) => Promise<Map<string, Uint8Array>>;

/**
 * The vectors of texts in a space, by key, as `encodeHalfvec` gives them. Bought only where the tenant has not bought the
 * same text before; `lookup` is how that is found out for the space itself, and `onBought` hears of what was. Rejects with `provider_unavailable` and
 * whatever else the provider rejects with; then nothing was bought.
 */
export function createTextVectors({ database, metrics }: TextVectorsOptions) {
  return async (
    { id, embeddings, siblings = [] }: Buyer,
    texts: readonly EmbeddedText[],
    signal: AbortSignal,
    lookup: Lookup = (spaceId, keys) => database.tenant((sql) => knownEmbeddings(sql, spaceId, keys)),
    onBought?: (bought: Bought) => void,
  ): Promise<Map<string, Uint8Array>> => {
    const byKey = new Map(texts.map(({ key, text }) => [key, text]));
    const vectors = await lookup(id, [...byKey.keys()]);
    for (const sibling of siblings) {
      const unknown = [...byKey.keys()].filter((key) => !vectors.has(key));
      if (unknown.length === 0) break;
      for (const [key, vector] of await database.tenant((sql) => knownEmbeddings(sql, sibling, unknown))) {
        vectors.set(key, vector);
      }
    }
    const wanted = [...byKey].filter(([key]) => !vectors.has(key));
    if (wanted.length === 0) return vectors;
    const stop = metrics.embeddingSeconds.startTimer();
    const bought = await embeddings.embed(
      wanted.map(([, text]) => text),
      { purpose: 'document', signal },
    );
    stop();
    onBought?.({ model: embeddings.model, tokens: bought.tokens, counted: bought.counted ?? false });
    for (const [index, [key]] of wanted.entries()) {
      const vector = bought.vectors[index];
      if (!vector) throw new AppError('provider_unavailable', 'The embedding provider answered with too few vectors.');
      vectors.set(key, encodeHalfvec(vector));
    }
    return vectors;
  };
}

/** Rejects as `createTextVectors` does. */
export function createBatchEmbedder({ ids, ...options }: TextVectorsOptions & { ids: Ids }) {
  const vectorsOf = createTextVectors(options);
  return async (
    buyer: Buyer,
    chunks: readonly Chunk[],
    signal: AbortSignal,
    lookup?: Lookup,
    onBought?: (bought: Bought) => void,
  ): Promise<IndexedChunk[]> => {
    const texts = chunks.map(embeddedText);
    const vectors = await vectorsOf(buyer, texts, signal, lookup, onBought);
    return chunks.map((chunk, at): IndexedChunk => {
      const { text, hash, key } = texts[at] ?? embeddedText(chunk);
      const embedding = vectors.get(key);
      if (!embedding) throw new Error('a text of the batch has no vector');
      return { ...chunk, id: ids.uuid(), index: toTextIndex(text), contentHash: hash, embedding };
    });
  };
}
