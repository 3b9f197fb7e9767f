/**
 * The tenants that have work in this process, an actor each. An actor is made with a tenant's first job and let go when
 * its last one has ended, so a tenant without work costs nothing.
 */
import { type ActorRefFrom, createActor } from 'xstate';
import { createTenant, type Tenant } from '../../actors/tenant.ts';
import type { Delivery, Lane } from '../contracts/index.ts';
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
}

interface Entry {
  ref: ActorRefFrom<Tenant>;
  /** Told how each job ended. */
  jobs: Set<(outcome: Outcome) => void>;
}

function scopeOf({ job }: Delivery): Scope {
  return { tenantId: job.tenantId, userId: job.userId, traceId: traceIdOf(job.traceparent) ?? newTraceId() };
}

export function createTenantActors({ ingestion, answering, logger }: TenantActorsOptions): TenantActors {
  const machine = createTenant({ uploadPipeline: ingestion.machine, chatSession: answering.machine });
  const entries = new Map<string, Entry>();
  let leaving = false;

  function entryFor(tenantId: string): Entry {
    const known = entries.get(tenantId);
    if (known) return known;
    // Not in the scope of whoever happens to deliver the first job; each effect enters its own job's.
    const ref = runDetached(() => createActor(machine, { input: { tenantId } }));
    const entry: Entry = { ref, jobs: new Set() };
    const abandon = () => {
      for (const settled of entry.jobs) settled({ type: 'abandoned' });
    };
    // An actor that errs with nobody listening would end the process.
    ref.subscribe({
      complete: abandon,
      error: (error) => {
        logger.error({ err: error, tenant_id: tenantId }, `tenant actor failed: ${messageOf(error)}`);
        if (entries.get(tenantId) === entry) entries.delete(tenantId);
        abandon();
      },
    });
    entries.set(tenantId, entry);
    runDetached(() => ref.start());
    return entry;
  }

  function leave(tenantId: string, entry: Entry, settled: (outcome: Outcome) => void): void {
    entry.jobs.delete(settled);
    if (entry.jobs.size > 0 || entries.get(tenantId) !== entry) return;
    entries.delete(tenantId);
    entry.ref.stop();
  }

  return {
    async run(delivery) {
      if (leaving) return { type: 'abandoned' };
      const { job } = delivery;
      const entry = entryFor(job.tenantId);
      const { promise, resolve } = Promise.withResolvers<Outcome>();
      entry.jobs.add(resolve);
      runDetached(() => entry.ref.send({ type: 'DELIVER', job, scope: scopeOf(delivery), settled: resolve }));
      try {
        return await promise;
      } finally {
        leave(job.tenantId, entry, resolve);
      }
    },

    cancel(tenantId, id) {
      entries.get(tenantId)?.ref.send({ type: 'CANCEL', id });
    },

    release() {
      leaving = true;
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
