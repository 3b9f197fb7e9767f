/** What the processes of the queue's benchmark say to each other. */
import { type Job, type Lane, PAYLOAD_VERSION } from '../../../src/contracts/index.ts';

/**
 * DreamHub's transport, whose progress is told to whoever listens; the same with progress kept in the logs of tasks; the
 * same with the tenants' actors and a pipeline's, which has one step or all of them; BullMQ; Redis Streams with a hash of
 * state a job and no more.
 */
export const KINDS = ['dreamhub', 'dreamhub-log', 'dreamhub-actors', 'dreamhub-pipelines', 'bullmq', 'bare'] as const;
export type Kind = (typeof KINDS)[number];

export type QueueOrder =
  /** Enqueues so many jobs in batches while they are worked on; answers with the milliseconds until the last was acknowledged. */
  | { do: 'flood'; jobs: number; tenants: readonly string[]; batch: number }
  /** Enqueues a job at a time, each when all is idle; answers with the milliseconds from each call to its handler. */
  | { do: 'pickup'; jobs: number; tenants: readonly string[] }
  /** Stops working, and enqueues so many, a window of each tenant. */
  | { do: 'fill'; jobs: number; tenants: readonly string[] }
  | { do: 'close' };

/** Jobs enqueued by one call: the window of a tenant that the feeder hands out. */
export const BATCH = 32;
/** Handlers at once, on every side. */
export const CONCURRENCY = 50;

export function jobFor(tenantId: string, lane: Lane = 'ingest'): Job {
  return {
    v: PAYLOAD_VERSION,
    lane,
    tenantId,
    userId: tenantId,
    id: Bun.randomUUIDv7(),
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  };
}

/** Batches for one tenant each, the tenants in turn. */
export function* batches(count: number, tenants: readonly string[], batch = BATCH): Generator<Job[]> {
  for (let made = 0, turn = 0; made < count; turn++) {
    const size = Math.min(batch, count - made);
    const tenant = tenants[turn % tenants.length] ?? '';
    yield Array.from({ length: size }, () => jobFor(tenant));
    made += size;
  }
}
