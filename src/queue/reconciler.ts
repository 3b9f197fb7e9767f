/**
 * Repairs what Redis lost. It walks the rows that are handed out, for longer than a grace and without a lease, and looks
 * into their tenants' streams: what no stream holds (FLUSHALL, a deleted stream, a push that failed after its commit, an
 * entry that was acknowledged or trimmed while its attempt died) is handed out once more. On the way a stream gets back a
 * destroyed group or its place in the ready set. Rows that a stream holds are the consumers' business: they reclaim.
 *
 * A row that is running under an expired lease counts too: the next attempt takes a higher number and fences the old one.
 * It pushes by itself instead of giving rows back to the backlog, because a running row cannot wait there, and because the
 * rows are in the window already.
 *
 * A page a round; a page with something missing is followed by the next at once, so that a lost Redis is whole again after
 * one walk. Several processes may do this together: only one of them gets a row to mark.
 */
import { LANES, type Lane } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { type Cursor, handOutAgain, listUnattended } from '../repositories/backlog.ts';
import { partitionKeys } from './consumer-group.ts';
import { jobIdOf } from './entry.ts';
import type { Producer } from './producer.ts';
import { asList, asText } from './replies.ts';
import { loadScripts } from './scripts.ts';

export interface ReconcilerOptions {
  database: Database;
  producer: Pick<Producer, 'push' | 'isReady'>;
  clients: Pick<RedisClients, 'ops'>;
  keys: Keys;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
  /** For how long a row may be handed out before it is missed; longer than a push may take. */
  graceMs?: number;
}

export interface Reconciler extends Service {
  /** One page of one lane; returns how many jobs were handed out again and whether the walk is at its end. */
  reconcile(lane: Lane): Promise<{ repaired: number; finished: boolean }>;
}

const ROWS_A_PAGE = 1_000;
const ENTRIES_A_CALL = 1_000;
const START: Cursor = { tenantId: '00000000-0000-0000-0000-000000000000', id: '00000000-0000-0000-0000-000000000000' };

export function createReconciler(options: ReconcilerOptions): Reconciler {
  const { database, producer, clients, keys, clock, logger, everyMs = 1_500, graceMs = 10_000 } = options;
  const run = loadScripts(clients.ops);
  const cursors: Record<Lane, Cursor> = { ingest: START, chat: START };

  /** Ids of the jobs that the tenant's stream holds, delivered or not. */
  async function heldIds(lane: Lane, tenantId: string): Promise<Set<string>> {
    const streamKeys = [...partitionKeys(keys, lane, keys.partitionOf(tenantId)), keys.stream(lane, tenantId)];
    const ids = new Set<string>();
    for (let from = '-'; from !== ''; ) {
      const [next, ...page] = asList(await run('inspect', streamKeys, [from, ENTRIES_A_CALL])).map(asText);
      for (const payload of page) ids.add(jobIdOf(payload));
      from = next ?? '';
    }
    return ids;
  }

  /** As `heldIds`; undefined where its server, one of a cluster, does not answer: the others' tenants go on. */
  async function heldIdsIfAny(lane: Lane, tenantId: string, away: Set<number>): Promise<Set<string> | undefined> {
    const partition = keys.partitionOf(tenantId);
    if (away.has(partition)) return undefined;
    try {
      return await heldIds(lane, tenantId);
    } catch (error) {
      if (!producer.isReady()) throw error;
      away.add(partition);
      logger.warn({ err: error, lane, partition }, `a partition does not answer: ${messageOf(error)}`);
      return undefined;
    }
  }

  async function reconcileTenant(
    lane: Lane,
    tenantId: string,
    ids: readonly string[],
    away: Set<number>,
  ): Promise<number> {
    const held = await heldIdsIfAny(lane, tenantId, away);
    if (!held) return 0;
    const missing = ids.filter((id) => !held.has(id));
    if (missing.length === 0) return 0;
    const { jobs, weight } = await database.system((sql) =>
      handOutAgain(sql, lane, tenantId, { ids: missing, graceMs }),
    );
    if (jobs.length > 0) await producer.push(lane, jobs, weight);
    return jobs.length;
  }

  async function reconcile(lane: Lane): Promise<{ repaired: number; finished: boolean }> {
    const after = cursors[lane];
    const rows = await database.system((sql) => listUnattended(sql, lane, { after, limit: ROWS_A_PAGE, graceMs }));
    let repaired = 0;
    const away = new Set<number>();
    for (const [tenantId, own] of Map.groupBy(rows, (row) => row.tenantId)) {
      repaired += await reconcileTenant(
        lane,
        tenantId,
        own.map(({ id }) => id),
        away,
      );
    }
    const finished = rows.length < ROWS_A_PAGE;
    cursors[lane] = (finished ? undefined : rows.at(-1)) ?? START;
    if (repaired > 0) logger.warn({ lane, jobs: repaired }, 'handed out again what Redis had lost');
    return { repaired, finished };
  }

  const loop = createLoop({
    name: 'reconciler',
    everyMs,
    clock,
    logger,
    async round() {
      if (!producer.isReady()) return false;
      let again = false;
      for (const lane of LANES) {
        const { repaired, finished } = await reconcile(lane);
        again = again || (repaired > 0 && !finished);
      }
      return again;
    },
  });
  return { name: loop.name, start: loop.start, stop: loop.stop, reconcile };
}
