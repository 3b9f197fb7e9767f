/**
 * Moves the backlog from PostgreSQL into the tenants' streams, a window at a time: what one tenant may have handed out and
 * unfinished. Priority and delays are decided here, at the last moment, by SQL; Redis only ever sees the front.
 *
 * A nudge (after an accept, after a finish) asks for one tenant and costs a set entry; nudges for a tenant that is being
 * fed or waits already are one. A finish is worth one only once a part of the window is left that nobody was given yet:
 * else each job would be fetched by a transaction of its own. A sweep finds what no nudge came for: delays that have ended, and all that was accepted
 * while Redis was away. Nothing is handed out while Redis is known to be away; a push that fails all the same leaves rows
 * that are marked and in no stream, which the reconciler finds.
 *
 * Rejected: a list of tenants per process without the sweep (a crash between commit and nudge would strand work), and
 * handing out everything (a priority set later would come too late, and Redis would be the backlog).
 */
import { LANES, type Lane } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { handOutNext, lockBacklog, visitBacklogs } from '../repositories/backlog.ts';
import type { Producer } from './producer.ts';

export interface Feeder {
  /** Hands out what the tenant's window has room for; returns the number of jobs. Throws where it could not push them. */
  feed(lane: Lane, tenantId: string): Promise<number>;
  /**
   * Asks for a tenant to be fed soon; returns at once and never throws. What was `accepted` into a window that is known
   * to be full waits for the finish that makes room, or for the sweep.
   */
  nudge(lane: Lane, tenantId: string, because?: 'accepted' | 'finished'): void;
  /** Nudges where few enough of the jobs that are handed out wait for a worker: `undelivered` of them. */
  finished(lane: Lane, tenantId: string, undelivered: number): void;
  readonly service: Service;
}

export interface FeederOptions {
  database: Database;
  producer: Pick<Producer, 'push' | 'isReady'>;
  clock: Clock;
  logger: Logger;
  /** Jobs that one tenant may have handed out and unfinished: at least what it may run at once. */
  windows?: Readonly<Record<Lane, number>>;
  sweepMs?: number;
  /** Tenants fed at the same time, so connections to the database used. */
  parallel?: number;
}

/** Wide enough to keep a tenant's workers busy over a round trip, small enough that an urgent job overtakes soon. */
const DEFAULT_WINDOWS: Readonly<Record<Lane, number>> = { ingest: 32, chat: 64 };

/** Of a window: what must be left for the workers while the next jobs are fetched. */
const REFILL_SHARE = 1 / 4;
const TENANTS_A_SWEEP = 1_000;
/** No longer than between two sweeps, which look at every window. */
const FULL_MS = 1_000;
const FIRST_TENANT = '00000000-0000-0000-0000-000000000000';

interface Feed {
  lane: Lane;
  tenantId: string;
}

/** Nudged feeds, chat before ingest, each tenant once; one that is taken comes again only after it was given back. */
function createNudges() {
  const waiting: Record<Lane, Set<string>> = { ingest: new Set(), chat: new Set() };
  const taken: Record<Lane, Set<string>> = { ingest: new Set(), chat: new Set() };
  return {
    add: ({ lane, tenantId }: Feed) => void waiting[lane].add(tenantId),
    take(): Feed | undefined {
      for (const lane of ['chat', 'ingest'] as const) {
        for (const tenantId of waiting[lane]) {
          if (taken[lane].has(tenantId)) continue;
          waiting[lane].delete(tenantId);
          taken[lane].add(tenantId);
          return { lane, tenantId };
        }
      }
      return undefined;
    },
    giveBack: ({ lane, tenantId }: Feed) => void taken[lane].delete(tenantId),
  };
}

export function createFeeder(options: FeederOptions): Feeder {
  const { database, producer, clock, logger, windows = DEFAULT_WINDOWS, sweepMs = 1_000, parallel = 2 } = options;
  const nudges = createNudges();
  const cursors: Record<Lane, string> = { ingest: FIRST_TENANT, chat: FIRST_TENANT };

  /** Windows that were found full: until then an accept need not ask, for the finish that makes room will. */
  const fullUntil = new Map<string, number>();

  async function feed(lane: Lane, tenantId: string): Promise<number> {
    if (!producer.isReady()) return 0;
    const { jobs, weight, full } = await database.system(async (sql) => {
      await lockBacklog(sql, lane, tenantId);
      return handOutNext(sql, lane, tenantId, windows[lane]);
    });
    if (full) fullUntil.set(`${lane} ${tenantId}`, clock.now() + FULL_MS);
    else fullUntil.delete(`${lane} ${tenantId}`);
    if (jobs.length > 0) await producer.push(lane, jobs, weight);
    return jobs.length;
  }

  function isFull(lane: Lane, tenantId: string): boolean {
    const until = fullUntil.get(`${lane} ${tenantId}`);
    if (until === undefined) return false;
    if (until > clock.now()) return true;
    fullUntil.delete(`${lane} ${tenantId}`);
    return false;
  }

  function nudge(lane: Lane, tenantId: string, because: 'accepted' | 'finished' = 'finished'): void {
    if (because === 'accepted' && isFull(lane, tenantId)) return;
    nudges.add({ lane, tenantId });
    for (const loop of feeding) loop.wake();
  }

  function finished(lane: Lane, tenantId: string, undelivered: number): void {
    if (undelivered <= windows[lane] * REFILL_SHARE) nudge(lane, tenantId);
  }

  const feeding = Array.from({ length: parallel }, (_, index) =>
    createLoop({
      name: `feeder-${index + 1}`,
      everyMs: sweepMs,
      clock,
      logger,
      async round() {
        const next = nudges.take();
        if (!next) return false;
        try {
          await feed(next.lane, next.tenantId);
        } finally {
          nudges.giveBack(next);
        }
        return true;
      },
    }),
  );

  /** Nudges the tenants of one page that are due; true where there may be more pages. */
  async function sweep(lane: Lane): Promise<boolean> {
    const after = cursors[lane];
    const visited = await database.system((sql) =>
      visitBacklogs(sql, lane, { after, limit: TENANTS_A_SWEEP, window: windows[lane] }),
    );
    for (const { tenantId, due } of visited) if (due) nudge(lane, tenantId);
    const full = visited.length === TENANTS_A_SWEEP;
    cursors[lane] = (full ? visited.at(-1)?.tenantId : undefined) ?? FIRST_TENANT;
    return full;
  }

  const sweeping = createLoop({
    name: 'feeder-sweep',
    everyMs: sweepMs,
    clock,
    logger,
    async round() {
      if (!producer.isReady()) return false;
      let more = false;
      for (const lane of LANES) more = (await sweep(lane)) || more;
      return more;
    },
  });

  const loops = [...feeding, sweeping];
  return {
    feed,
    nudge,
    finished,
    service: {
      name: 'feeder',
      start: async () => void (await Promise.all(loops.map((loop) => loop.start()))),
      stop: async () => void (await Promise.all(loops.map((loop) => loop.stop()))),
    },
  };
}
