import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { runAs, scopeIfAny } from '../../src/kernel/context.ts';
import { createProducer } from '../../src/queue/producer.ts';
import { createRedisClients, type RedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { createRandom } from '../support/chaos-random.ts';
import { eventually } from '../support/eventually.ts';
import { jobFor, jobsFor, startQueue, type TestQueue, uuid } from '../support/queue.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const SEED = Number(process.env['SEED'] ?? 20261122);
const NEVER_MS = 3_600_000;
const NO_CAPS = { own: 1_000, total: 0 };

let queue: TestQueue;
beforeEach(async () => {
  queue = await startQueue({ partitions: 1 });
});
afterEach(() => queue.stop());

async function calls(command: string): Promise<number> {
  const [info] = await queue.redis.everywhere('INFO', 'commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(String(info))?.[1] ?? 0);
}

const nothingLeft = () => eventually('no key is left', async () => (await queue.allKeys()).length === 0);

function pushOf(tenant: string, count: number) {
  const payloads = jobsFor(tenant, count).map(({ id }) => `1 1 ${tenant} ${tenant} ${id} `);
  return { stream: queue.keys.stream('ingest', tenant), maxLength: 10_000, payloads };
}

describe('a worker beside the producer', () => {
  test('is given what it has room for by the call that pushes it, and nobody is rung for', async () => {
    const worker = await queue.worker('a', { pollMs: NEVER_MS });
    worker.finishAll();
    // It is not idle while it looks for what stayed idle: then it is rung for like any other.
    await eventually('a job was handed over', async () => {
      const [rung, delivered] = [await calls('spublish'), worker.deliveries.length];
      const job = jobFor(uuid());
      await queue.producer.push('ingest', [job]);
      await worker.delivered(delivered + 1);
      expect(worker.deliveries[delivered]).toMatchObject({ job, deliveries: 1, weight: 1 });
      return (await calls('spublish')) === rung;
    });
    await nothingLeft();
  });

  test('takes over no more of a tenant than its cap, and no more than it has slots', async () => {
    const worker = await queue.worker('a', { concurrency: 5, tenantConcurrency: 3, pollMs: NEVER_MS });
    for (let round = 0; round < 10; round++) {
      await worker.until(() => worker.dispatcher.busy() === 0);
      await nothingLeft();
      const before = worker.deliveries.length;
      // Handed over as a whole, or in part with the rest for the next who is free.
      const each = round % 2 === 0 ? 3 : 5;
      const tenants = [uuid(), uuid(), uuid()];
      const finished = new Set<string>();
      await Promise.all(tenants.map((tenant) => queue.producer.push('ingest', jobsFor(tenant, each))));
      for (let ended = 0; ended < 3 * each; ended++) {
        await worker.delivered(before + Math.min(3 * each, ended + 5));
        expect(worker.dispatcher.busy()).toBeLessThanOrEqual(5);
        const open = worker.deliveries.filter(({ job }) => worker.openIds().includes(job.id) && !finished.has(job.id));
        for (const tenant of tenants)
          expect(open.filter(({ job }) => job.tenantId === tenant).length).toBeLessThanOrEqual(3);
        const first = open[0]?.job.id ?? '';
        finished.add(first);
        worker.finish(first);
      }
    }
  });

  test('begins what is handed over in no scope, whoever pushes', async () => {
    const scopes: unknown[] = [];
    const worker = await queue.worker('a', { handle: async () => void scopes.push(scopeIfAny()) });
    for (let pushed = 0; pushed < 5; pushed++) {
      await runAs({ tenantId: uuid(), userId: uuid(), traceId: '0' }, () =>
        queue.producer.push('ingest', [jobFor(uuid())]),
      );
      await eventually('it has begun', () => scopes.length === pushed + 1);
    }
    expect(scopes).toEqual(new Array(5).fill(undefined));
    expect(worker.poison).toEqual([]);
  });

  test('is left alone by a producer of other keys on the same connections', async () => {
    const other = createProducer({ clients: queue.clients, keys: createKeys({ prefix: 'other', partitions: 1 }) });
    const worker = await queue.worker('a');
    worker.finishAll();
    const tenant = uuid();
    for (let pushed = 1; pushed <= 10; pushed++) {
      await other.push('ingest', [jobFor(tenant)]);
      await queue.producer.push('ingest', [jobFor(uuid())]);
      await worker.delivered(pushed);
      await worker.until(() => worker.acknowledged.length === pushed);
    }
    expect(worker.tenants()).not.toContain(tenant);
    expect(worker.poison).toEqual([]);
    expect(await queue.admin.xlen(`other:{p0}:q:ingest:${tenant}`)).toBe(10);
  });

  test('loses nothing, and runs nothing beside itself, while it stops and starts', async () => {
    const running = new Set<string>();
    const ended = new Set<string>();
    const handle = async ({ job }: { job: { id: string } }) => {
      expect(running.has(job.id)).toBe(false);
      running.add(job.id);
      await Promise.resolve();
      running.delete(job.id);
      ended.add(job.id);
    };
    const worker = await queue.worker('a', { handle });
    const random = createRandom(SEED);
    const jobs = Array.from({ length: 20 }, uuid).flatMap((tenant) => jobsFor(tenant, 15));
    let restarting: Promise<unknown> = Promise.resolve();
    for (const [index, job] of jobs.entries()) {
      const pushing = queue.producer.push('ingest', [job]);
      if (index % 40 === 20) restarting = Promise.all([worker.dispatcher.stop(), worker.dispatcher.start()]);
      if (random.between(0, 2) > 0) await pushing;
    }
    await restarting;
    await eventually('all have ended', () => jobs.every(({ id }) => ended.has(id)));
    await nothingLeft();
    expect(worker.poison).toEqual([]);
  });
});

describe('a lost answer', () => {
  /** A worker and a producer of one process, whose connections a test can break. */
  async function beside(
    fn: (own: { clients: RedisClients; proxy: Awaited<ReturnType<typeof startTcpProxy>> }) => Promise<void>,
  ) {
    const proxy = await startTcpProxy({ path: queue.redis.server().socketPath });
    const clients = createRedisClients({ url: `redis://127.0.0.1:${proxy.port}`, logger: queue.logger });
    try {
      await fn({ clients, proxy });
    } finally {
      await clients.close();
      await proxy.stop();
    }
  }

  test.each([
    ['the request arrives', { type: 'cut-after-request' }],
    ['half of the answer arrives', { type: 'cut-mid-reply' }],
  ] as const)('where %s: the job is delivered all the same, and nothing stays behind', (_title, mode) =>
    beside(async ({ clients, proxy }) => {
      const producer = createProducer({ clients, keys: queue.keys });
      const worker = await queue.worker('a', { clients, producer, callTimeoutMs: 1_000 });
      const warm = jobFor(uuid());
      await producer.push('ingest', [warm]);
      await worker.delivered(1);
      worker.finishAll();
      await nothingLeft();
      const job = jobFor(uuid());
      await proxy.set(mode);
      // Whether it was pushed, its caller may never learn: what was not is handed out again by the reconciler.
      const pushing = producer.push('ingest', [job]).catch(() => undefined);
      const stream = queue.keys.stream('ingest', job.tenantId);
      await eventually('it was pushed', async () => (await queue.admin.xlen(stream)) > 0);
      expect(worker.jobIds()).not.toContain(job.id);
      await proxy.set({ type: 'pass' });
      await pushing;
      await worker.until(() => worker.jobIds().includes(job.id));
      await nothingLeft();
      await worker.dispatcher.stop();
    }),
  );

  test('is made up for as soon as the worker is connected again', async () => {
    const worker = await queue.worker('a', { pollMs: NEVER_MS });
    const [warm, lost] = [jobFor(uuid()), uuid()];
    await queue.producer.push('ingest', [warm]);
    await worker.delivered(1);
    worker.finishAll();
    await nothingLeft();
    // The same consumer, pushing by another connection: the worker doesn't hear of what it was given.
    const given = await queue.consumer('a').push(0, pushOf(lost, 2), 1);
    expect(given).toHaveLength(1);
    expect(await queue.pending(lost)).toMatchObject([{ consumer: 'a', deliveries: 1 }]);
    expect(await queue.cutConnections('dreamhub-reader-dispatcher-ingest')).toBe(1);
    await worker.until(() => worker.tenants().filter((tenant) => tenant === lost).length === 2);
    await nothingLeft();
  });
});

test('a producer of another process rings: its job is taken long before the next poll', async () => {
  const clients = createRedisClients({ url: queue.redis.url, logger: queue.logger });
  try {
    const producer = createProducer({ clients, keys: queue.keys });
    const worker = await queue.worker('a', { pollMs: NEVER_MS });
    await eventually('the doorbell is listened to', async () => {
      const [counts] = (await queue.redis.everywhere('PUBSUB', 'SHARDNUMSUB', queue.keys.doorbell('ingest', 0))) as [
        [string, number],
      ];
      return counts[1] === 1;
    });
    await producer.push('ingest', [jobFor(uuid())]);
    await worker.delivered(1);
  } finally {
    await clients.close();
  }
});

describe('the script hands over', () => {
  test('nothing while anybody waits, and nothing of a stream that is there already', async () => {
    const [waits, comes] = [uuid(), uuid()];
    await queue.producer.push('ingest', jobsFor(waits, 2));
    const [a, b] = [queue.consumer('a'), queue.consumer('b')];
    expect(await a.push(0, pushOf(comes, 1), 5)).toEqual([]);
    expect((await b.take(0, 9, NO_CAPS, new Map())).entries).toHaveLength(3);
    // Nobody waits any more, but another consumer holds something of it: caps are for a take to look at.
    expect(await a.push(0, pushOf(comes, 1), 5)).toEqual([]);
    expect((await a.take(0, 9, NO_CAPS, new Map())).entries).toHaveLength(1);
  });

  test('the first in order, and leaves the rest to whoever is rung for', async () => {
    const [tenant, other] = [uuid(), uuid()];
    const push = pushOf(tenant, 5);
    const given = await queue.consumer('a').push(0, push, 2);
    expect(given.map(({ payload }) => payload)).toEqual(push.payloads.slice(0, 2));
    expect(given).toMatchObject(new Array(2).fill({ stream: push.stream, deliveries: 1 }));
    // What it was given counts: a tenant that comes now has had nothing yet.
    await queue.producer.push('ingest', jobsFor(other, 2));
    const { entries, ready } = await queue.consumer('b').take(0, 2, NO_CAPS, new Map());
    expect(ready).toBe(2);
    expect(entries.map(({ stream }) => stream)).toEqual(new Array(2).fill(queue.keys.stream('ingest', other)));
    const rest = await queue.consumer('b').take(0, 9, NO_CAPS, new Map());
    expect(rest.entries.map(({ payload }) => payload)).toEqual(push.payloads.slice(2));
  });

  test('with an acknowledgement no trace is left', async () => {
    const given = await queue.consumer('a').push(0, pushOf(uuid(), 3), 3);
    await queue.consumer('a').ack(0, given, false);
    expect(await queue.allKeys()).toEqual([]);
  });
});
