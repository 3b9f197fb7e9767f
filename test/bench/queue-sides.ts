/**
 * The transports, Redis alone, each as a producer and a worker in one process. What all of them do: a batch of jobs goes in by
 * one call; a handler, of which 50 run at once, tells its progress once and ends; a job whose worker died comes again, up to
 * five times, and lies among the dead after that (nothing fails while it is measured: what is measured is being ready for it).
 *
 * BullMQ is as its manual has it, and has one queue without tenants, as fairness among groups is not in its free edition.
 * The bare consumer is one stream and a hash a job: everything that can be sent together is, and nothing is a script.
 * DreamHub takes tenants in fair order and acknowledges only what is still its own. What a job's progress is stays in
 * PostgreSQL (`queue-durable.ts`), so here it is told to whoever listens, as BullMQ's events are; `dreamhub-log` appends it to
 * the task's log instead, as the product does, from which clients resume and which no peer has: a stream and a hash a job.
 */
import { Queue, Worker } from 'bullmq';
import Redis from 'ioredis';
import { chatSession } from '../../actors/chat-session.ts';
import { effect } from '../../actors/effect.ts';
import { uploadPipeline } from '../../actors/upload-pipeline.ts';
import type { Delivery, EventOf, Job } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { runAs } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { done } from '../../src/kernel/outcome.ts';
import { createDispatcher } from '../../src/queue/dispatcher.ts';
import { createProducer } from '../../src/queue/producer.ts';
import { createEventPublisher } from '../../src/realtime/log.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { createTenantActors } from '../../src/workers/tenants.ts';
import { CONCURRENCY, type Kind } from './support/queue.ts';

export interface Side {
  /** Enqueues jobs of one tenant by one call. */
  enqueue(jobs: readonly Job[]): Promise<unknown>;
  /** Resolves once everything that was enqueued is acknowledged. */
  idle(): Promise<void>;
  stopWorking(): Promise<void>;
  close(): Promise<void>;
}

/** Called with the id of each job when its handler begins. */
type Begun = (id: string) => void;

const ATTEMPTS = 5;
const VISIBILITY_MS = 30_000;
const PARTITIONS = 4;

/** Counts what was acknowledged. */
function counter() {
  let left = 0;
  let resolve: (() => void) | undefined;
  return {
    add(count: number): void {
      left += count;
    },
    done(count = 1): void {
      left -= count;
      if (left === 0) resolve?.();
    },
    async zero(): Promise<void> {
      if (left > 0) await new Promise<void>((settle) => (resolve = settle));
    },
  };
}

const pathOf = (url: string) => url.replace(/^unix:(\/\/)?/, '');

async function bullmq(url: string, begun: Begun): Promise<Side> {
  const connection = () => new Redis(pathOf(url), { maxRetriesPerRequest: null });
  const connections = [connection(), connection()] as const;
  const queue = new Queue('bench', {
    connection: connections[0],
    defaultJobOptions: {
      attempts: ATTEMPTS,
      backoff: { type: 'exponential', delay: 1_000 },
      removeOnComplete: true,
      removeOnFail: false,
    },
  });
  const open = counter();
  const worker = new Worker(
    'bench',
    async (job) => {
      begun((job.data as Job).id);
      await job.updateProgress(50);
    },
    { connection: connections[1], concurrency: CONCURRENCY },
  );
  worker.on('completed', () => open.done());
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
  return {
    enqueue(jobs) {
      open.add(jobs.length);
      return queue.addBulk(jobs.map((job) => ({ name: job.lane, data: job })));
    },
    idle: () => open.zero(),
    stopWorking: () => worker.close(),
    async close() {
      await worker.close();
      await queue.close();
      for (const one of connections) one.disconnect();
    },
  };
}

