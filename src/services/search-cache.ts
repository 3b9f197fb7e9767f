/**
 * What searches need not do twice: vectors of questions that were asked before, and whole answers while nothing changed.
 *
 * An answer is kept under the tenant, the user (who may see private documents that others may not), the embedding space and
 * everything that was asked, together with the tenant's generation, which every change of its corpus raises in the changing transaction. The
 * generation is read before each answer is taken or made: one that was made before a change is never given after it, on
 * any node, and one made while a change came is thrown away the next time. It also ends with time, because models behind
 * the search may change without any document.
 */
import { createHash } from 'node:crypto';
import type { Degradation, SearchHit, SearchRequest } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { createLru } from '../kernel/lru.ts';
import type { Metrics } from '../kernel/metrics.ts';

/** Characters of results, and numbers of vectors, that are kept. */
const KEPT_RESULTS = 16_000_000;
const KEPT_VECTORS = 4_000_000;
const RESULTS_LIVE_MS = 60_000;
/** What a kept result takes beside its text. */
const RESULT_FRAME = 500;

export interface Found {
  readonly found: readonly SearchHit[];
  readonly degraded: readonly Degradation[];
}

export interface ResultCache {
  /** The kept answer to this request, or a new one, which is kept where nothing is missing from it. */
  through(request: SearchRequest & { space: { id: number } }, make: () => Promise<Found>): Promise<Found>;
  /** Somebody was erased: nothing of anybody is kept any more. */
  forget(): void;
}

const digest = (...parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url');

export function createResultCache({
  database,
  clock,
  metrics,
}: {
  database: Database;
  clock: Clock;
  metrics: Metrics;
}): ResultCache {
  const kept = createLru<string, Found & { generation: number; until: number }>(KEPT_RESULTS);
  return {
    forget: kept.clear,
    async through(request, make) {
      const { tenantId, userId } = currentScope();
      const key = digest(
        tenantId,
        userId,
        Object.entries(request).toSorted(([a], [b]) => (a < b ? -1 : 1)),
      );
      const generation = (await database.call<number | null>('corpus_generation', [])) ?? 0;
      const known = kept.get(key);
      const isFresh = known !== undefined && known.generation === generation && known.until > clock.now();
      metrics.cacheRequests.inc({ cache: 'results', result: isFresh ? 'hit' : 'miss' });
      if (isFresh) return known;
      const answer = await make();
      if (answer.degraded.length === 0) {
        const size = answer.found.reduce((sum, { text }) => sum + text.length + RESULT_FRAME, RESULT_FRAME);
        kept.set(key, { ...answer, generation, until: clock.now() + RESULTS_LIVE_MS }, size);
      }
      return answer;
    },
  };
}

/** What a question's vector is bought with. */
interface Buyer {
  readonly id: number;
  readonly embeddings: {
    embed(
      texts: readonly string[],
      options: { purpose: 'query'; signal?: AbortSignal },
    ): Promise<{ vectors: Float32Array[] }>;
  };
}

/** Buys a question's vector once a tenant and space, for as long as it is asked often enough. */
export function createQueryVectors({ metrics }: { metrics: Metrics }) {
  const kept = createLru<string, Float32Array>(KEPT_VECTORS);
  const embed = async ({ id, embeddings }: Buyer, query: string, signal?: AbortSignal) => {
    const key = digest(currentScope().tenantId, id, query);
    const known = kept.get(key);
    metrics.cacheRequests.inc({ cache: 'embeddings', result: known ? 'hit' : 'miss' });
    if (known) return known;
    const { vectors } = await embeddings.embed([query], { purpose: 'query', ...(signal && { signal }) });
    const [vector] = vectors;
    if (vector) kept.set(key, vector, vector.length);
    return vector;
  };
  /** `forget`: somebody was erased. */
  return Object.assign(embed, { forget: kept.clear });
}
