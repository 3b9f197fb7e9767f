/**
 * How many codes a tenant's searches have to look at again: measured on its own vectors, because it depends on the model
 * and on what is written about. A query is the sum of the vectors of two documents chosen at random, which lies
 * off both as questions lie off passages; what it should find is what looking at every vector finds.
 */
import type { Database } from '../db/database.ts';
import { chunksStillThere, sampleVectors } from '../repositories/vector-codes.ts';
import { codedChunks, exactChunks, type Tier } from '../repositories/vectors.ts';
import { toHalfvec } from './vectors.ts';

export interface Recall {
  /** Enough of them, or the most that were tried. */
  candidates: number;
  /** Share of the ten nearest that were found with half of them, 0…1. */
  recall: number;
}

const SAMPLES = 32;
const NEAREST = 10;
const CANDIDATES = [25, 50, 100, 200, 400, 800, 1_600, 3_200] as const;
const MARGIN = 2;
/**
 * The largest share of a tenant's chunks that may be candidates: half of all vectors in no order take longer than all of
 * them in theirs, and a fiftieth found by walking a graph takes longer than scanning all codes.
 */
const MOST = { scan: 0.5, graph: 0.02 } as const;
/** So few are walked to in no time. */
const LEAST_OF_GRAPH = 400;
export const ENOUGH = 0.99;

function normalise(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

/** A direction that no model gave. */
function anywhere(dimensions: number, random: () => number): Float32Array {
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return normalise(Float32Array.from({ length: dimensions }, gaussian));
}

const parse = (text: string): Float32Array => Float32Array.from(JSON.parse(text) as number[]);

function turned(vector: Float32Array, towards: Float32Array): string {
  return toHalfvec(normalise(vector.map((value, i) => value + (towards[i] ?? 0))));
}

/** Runs in the ambient scope. Stops at the first number of candidates that is enough. Takes an exact search a sample. */
export async function measureRecall(
  database: Database,
  spaceId: number,
  tier: Pick<Tier, 'tier' | 'shard' | 'dimensions'>,
  { chunks, random, signal }: { chunks: number; random: () => number; signal: AbortSignal },
): Promise<Recall> {
  const samples = await database.tenant((sql) => sampleVectors(sql, spaceId, SAMPLES));
  const queries: { embedding: string; nearest: Set<string> }[] = [];
  for (const [index, sample] of samples.entries()) {
    signal.throwIfAborted();
    const other = samples[(index + 1) % samples.length] ?? sample;
    const embedding = turned(parse(sample), index % 2 === 0 ? parse(other) : anywhere(tier.dimensions, random));
    // A transaction each: nobody waits long for the embedded database's only backend.
    const rows = await database.tenant((sql) => exactChunks(sql, { spaceId, embedding, limit: NEAREST, filter: {} }));
    queries.push({ embedding, nearest: new Set(rows.map(({ id }) => id)) });
  }
  let last: Recall = { candidates: 0, recall: 0 };
  const most = tier.tier === 'indexed' ? Math.max(LEAST_OF_GRAPH, chunks * MOST.graph) : chunks * MOST.scan;
  for (const candidates of CANDIDATES.filter((count) => count * MARGIN <= most)) {
    let [found, wanted] = [0, 0];
    for (const { embedding, nearest } of queries) {
      signal.throwIfAborted();
      const query = { spaceId, embedding, limit: NEAREST, filter: {} };
      const rows = await database.tenant((sql) => codedChunks(sql, query, { ...tier, candidates }));
      const told = new Set(rows.map(({ id }) => id));
      const missing = [...nearest].filter((id) => !told.has(id));
      if (missing.length > 0) {
        // What was deleted since it was looked for is not missed.
        const there = await database.tenant((sql) => chunksStillThere(sql, spaceId, missing));
        for (const id of missing) if (!there.has(id)) nearest.delete(id);
      }
      found += [...nearest].filter((id) => told.has(id)).length;
      wanted += nearest.size;
    }
    last = { candidates: candidates * MARGIN, recall: wanted === 0 ? 1 : found / wanted };
    if (last.recall >= ENOUGH) return last;
  }
  return last;
}
