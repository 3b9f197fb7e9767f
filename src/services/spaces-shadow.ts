/**
 * Shadow reads: a share of live questions is asked of the spaces beside the active one too, after the answer has gone out,
 * and what both found is compared. Nobody waits for them, and a fault of theirs is counted and harms no answer.
 */
import type { SearchFilter } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { addShadow, type ChunkPlace, readPlaces } from '../repositories/spaces-documents.ts';
import { nearestChunks } from '../repositories/vectors.ts';
import type { OpenSpace, Spaces } from './spaces.ts';
import { toHalfvec } from './vectors.ts';

export interface LiveQuestion {
  query: string;
  filter: SearchFilter;
  /** The chunks that the active space found by vectors, best first. */
  found: readonly string[];
  /** Whose chunks those are. */
  cut: number;
}

export interface ShadowReads {
  /** Called in the scope of whoever asked; returns at once. */
  observe(question: LiveQuestion): void;
  /** Resolves when none is under way. */
  idle(): Promise<void>;
}

export interface ShadowReadsOptions {
  database: Database;
  spaces: Pick<Spaces, 'shadowed'>;
  random: () => number;
  logger: Logger;
}

const NEAREST = 10;
/** Of a process; further questions are not looked at meanwhile. */
const MOST_AT_ONCE = 4;
const TIMEOUT_MS = 30_000;
/** How much less each rank counts than the one before it. */
const PERSISTENCE = 0.9;

/** Share of the first ten of the live answer, or as many as it has, that the other has among its first ten too. */
export function overlapOf(live: readonly string[], other: readonly string[]): number {
  const [a, b] = [live.slice(0, NEAREST), new Set(other.slice(0, NEAREST))];
  const most = Math.max(a.length, b.size);
  return most === 0 ? 1 : a.filter((id) => b.has(id)).length / most;
}

/**
 * Rank-biased overlap of the first ten, divided by its maximum at that depth (Webber, Moffat and Zobel, "A Similarity
 * Measure for Indefinite Rankings", 2010): 1 where both orders are one, 0 where they share nothing.
 */
export function agreementOf(live: readonly string[], other: readonly string[]): number {
  const depth = Math.min(NEAREST, Math.max(live.length, other.length));
  if (depth === 0) return 1;
  let [sum, most, weight] = [0, 0, 1];
  for (let d = 1; d <= depth; d++) {
    const seen = new Set(live.slice(0, d));
    sum += (weight * other.slice(0, d).filter((id) => seen.has(id)).length) / d;
    most += weight;
    weight *= PERSISTENCE;
  }
  return sum / most;
}

/**
 * Names of chunks that were cut differently: one that overlaps a live chunk of its document takes its id, each id once, so
 * that the two lists can be compared. Places count in each pipeline's own text.
 */
function nameAlike(live: readonly ChunkPlace[], other: readonly ChunkPlace[]): string[] {
  const taken = new Set<string>();
  return other.map((chunk) => {
    const same = live.find(
      (one) =>
        !taken.has(one.id) && one.documentId === chunk.documentId && one.start < chunk.end && chunk.start < one.end,
    );
    if (same) taken.add(same.id);
    return same?.id ?? chunk.id;
  });
}

export function createShadowReads({ database, spaces, random, logger }: ShadowReadsOptions): ShadowReads {
  const running = new Set<Promise<void>>();

  /** The other list with each chunk under the name of the live one that says the same place, the first such. */
  async function namedAlike(live: readonly string[], other: readonly string[]): Promise<string[]> {
    const places = new Map(
      (await database.tenant((sql) => readPlaces(sql, [...live, ...other]))).map((place) => [place.id, place]),
    );
    return nameAlike(
      live.flatMap((id) => places.get(id) ?? []),
      other.flatMap((id) => places.get(id) ?? []),
    );
  }

  async function compare(space: OpenSpace, { query, filter, found, cut }: LiveQuestion): Promise<void> {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const { vectors } = await space.embeddings.embed([query], { purpose: 'query', signal });
      const [vector] = vectors;
      if (!vector) throw new Error('the provider answered with no vector');
      const other = await database.tenant((sql) =>
        nearestChunks(sql, { spaceId: space.id, embedding: toHalfvec(vector), limit: NEAREST, filter }),
      );
      const others = other.map(({ id }) => id);
      const ids = space.cut === cut ? others : await namedAlike(found.slice(0, NEAREST), others);
      const seen = { overlap: overlapOf(found, ids), agreement: agreementOf(found, ids) };
      await database.tenant((sql) => addShadow(sql, space.id, seen));
    } catch (error) {
      logger.warn({ err: error, space_id: space.id }, `a shadow read failed: ${messageOf(error)}`);
      await database.tenant((sql) => addShadow(sql, space.id, undefined)).catch(() => undefined);
    }
  }

  async function run(question: LiveQuestion): Promise<void> {
    for (const space of await spaces.shadowed()) {
      if (random() < space.shadowShare) await compare(space, question);
    }
  }

  return {
    observe(question) {
      if (running.size >= MOST_AT_ONCE) return;
      const one = run(question)
        .catch((error: unknown) => logger.warn({ err: error }, `no shadow read: ${messageOf(error)}`))
        .finally(() => running.delete(one));
      running.add(one);
    },
    async idle() {
      await Promise.all(running);
    },
  };
}