async function bare(url: string, begun: Begun): Promise<Side> {
  const [stream, dead, group, consumer] = ['bench:jobs', 'bench:dead', 'workers', 'worker-1'];
  const state = (id: string) => `bench:job:${id}`;
  const writer = new Redis(pathOf(url), { enableAutoPipelining: true });
  const reader = new Redis(pathOf(url), { maxRetriesPerRequest: null });
  await writer.xgroup('CREATE', stream, group, '0', 'MKSTREAM');
  const open = counter();
  let running = 0;
  let freed: (() => void) | undefined;
  let stopping = false;

  async function work(entry: string, job: Job, deliveries: number): Promise<void> {
    if (deliveries > ATTEMPTS) {
      await Promise.all([
        writer.xadd(dead, '*', 'job', JSON.stringify(job)),
        writer.hset(state(job.id), 'state', 'dead'),
      ]);
    } else {
      begun(job.id);
      await writer.hset(state(job.id), 'progress', 50);
    }
    await Promise.all([writer.xack(stream, group, entry), writer.xdel(stream, entry), writer.del(state(job.id))]);
  }

  function begin(entries: readonly [string, string[]][], deliveries: number): void {
    for (const [entry, fields] of entries) {
      const job = JSON.parse(fields[1] ?? '{}') as Job;
      running += 1;
      void writer.hset(state(job.id), 'state', 'active', 'attempts', deliveries);
      void work(entry, job, deliveries).then(() => {
        running -= 1;
        open.done();
        freed?.();
      });
    }
  }

  async function read(): Promise<void> {
    while (!stopping) {
      const free = CONCURRENCY - running;
      if (free === 0) {
        await new Promise<void>((resolve) => (freed = resolve));
        continue;
      }
      const reply = (await reader
        .xreadgroup('GROUP', group, consumer, 'COUNT', free, 'BLOCK', 1_000, 'STREAMS', stream, '>')
        .catch(() => null)) as [string, [string, string[]][]][] | null;
      begin(reply?.[0]?.[1] ?? [], 1);
    }
  }
  const reading = read();
  const claiming = setInterval(async () => {
    const [, entries] = (await writer.xautoclaim(stream, group, consumer, VISIBILITY_MS, '0', 'COUNT', 10)) as [
      string,
      [string, string[]][],
    ];
    begin(entries, 2);
  }, 2_000);

  const stopWorking = async () => {
    stopping = true;
    clearInterval(claiming);
    freed?.();
    await reading;
  };
  return {
    async enqueue(jobs) {
      open.add(jobs.length);
      const pipeline = writer.pipeline();
      for (const job of jobs) {
        pipeline.hset(state(job.id), 'state', 'queued', 'attempts', 0);
        pipeline.xadd(stream, '*', 'job', JSON.stringify(job));
      }
      await pipeline.exec();
    },
    idle: () => open.zero(),
    stopWorking,
    async close() {
      await stopWorking();
      writer.disconnect();
      reader.disconnect();
    },
  };
}

/** The tenants' real actors with the real pipeline, whose effects come back at once. */
function actors(progress: (job: Job) => Promise<unknown>, steps: boolean) {
  const machine = uploadPipeline.provide({
    actors: {
      begin: effect(async ({ job }) => {
        await progress(job);
        return steps ? { attempt: 1 } : done;
      }),
      keepLease: effect(
        (_, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve('lost'))),
      ),
      extract: effect(async () => {}),
      chunk: effect(async () => {}),
      embedBatch: effect(async () => ({ done: 1, total: 1 })),
      publish: effect(async () => done),
    },
  });
  return createTenantActors({ ingestion: { machine }, answering: { machine: chatSession }, logger: silentLogger });
}

async function dreamhub(url: string, begun: Begun, kind: Kind): Promise<Side> {
  const logger = silentLogger;
  const clock = systemClock;
  const clients = createRedisClients({ url, logger });
  // The sides are at one Redis, and each works on its own alone.
  const keys = createKeys({ prefix: kind, partitions: PARTITIONS });
  const producer = createProducer({ clients, keys });
  const publisher = createEventPublisher({ clients, keys, clock, logger, ttlSeconds: 86_400, maxLen: 10_000 });
  await clients.check(5_000);

  async function progress(job: Job): Promise<void> {
    begun(job.id);
    const event: EventOf = {
      type: 'task.progress',
      data: {
        task_id: job.id,
        document_id: job.id,
        status: 'running',
        stage: 'embedding',
        progress: 0.5,
        chunks_done: 1,
        chunks_total: 2,
        attempt: 1,
      },
    };
    if (kind === 'dreamhub-log') await publisher.append([{ topic: `task:${job.id}`, attempt: 1, event }]);
    else await publisher.hint('tenant', event);
  }
  const hasActors = kind === 'dreamhub-actors' || kind === 'dreamhub-pipelines';
  const tenants = hasActors ? actors(progress, kind === 'dreamhub-pipelines') : undefined;
  const dispatcher = createDispatcher({
    clients,
    keys,
    producer,
    lane: 'ingest',
    consumer: 'bench',
    concurrency: CONCURRENCY,
    tenantConcurrency: CONCURRENCY,
    visibilityMs: VISIBILITY_MS,
    maxDeliveries: ATTEMPTS,
    clock,
    logger,
    async handle(delivery: Delivery) {
      if (tenants) {
        await tenants.run(delivery);
        return;
      }
      const { tenantId, userId } = delivery.job;
      await runAs({ tenantId, userId, traceId: '0' }, () => progress(delivery.job));
    },
    onAcknowledged: () => open.done(),
    onPoison: async () => {},
  });
  await dispatcher.start();
  const open = counter();
  const active = Array.from({ length: PARTITIONS }, (_, partition) => keys.active('ingest', partition));
  return {
    enqueue(jobs) {
      open.add(jobs.length);
      return producer.push('ingest', jobs);
    },
    async idle() {
      await open.zero();
      // Handled; what is acknowledged is gone, and with the last entry all keys.
      while ((await Promise.all(active.map((key) => clients.ops.exists(key)))).some((found) => found > 0));
    },
    stopWorking: () => dispatcher.stop(),
    async close() {
      await dispatcher.stop();
      await clients.close();
    },
  };
}

export function openSide(kind: Kind, url: string, begun: Begun): Promise<Side> {
  if (kind === 'bullmq') return bullmq(url, begun);
  if (kind === 'bare') return bare(url, begun);
  return dreamhub(url, begun, kind);
}
