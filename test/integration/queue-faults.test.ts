import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { AppError } from '../../src/kernel/errors.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createProducer } from '../../src/queue/producer.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { eventually } from '../support/eventually.ts';
import { jobFor, jobsFor, startQueue, type TestQueue, uuid } from '../support/queue.ts';

let queue: TestQueue;
beforeEach(async () => {
  queue = await startQueue();
});
afterEach(() => queue.stop());

/** Stands before Redis; `freeze` lets the connections of now hang: open, and nothing comes or goes any more. */
async function startProxy(socketPath: string) {
  const path = `${socketPath}.proxy`;
  const pairs = new Set<[Socket, Socket]>();
  const frozen = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect(socketPath);
    const pair: [Socket, Socket] = [client, upstream];
    pairs.add(pair);
    const forward = (from: Socket, to: Socket) => {
      from.on('data', (bytes) => {
        if (!frozen.has(client)) to.write(bytes);
      });
      from.on('error', () => undefined);
      from.on('close', () => {
        if (!frozen.has(client)) to.destroy();
      });
    };
    forward(client, upstream);
    forward(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    url: `unix:${path}`,
    freeze() {
      for (const [client] of pairs) frozen.add(client);
    },
    connections: () => pairs.size,
    async stop() {
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

describe('a connection that breaks', () => {
  test('is made again, and what a lost reply had brought is delivered again', async () => {
    const tenant = uuid();
    const [known, lost] = jobsFor(tenant, 2);
    if (!known || !lost) throw new Error('two jobs');
    await queue.producer.push('ingest', [known]);
    const worker = await queue.worker('a', { concurrency: 2 });
    await worker.delivered(1);
    // The same consumer, asked by somebody else: the worker doesn't hear of what it was given.
    await queue.producer.push('ingest', [lost]);
    const partition = queue.keys.partitionOf(tenant);
    await queue.consumer('a').take(partition, 9, { own: 9, total: 0 }, new Map());
    const missed = await queue.pending(tenant);
    expect(missed).toHaveLength(2);
    expect(await queue.cutConnections('dreamhub-reader-dispatcher-ingest')).toBe(1);
    await worker.until(() => worker.jobIds().includes(lost.id));
    expect(worker.jobIds().filter((id) => id === known.id)).toHaveLength(1);
    worker.finishAll();
    await eventually('both are acknowledged', async () => (await queue.allKeys()).length === 0);
  });

  test('does not make more recovered entries run than there are slots', async () => {
    const tenant = uuid();
    await queue.producer.push('ingest', jobsFor(tenant, 10));
    const partition = queue.keys.partitionOf(tenant);
    await queue.consumer('a').take(partition, 10, { own: 10, total: 0 }, new Map());
    const worker = await queue.worker('a', { concurrency: 3 });
    await worker.delivered(3);
    for (let ended = 0; ended < 10; ended++) {
      expect(worker.dispatcher.busy()).toBeLessThanOrEqual(3);
      worker.finish(worker.openIds()[0] ?? '');
      await worker.delivered(Math.min(10, ended + 4));
    }
    await eventually('all are acknowledged', async () => (await queue.allKeys()).length === 0);
  });

  test('breaks again and again without losing or repeating the end of a job', async () => {
    const tenants = Array.from({ length: 5 }, uuid);
    const ended = new Map<string, number>();
    const worker = await queue.worker('a', {
      concurrency: 8,
      visibilityMs: 2_000,
      handle: async ({ job }) => void ended.set(job.id, (ended.get(job.id) ?? 0) + 1),
    });
    const jobs = tenants.flatMap((tenant) => jobsFor(tenant, 100));
    for (const job of jobs) {
      await queue.producer.push('ingest', [job]);
      if (ended.size % 50 === 49) await queue.cutConnections('dreamhub-reader-dispatcher-ingest');
    }
    await eventually('all have ended', () => jobs.every(({ id }) => ended.has(id)));
    await eventually('all are acknowledged', async () => (await queue.allKeys()).length === 0);
    expect(worker.poison).toEqual([]);
  });

  test('half-open, is given up after the deadline, and work goes on', async () => {
    const proxy = await startProxy(queue.redis.server().socketPath);
    const clients = createRedisClients({ url: proxy.url, logger: silentLogger });
    try {
      const tenant = uuid();
      const worker = await queue.worker('a', { clients, callTimeoutMs: 200, pollMs: 20 });
      const [first] = jobsFor(tenant, 1);
      await queue.producer.push('ingest', first ? [first] : []);
      await worker.delivered(1);
      proxy.freeze();
      const before = proxy.connections();
      await queue.producer.push('ingest', [jobFor(tenant)]);
      await worker.delivered(2);
      expect(proxy.connections()).toBeGreaterThan(before);
      worker.finishAll();
      await eventually('both are acknowledged', async () => (await queue.allKeys()).length === 0);
      await worker.dispatcher.stop();
    } finally {
      await clients.close();
      await proxy.stop();
    }
  });

  test('does not keep a worker from stopping', async () => {
    const proxy = await startProxy(queue.redis.server().socketPath);
    const clients = createRedisClients({ url: proxy.url, logger: silentLogger });
    try {
      const tenant = uuid();
      await queue.producer.push('ingest', jobsFor(tenant, 2));
      const worker = await queue.worker('a', { clients, callTimeoutMs: 200 });
      await worker.delivered(2);
      proxy.freeze();
      worker.finishAll();
      await worker.dispatcher.stop();
      expect(worker.dispatcher.busy()).toBe(0);
    } finally {
      await clients.close();
      await proxy.stop();
    }
  });
});

describe('an entry that is given back again and again', () => {
  /** Its handler rejects with the error until it was given `times` times. */
  async function givenBack(error: Error, times: number) {
    const job = jobFor(uuid());
    let deliveries = 0;
    const ended = Promise.withResolvers<void>();
    const worker = await queue.worker('a', {
      visibilityMs: 100,
      maxDeliveries: 3,
      async handle() {
        deliveries += 1;
        if (deliveries < times) throw error;
        ended.resolve();
      },
    });
    await queue.producer.push('ingest', [job]);
    await Promise.race([ended.promise, worker.until(() => worker.poison.length > 0)]);
    await eventually('nothing is left', async () => (await queue.allKeys()).length === 0);
    return { deliveries, poison: worker.poison };
  }

  test('because what it needs is away, is not poison', async () => {
    const { deliveries, poison } = await givenBack(new AppError('unavailable', 'The database is not available.'), 8);
    expect(poison).toEqual([]);
    expect(deliveries).toBe(8);
  });

  test('for a reason of its own, is', async () => {
    const { deliveries, poison } = await givenBack(new Error('it cannot be written down'), 8);
    expect(poison).toMatchObject([{ reason: 'deliveries', delivery: { deliveries: 4 } }]);
    expect(deliveries).toBe(3);
  });
});

describe('Redis that loses something', () => {
  test('everything: new jobs are delivered, and what runs ends without harm', async () => {
    const tenant = uuid();
    await queue.producer.push('ingest', jobsFor(tenant, 6));
    const worker = await queue.worker('a', { concurrency: 2 });
    await worker.delivered(2);
    await queue.admin.flushall();
    await queue.admin.script('FLUSH');
    worker.finishAll();
    await worker.until(() => worker.acknowledged.length === 2);
    const job = jobFor(tenant);
    await queue.producer.push('ingest', [job]);
    await worker.until(() => worker.jobIds().includes(job.id));
    await eventually('no key is left', async () => (await queue.allKeys()).length === 0);
    expect(worker.deliveries).toHaveLength(3);
  });

  test('a group: it is made again and what was not acknowledged comes again', async () => {
    const tenant = uuid();
    const jobs = jobsFor(tenant, 4);
    await queue.producer.push('ingest', jobs);
    const worker = await queue.worker('a', { concurrency: 2 });
    await worker.delivered(2);
    await queue.admin.xgroup('DESTROY', queue.keys.stream('ingest', tenant), 'workers');
    worker.finishAll();
    await worker.until(() => jobs.every(({ id }) => worker.jobIds().includes(id)));
    await eventually('no key is left', async () => (await queue.allKeys()).length === 0);
  });

  test('a stream: its name disappears from all sets', async () => {
    const tenant = uuid();
    await queue.producer.push('ingest', jobsFor(tenant, 4));
    await queue.admin.del(queue.keys.stream('ingest', tenant));
    await queue.worker('a');
    await eventually('no key is left', async () => (await queue.allKeys()).length === 0);
  });

  test('a place in the ready set: the walk over the active streams puts it back', async () => {
    const tenant = uuid();
    await queue.producer.push('ingest', jobsFor(tenant, 2));
    await queue.admin.del(queue.keys.ready('ingest', queue.keys.partitionOf(tenant)));
    const worker = await queue.worker('a');
    await worker.delivered(2);
  });
});

test('a stream never outgrows its memory guard by much, and nothing that is delivered suffers from it', async () => {
  const tenant = uuid();
  const producer = createProducer({ clients: queue.clients, keys: queue.keys, maxStreamLength: 200 });
  for (let i = 0; i < 10; i++) await producer.push('ingest', jobsFor(tenant, 100));
  // Whole nodes of the stream are dropped, so it stays within one of them.
  expect(await queue.admin.xlen(queue.keys.stream('ingest', tenant))).toBeLessThanOrEqual(300);
  const worker = await queue.worker('a');
  worker.finishAll();
  await eventually('no key is left', async () => (await queue.allKeys()).length === 0);
});
