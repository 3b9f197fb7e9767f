/**
 * Puts jobs into the tenants' streams. What is pushed twice, because a reply was lost, is delivered twice: the row decides.
 * Nobody but the feeder and the reconciler pushes; what is accepted goes into PostgreSQL first.
 */
import type { Job, Lane } from '../contracts/index.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { partitionKeys } from './consumer-group.ts';
import { encodeJob } from './entry.ts';
import { createHandover, type Handover } from './handover.ts';
import { loadScripts } from './scripts.ts';

/** Far above the windows that the feeder hands out: it cuts only what a fault piles up, and the reconciler repairs that. */
const MAX_STREAM_LENGTH = 10_000;

export interface Producer {
  /** Appends jobs, in order, to their tenants' streams. `weight` is their tenants' share of the workers. */
  push(lane: Lane, jobs: readonly Job[], weight?: number): Promise<void>;
  /** A worker of the lane in this process, which is given what is pushed while it is idle; the returned function ends it. */
  offer: Handover['offer'];
  /** False while Redis is known to be away: then there is no point in handing anything out. */
  isReady(): boolean;
}

export interface ProducerOptions {
  /** Not the connection that collects calls: a window is one call already, and whoever waits for a job waits for it. */
  clients: Pick<RedisClients, 'ops'>;
  keys: Keys;
  maxStreamLength?: number;
}

export function createProducer({ clients, keys, maxStreamLength = MAX_STREAM_LENGTH }: ProducerOptions): Producer {
  const run = loadScripts(clients.ops);
  const handover = createHandover();

  async function append(lane: Lane, tenantId: string, jobs: readonly Job[], weight: number): Promise<void> {
    const partition = keys.partitionOf(tenantId);
    const stream = keys.stream(lane, tenantId);
    const payloads = jobs.map((job) => encodeJob(job, weight));
    if (await handover.handOver(lane, partition, { stream, maxLength: maxStreamLength, payloads })) return;
    await run('push', [...partitionKeys(keys, lane, partition), stream], [maxStreamLength, '', 0, ...payloads]);
  }

  return {
    offer: handover.offer,
    isReady: () => clients.ops.status === 'ready',
    async push(lane, jobs, weight = 1) {
      const [first] = jobs;
      // A window is one tenant's.
      if (first && jobs.every(({ tenantId }) => tenantId === first.tenantId)) {
        await append(lane, first.tenantId, jobs, weight);
        return;
      }
      const tenants = Map.groupBy(jobs, ({ tenantId }) => tenantId);
      await Promise.all([...tenants].map(([tenantId, own]) => append(lane, tenantId, own, weight)));
    },
  };
}
