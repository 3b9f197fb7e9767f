/**
 * Moves tenants between the ways of searching vectors (`repositories/vectors.ts`) as they grow and shrink, and encodes
 * what was published since. States of a tenant in a space, in the row of `vector_tiers`: `exact` (no row, or codes in the
 * making that nobody reads yet) → `bits` (all codes made, recall measured) → `indexed` (codes in a shard of its own, graph
 * built, recall measured again), and back. A tier is written down only after what it needs is there, and taken back before
 * that is removed, so a search finds everything in every state; a round that is cut off is gone on with by the next.
 *
 * One worker at a time is at a tenant, under a lease. Where two are all the same, because one stood still for longer, both
 * take documents by their rows and find them done.
 */
import type { Database, Sql } from '../db/database.ts';
import { analyseSpace, buildGraph, createShard, dropShard, hasGraph, listShards } from '../db/spaces-shards.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { type Batch, encodeDocuments, moveCodes, removeCodes } from '../repositories/vector-codes.ts';
import {
  changeTier,
  claimTier,
  forgetTier,
  freeShard,
  listOwners,
  listTierStates,
  releaseTier,
  type TierChange,
  type TierState,
  usedShards,
} from '../repositories/vector-tiers.ts';
import { createQuietWatch } from './quiet-watch.ts';
import { ENOUGH, measureRecall } from './vector-recall.ts';
import { isOutgrown, TIER_BOUNDS, type TierBounds, tierFor } from './vector-tiers-plan.ts';

export interface VectorTiers extends Service {
  /** Brings every tenant to its tier; returns how many were worked on. Waits for nobody: what another worker has is left. */
  settle(signal?: AbortSignal): Promise<number>;
}

export interface VectorTiersOptions {
  database: Database;
  clock: Clock;
  ids: Ids;
  random: () => number;
  logger: Logger;
  bounds?: TierBounds;
  everyMs?: number;
  leaseMs?: number;
  /** For how long a tenant must not have changed before the loop moves it, unless it has become large. */
  quietMs?: number;
}

/** Chunks of one transaction: what a publication or deletion of one of its documents may wait for, some 0.1 s. */
const BATCH_CHUNKS = 2_000;
/** Codes that are added to a graph: each takes a search of it, so fewer at once. */
const GRAPH_BATCH_CHUNKS = 500;
/**
 * Up to so many chunks a tenant that is being loaded waits for its tier: an exact scan of them is a matter of 30 ms, and
 * what is measured in the middle of a load (a third of the load's own work) is measured again at its end.
 */
const WAITS_FOR_QUIET = 16_384;
/** Who is asked for what all of a tenant may see. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** Another worker has the tenant by now. */
class LeaseLost extends Error {}

interface Work {
  readonly state: TierState;
  readonly holder: string;
  readonly signal: AbortSignal;
}

