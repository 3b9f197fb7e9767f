/**
 * The tenants that have work in this process, an actor each. An actor is made with a tenant's first job and let go some
 * seconds after its last one, so a tenant without work costs nothing, and one whose jobs come one by one, or who takes turns
 * with others, is not made anew for each of them.
 */
import { type ActorRefFrom, createActor } from 'xstate';
import { createTenant, type Tenant } from '../../actors/tenant.ts';
import type { Delivery, Lane } from '../contracts/index.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { newTraceId, runDetached, type Scope } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Outcome } from '../kernel/outcome.ts';
import { traceIdOf } from '../kernel/trace.ts';
import type { Answering } from '../services/answering.ts';
import type { Ingestion } from '../services/ingestion.ts';

export interface TenantActors {
  /** Has the tenant's actor run a job; resolves with how the attempt ended. */
  run(delivery: Delivery): Promise<Outcome>;
  /** Stops a task or turn of a tenant, if it runs here. */
  cancel(tenantId: string, id: string): void;
  /** Every tenant hands its work back; what is delivered from now on is left for others. */
  release(): void;
  /** Tenants with an actor. */
  size(): number;
}

export interface TenantActorsOptions {
  ingestion: Pick<Ingestion, 'machine'>;
  answering: Pick<Answering, 'machine'>;
  logger: Logger;
  clock?: Clock;
}

interface Entry {
  ref: ActorRefFrom<Tenant>;
  /** Told how each job ended. */
  jobs: Set<(outcome: Outcome) => void>;
  /** Had nothing to do when last looked at, and nothing since. */
  resting: boolean;
}

/** An actor without work is let go after one to two of these. */
const REST_MS = 1_000;

function scopeOf({ job }: Delivery): Scope {
  return { tenantId: job.tenantId, userId: job.userId, traceId: traceIdOf(job.traceparent) ?? newTraceId() };
}

export function createTenantActors({
  ingestion,
  answering,
  logger,
  clock = systemClock,
}: TenantActorsOptions): TenantActors {
  const machine = createTenant({ uploadPipeline: ingestion.machine, chatSession: answering.machine });
  const entries = new Map<string, Entry>();
  let leaving = false;
  let cancelRest: (() => void) | undefined;

  function letGo(tenantId: string, entry: Entry): void {
    if (entries.get(tenantId) === entry) entries.delete(tenantId);
  }

  /** Looks at all of them from time to time, as long as there are any. */
  function watchRest(): void {
    cancelRest ??= clock.after(REST_MS, () => {
      cancelRest = undefined;
      for (const [tenantId, entry] of entries) {
        if (entry.jobs.size > 0) continue;
        if (entry.resting) {
          letGo(tenantId, entry);
          entry.ref.stop();
        }
        entry.resting = true;
      }
      if (entries.size > 0) watchRest();
    });
  }

  function entryFor(tenantId: string): Entry {
    const known = entries.get(tenantId);
    if (known) return known;
    // Not in the scope of whoever happens to deliver the first job; each effect enters its own job's.
    const ref = runDetached(() => createActor(machine, { input: { tenantId } }));
    const entry: Entry = { ref, jobs: new Set(), resting: false };
    const abandon = () => {
      letGo(tenantId, entry);
      for (const settled of entry.jobs) settled({ type: 'abandoned' });
    };
    // An actor that errs with nobody listening would end the process.
    ref.subscribe({
      complete: abandon,
      error: (error) => {
        logger.error({ err: error, tenant_id: tenantId }, `tenant actor failed: ${messageOf(error)}`);
        abandon();
      },
    });
    entries.set(tenantId, entry);
    runDetached(() => {
      ref.start();
      watchRest();
    });
    return entry;
  }

  return {
    async run(delivery) {
      if (leaving) return { type: 'abandoned' };
      const { job } = delivery;
      const entry = entryFor(job.tenantId);
      const { promise, resolve } = Promise.withResolvers<Outcome>();
      entry.jobs.add(resolve);
      entry.resting = false;
      runDetached(() => entry.ref.send({ type: 'DELIVER', job, scope: scopeOf(delivery), settled: resolve }));
      try {
        return await promise;
      } finally {
        entry.jobs.delete(resolve);
      }
    },

    cancel(tenantId, id) {
      entries.get(tenantId)?.ref.send({ type: 'CANCEL', id });
    },

    release() {
      leaving = true;
      cancelRest?.();
      for (const { ref } of entries.values()) ref.send({ type: 'RELEASE' });
    },

    size: () => entries.size,
  };
}

/** What each lane does with a job that can never be run. */
export function createBurial({ ingestion, answering }: { ingestion: Ingestion; answering: Answering }) {
  return (lane: Lane, id: string, message: string): Promise<void> =>
    lane === 'ingest' ? ingestion.bury(id, message) : answering.bury(id, message);
}
