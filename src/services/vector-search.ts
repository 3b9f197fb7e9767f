/** The vector half of a search: the question's vector in the space that is active now, and the chunks nearest to it. */
import type { SearchFilter } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { type Scored, searchChunks } from '../repositories/vectors.ts';
import type { ResidentQuestion, ResidentVectors } from './resident-vectors.ts';
import type { AskedSpace, OpenSpace, Spaces } from './spaces.ts';
import type { ShadowReads } from './spaces-shadow.ts';
import { toHalfvec } from './vectors.ts';

export interface VectorQuestion {
  query: string;
  limit: number;
  filter: SearchFilter;
  /** By default the active one. */
  space?: AskedSpace;
}

export interface VectorAnswer {
  /** Cosines, in [-1, 1], best first. */
  hits: Scored[];
  /** Share of the vector score that fits the model (`EmbeddingProvider.vectorWeight`). */
  weight: number;
  /** The same where the index has none of the question's words (`wordlessWeight`). */
  wordless: number;
}

export interface VectorSearch {
  /** Runs in the ambient scope. Rejects with `provider_unavailable` when the question's vector cannot be had. */
  nearest(question: VectorQuestion, signal?: AbortSignal): Promise<VectorAnswer>;
}

export interface VectorSearchOptions {
  database: Database;
  spaces: Pick<Spaces, 'current'>;
  shadows?: Pick<ShadowReads, 'observe'>;
  /** Searches in memory what is kept there; absent: the database searches always. */
  residents?: ResidentVectors | undefined;
  /** The question's vector; by default bought each time. */
  embed?(space: OpenSpace, query: string, signal?: AbortSignal): Promise<Float32Array | undefined>;
}

async function buy({ embeddings }: OpenSpace, query: string, signal?: AbortSignal): Promise<Float32Array | undefined> {
  const { vectors } = await embeddings.embed([query], { purpose: 'query', ...(signal && { signal }) });
  return vectors[0];
}

export function createVectorSearch(options: VectorSearchOptions): VectorSearch {
  const { database, spaces, shadows, residents, embed = buy } = options;

  async function nearest(question: ResidentQuestion): Promise<Scored[]> {
    const found = await residents?.nearest(question);
    if (found) return found;
    const { vector, ...asked } = question;
    const { rows, ...about } = await database.tenant((sql) =>
      searchChunks(sql, { ...asked, embedding: toHalfvec(vector) }),
    );
    residents?.searched(question.spaceId, about);
    return rows;
  }

  return {
    async nearest({ query, limit, filter, space: asked }, signal) {
      // Space and vector belong together, whatever becomes active meanwhile: the space before is still written.
      const space = await spaces.current(asked);
      // Bought before the transaction opens: nothing waits for the network inside one.
      const vector = await embed(space, query, signal);
      const { vectorWeight: weight, wordlessWeight: wordless = weight } = space.embeddings;
      if (!vector) return { hits: [], weight, wordless };
      const hits = await nearest({ spaceId: space.id, vector, limit, filter });
      shadows?.observe({ query, filter, found: hits.map(({ id }) => id), cut: space.cut });
      return { hits, weight, wordless };
    },
  };
}