export function createVectorTiers(options: VectorTiersOptions): VectorTiers {
  const {
    database,
    clock,
    ids,
    random,
    logger,
    bounds = TIER_BOUNDS,
    everyMs = 15_000,
    leaseMs = 60_000,
    quietMs = 10_000,
  } = options;
  const quietOf = createQuietWatch({ clock, quietMs });
  const canIndex = database.maintain !== undefined;

  async function renew({ state, holder, signal }: Work): Promise<void> {
    signal.throwIfAborted();
    if (!(await database.system((sql) => claimTier(sql, state, holder, leaseMs)))) throw new LeaseLost();
  }

  async function change({ state, holder }: Work, to: TierChange): Promise<void> {
    if (!(await database.system((sql) => changeTier(sql, state, holder, to)))) throw new LeaseLost();
  }

  /** Everybody whose documents the tenant has in the space, most chunks first. */
  async function scopesOf({ state }: Work) {
    const owners = await database.system((sql) => listOwners(sql, state));
    return owners.map(({ owner }) => ({ tenantId: state.tenantId, userId: owner ?? NOBODY, traceId: newTraceId() }));
  }

  /** Repeats a step in each scope until it finds nothing more; returns the chunks that it dealt with. */
  async function everywhere(work: Work, step: (sql: Sql) => Promise<Batch>): Promise<number> {
    let chunks = 0;
    for (const scope of await scopesOf(work)) {
      for (let more = true; more; ) {
        await renew(work);
        const batch = await runAs(scope, () => database.tenant(step));
        chunks += batch.chunks;
        more = batch.documents > 0;
      }
    }
    return chunks;
  }

  async function encode(work: Work): Promise<void> {
    const { spaceId, chunks } = work.state;
    const made = await everywhere(work, (sql) => encodeDocuments(sql, spaceId, BATCH_CHUNKS));
    // Bulk loads change what the planner should expect, before autovacuum looks the next time.
    if (made >= chunks / 10) await analyseSpace(database, spaceId);
  }

  /** Measures a way of searching that is ready and puts it in force; false where it does not find enough. */
  async function enforce(work: Work, tier: 'bits' | 'indexed', shard: number | null): Promise<boolean> {
    const [scope] = await scopesOf(work);
    if (!scope) return false;
    const { spaceId, dimensions, tenantId, chunks } = work.state;
    await renew(work);
    const { candidates, recall } = await whileLeased(work, () =>
      runAs(scope, () =>
        measureRecall(database, spaceId, { tier, shard, dimensions }, { chunks, random, signal: work.signal }),
      ),
    );
    const isEnough = recall >= ENOUGH;
    const about = { tenant_id: tenantId, space_id: spaceId, chunks, tier, candidates, recall };
    if (!isEnough) {
      logger.warn(about, 'codes do not find enough of this tenant’s vectors: another way of searching is kept');
      return false;
    }
    await renew(work);
    await change(work, { tier, candidates, recall, chunks, ...(tier === 'indexed' && { refusedAt: null }) });
    logger.info(about, `a tenant’s vectors are searched by ${tier} now`);
    return true;
  }

  /** Codes in shard 0, all of them, and in force. */
  async function toBits(work: Work): Promise<boolean> {
    const { spaceId, tier, chunks } = work.state;
    await encode(work);
    if (tier !== 'exact' && !isOutgrown(work.state)) return true;
    if (await enforce(work, 'bits', work.state.shard)) {
      if (tier === 'exact') await change(work, { refusedAt: null });
      return true;
    }
    await change(work, { tier: 'exact', refusedAt: chunks });
    await everywhere(work, (sql) => removeCodes(sql, spaceId, BATCH_CHUNKS));
    return false;
  }

  async function leaveShard(work: Work): Promise<void> {
    const { spaceId, shard, tier } = work.state;
    if (shard === null) return;
    if (tier === 'indexed') await change(work, { tier: 'bits' });
    await everywhere(work, (sql) => moveCodes(sql, spaceId, { from: shard, to: 0, mostChunks: BATCH_CHUNKS }));
    await change(work, { shard: null });
    await dropShard(database, { spaceId, shard });
  }

  async function toIndexed(work: Work): Promise<void> {
    const { spaceId, tenantId, dimensions, tier, chunks } = work.state;
    let { shard } = work.state;
    if (shard === null) {
      const taken = (await listShards(database)).filter((one) => one.spaceId === spaceId).map((one) => one.shard);
      const free = await database.system((sql) => freeShard(sql, spaceId, taken));
      await change(work, { shard: free });
      shard = free;
    }
    const place = { spaceId, shard };
    await createShard(database, { ...place, tenantId });
    const isBuilt = await hasGraph(database, place);
    const mostChunks = isBuilt ? GRAPH_BATCH_CHUNKS : BATCH_CHUNKS;
    const to = shard;
    await everywhere(work, (sql) => moveCodes(sql, spaceId, { from: 0, to, mostChunks }));
    if (!isBuilt) {
      await whileLeased(work, () => buildGraph(database, place, { dimensions, codes: chunks }));
    }
    if (tier === 'indexed' && isBuilt && !isOutgrown(work.state)) return;
    if (await enforce(work, 'indexed', shard)) return;
    // The codes are scanned again, in the shard of all.
    await change(work, { tier: 'bits', refusedAt: chunks });
    await leaveShard({ ...work, state: { ...work.state, tier: 'bits', shard } });
  }

  /** Keeps the lease while one long step runs. */
  async function whileLeased<T>(work: Work, step: () => Promise<T>): Promise<T> {
    const over = new AbortController();
    const keeping = (async () => {
      while (!over.signal.aborted) {
        await clock.sleep(leaseMs / 3, over.signal);
        await database.system((sql) => claimTier(sql, work.state, work.holder, leaseMs));
      }
      // Ended with the step; or the lease could not be kept, which the next statement that needs it finds out.
    })().catch(() => undefined);
    try {
      return await step();
    } finally {
      over.abort();
      await keeping;
    }
  }

  async function toExact(work: Work): Promise<void> {
    const { spaceId, shard, tier, refusedAt } = work.state;
    if (tier !== 'exact') await change(work, { tier: 'exact' });
    await everywhere(work, (sql) => removeCodes(sql, spaceId, BATCH_CHUNKS));
    if (shard !== null) {
      await change(work, { shard: null });
      await dropShard(database, { spaceId, shard });
    }
    if (refusedAt === null) await database.system((sql) => forgetTier(sql, work.state, work.holder));
  }

  async function settleOne(work: Work): Promise<void> {
    const wanted = tierFor(work.state, bounds, canIndex);
    if (wanted === 'exact') return toExact(work);
    if (wanted === 'bits') await leaveShard(work);
    if (!(await toBits(work)) || wanted === 'bits') return;
    await toIndexed(work);
  }

  /** Nothing to do: in its tier, everything encoded and where it belongs. */
  function isSettled(state: TierState): boolean {
    const { tier, uncoded, scanned, sharded, shard } = state;
    if (tierFor(state, bounds, canIndex) !== tier) return false;
    if (tier === 'exact') return scanned + sharded === 0 && shard === null;
    return uncoded === 0 && !isOutgrown(state) && (tier === 'bits' ? sharded === 0 && shard === null : scanned === 0);
  }

  /** Those that have not changed lately, or are too large to wait for that. */
  function withoutLoads(states: readonly TierState[]): readonly TierState[] {
    const keyOf = ({ tenantId, spaceId }: TierState) => `${tenantId} ${spaceId}`;
    const quiet = quietOf(new Map(states.map((state) => [keyOf(state), state.chunks])));
    return states.filter((state) => state.chunks >= WAITS_FOR_QUIET || quiet.has(keyOf(state)));
  }

  const all = (states: readonly TierState[]) => states;

  async function settle(signal: AbortSignal = new AbortController().signal, choose: typeof all = all): Promise<number> {
    const states = choose(await database.system((sql) => listTierStates(sql, bounds.bits)));
    let worked = 0;
    for (const state of states.filter((one) => !isSettled(one))) {
      signal.throwIfAborted();
      const work: Work = { state, holder: ids.uuid(), signal };
      if (!(await database.system((sql) => claimTier(sql, state, work.holder, leaseMs)))) continue;
      worked += 1;
      try {
        await settleOne(work);
      } catch (error) {
        if (signal.aborted) throw error;
        const { tenantId, spaceId } = state;
        if (!(error instanceof LeaseLost)) {
          logger.error(
            { err: error, tenant_id: tenantId, space_id: spaceId },
            `vectors not moved: ${messageOf(error)}`,
          );
        }
      } finally {
        // It ends by itself.
        await database.system((sql) => releaseTier(sql, state, work.holder)).catch(() => undefined);
      }
    }
    await dropOrphans();
    return worked;
  }

  /** Shards of tenants that are gone, and of moves that were cut off. */
  async function dropOrphans(): Promise<void> {
    if (!canIndex) return;
    const shards = await listShards(database);
    if (shards.length === 0) return;
    const used = await database.system(usedShards);
    const isUsed = new Set(used.map(({ spaceId, shard }) => `${spaceId}/${shard}`));
    for (const one of shards) {
      if (!isUsed.has(`${one.spaceId}/${one.shard}`)) await dropShard(database, one);
    }
  }

  const loop = createLoop({
    name: 'vector-tiers',
    everyMs,
    clock,
    logger,
    round: async (signal) => void (await settle(signal, withoutLoads)),
  });
  return { name: loop.name, start: loop.start, stop: loop.stop, settle: (signal) => settle(signal) };
}
