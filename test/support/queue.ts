/** The queue's Redis side for tests: a private server, jobs, workers whose handlers the test ends, and ways to break it. */
import { type Delivery, type Job, type Lane, PAYLOAD_VERSION } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createConsumerGroup } from '../../src/queue/consumer-group.ts';
import type { Poison } from '../../src/queue/deliveries.ts';
import { createDispatcher, type Dispatcher, type DispatcherOptions } from '../../src/queue/dispatcher.ts';
import { createProducer } from '../../src/queue/producer.ts';
import { loadScripts } from '../../src/queue/scripts.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { startAnyRedis } from './any-redis.ts';

export const uuid = () => Bun.randomUUIDv7();

export function jobFor(tenantId: string, lane: Lane = 'ingest'): Job {
  return {
    v: PAYLOAD_VERSION,
    lane,
    tenantId,
    userId: uuid(),
    id: uuid(),
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  };
}

export const jobsFor = (tenantId: string, count: number, lane: Lane = 'ingest') =>
  Array.from({ length: count }, () => jobFor(tenantId, lane));

export type TestQueue = Awaited<ReturnType<typeof startQueue>>;

export async function startQueue({ partitions = 2 }: { partitions?: number } = {}) {
  const redis = await startAnyRedis();
  const logger = silentLogger;
  const clients = createRedisClients({ url: redis.url, logger });
  const keys = createKeys({ partitions });
  const producer = createProducer({ clients, keys });
  const admin = clients.reader('test');
  const run = loadScripts(admin);
  // A cluster's clients don't queue what comes before they know its servers.
  await clients.info();
  const workers: Dispatcher[] = [];

  return {
    redis,
    clients,
    keys,
    producer,
    admin,
    logger,

    /** The scripts as another consumer would call them. */
    consumer: (name: string, lane: Lane = 'ingest') => createConsumerGroup({ run, keys, lane, consumer: name }),

    /** A worker that is started; `over` changes its options. */
    async worker(consumer: string, over: Partial<DispatcherOptions> = {}) {
      const script = recordingHandlers();
      const dispatcher = createDispatcher({
        clients,
        keys,
        producer,
        consumer,
        logger,
        clock: systemClock,
        lane: 'ingest',
        concurrency: 4,
        tenantConcurrency: 4,
        visibilityMs: 60_000,
        pollMs: 50,
        drainMs: 50,
        ...script.handlers,
        ...over,
      });
      workers.push(dispatcher);
      await dispatcher.start();
      return { ...script, dispatcher };
    },

    /** Consumer, deliveries and idle time of what is pending in a tenant's stream. */
    async pending(tenantId: string, lane: Lane = 'ingest') {
      const rows = (await admin.xpending(keys.stream(lane, tenantId), 'workers', '-', '+', 1_000)) as [
        string,
        string,
        number,
        number,
      ][];
      return rows.map(([id, consumer, idle, deliveries]) => ({ id, consumer, idle, deliveries }));
    },

    /** Lets an entry look as if nobody had touched it for so long. */
    async age(tenantId: string, id: string, idleMs: number, lane: Lane = 'ingest') {
      const stream = keys.stream(lane, tenantId);
      const [row] = (await admin.xpending(stream, 'workers', id, id, 1)) as [string, string, number, number][];
      if (!row) throw new Error(`${id} is not pending`);
      await admin.xclaim(stream, 'workers', row[1], 0, id, 'IDLE', idleMs, 'RETRYCOUNT', row[3], 'JUSTID');
    },

    /** Ends the connections of this name, as a broken network would. */
    async cutConnections(name: string): Promise<number> {
      const list = String(await admin.client('LIST'));
      const ids = list
        .split('\n')
        .filter((line) => line.includes(` name=${name} `))
        .map((line) => /^id=(\d+)/.exec(line)?.[1] ?? '');
      for (const id of ids) await admin.client('KILL', 'ID', id);
      return ids.length;
    },

    allKeys: async () => (await redis.everywhere('KEYS', '*')).flat(),

    async stop() {
      await Promise.all(workers.map((worker) => worker.stop()));
      await clients.close();
      await redis.stop();
    },
  };
}

/** Handlers that remember what they were given and end when the test says so; `auto` ends everything at once. */
function recordingHandlers({ auto = false }: { auto?: boolean } = {}) {
  const deliveries: Delivery[] = [];
  const poison: Poison[] = [];
  const acknowledged: string[] = [];
  const open = new Map<string, { resolve(): void; reject(error: Error): void; signal: AbortSignal }>();
  let isAuto = auto;
  let waiting: { holds(): boolean; resolve(): void }[] = [];

  function changed(): void {
    for (const { resolve } of waiting.filter(({ holds }) => holds())) resolve();
    waiting = waiting.filter(({ holds }) => !holds());
  }

  return {
    deliveries,
    poison,
    acknowledged,
    jobIds: () => deliveries.map(({ job }) => job.id),
    tenants: () => deliveries.map(({ job }) => job.tenantId),
    openIds: () => [...open.keys()],
    signalOf: (jobId: string) => open.get(jobId)?.signal,
    until: (holds: () => boolean): Promise<void> =>
      holds() ? Promise.resolve() : new Promise((resolve) => waiting.push({ holds, resolve })),
    delivered(count: number): Promise<void> {
      return this.until(() => deliveries.length >= count);
    },
    finish: (jobId: string) => open.get(jobId)?.resolve(),
    fail: (jobId: string) => open.get(jobId)?.reject(new Error('the test lets it fail')),
    /** Ends what runs and everything that comes. */
    finishAll() {
      isAuto = true;
      for (const { resolve } of open.values()) resolve();
    },
    handlers: {
      handle(delivery: Delivery, signal: AbortSignal): Promise<void> {
        deliveries.push(delivery);
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        open.set(delivery.job.id, { resolve, reject, signal });
        signal.addEventListener('abort', changed);
        if (isAuto) resolve();
        changed();
        return promise.finally(() => open.delete(delivery.job.id));
      },
      async onPoison(found: Poison): Promise<void> {
        poison.push(found);
        changed();
      },
      onAcknowledged(tenantId: string): void {
        acknowledged.push(tenantId);
        changed();
      },
    },
  };
}
