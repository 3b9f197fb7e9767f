/**
 * Vectors for whoever asks for them: texts through the embedder of the active space, as searches and documents go; within the
 * tenant's budget, and recorded as what they cost.
 */
import type { Database } from '../db/database.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Budgets } from './budgets.ts';
import type { Spaces } from './spaces.ts';
import type { UsageMeter } from './usage-meter.ts';

export interface EmbeddedTexts {
  model: string;
  /** Of unit length, in the order of the texts. */
  vectors: Float32Array[];
  /** Tokens billed. */
  tokens: number;
}

export interface Embedding {
  /**
   * `dimensions`: fewer than the model has keep the first ones, brought to unit length again; more are refused with
   * `invalid_request`. Rejects with `quota_exceeded` where the tenant's budget is used up, and with `provider_unavailable` where no vector can be had now.
   */
  embed(
    texts: readonly string[],
    options: { dimensions?: number | undefined; signal: AbortSignal },
  ): Promise<EmbeddedTexts>;
}

/** The first numbers of a vector, of unit length. */
function shortened(vector: Float32Array, dimensions: number): Float32Array {
  if (dimensions === vector.length) return vector;
  const first = vector.slice(0, dimensions);
  const length = Math.hypot(...first);
  return length === 0 ? first : first.map((value) => value / length);
}

export interface EmbeddingOptions {
  database: Pick<Database, 'tenant'>;
  spaces: Pick<Spaces, 'current'>;
  budgets: Pick<Budgets, 'assertLeft'>;
  meter: Pick<UsageMeter, 'embedded'>;
  ids: Ids;
}

export function createEmbedding({ database, spaces, budgets, meter, ids }: EmbeddingOptions): Embedding {
  return {
    async embed(texts, { dimensions, signal }) {
      const { embeddings } = await spaces.current();
      const wanted = dimensions ?? embeddings.dimensions;
      if (wanted > embeddings.dimensions) {
        const message = `${embeddings.model} has ${embeddings.dimensions} dimensions`;
        throw new AppError('invalid_request', 'So many dimensions cannot be had.', {
          errors: [{ path: 'dimensions', message }],
        });
      }
      const vectors: Float32Array[] = [];
      let tokens = 0;
      const sourceId = ids.uuid();
      for (let at = 0; at < texts.length; at += embeddings.maxBatch) {
        const batch = texts.slice(at, at + embeddings.maxBatch);
        await budgets.assertLeft();
        const bought = await embeddings.embed(batch, { purpose: 'document', signal });
        vectors.push(...bought.vectors.map((vector) => shortened(vector, wanted)));
        tokens += bought.tokens;
        const usage = { model: embeddings.model, tokens: bought.tokens, counted: bought.counted ?? false };
        await database.tenant((sql) => meter.embedded(sql, [{ ...usage, sourceId, attempt: 1, part: at }]));
      }
      return { model: embeddings.model, vectors, tokens };
    },
  };
}
