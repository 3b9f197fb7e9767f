import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import type { Lane } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { jobIdOf } from '../../src/queue/entry.ts';
import { createFeeder, type Feeder, type FeederOptions } from '../../src/queue/feeder.ts';
import { createQueueStats } from '../../src/queue/stats.ts';
import { readDepth, visitBacklogs } from '../../src/repositories/backlog.ts';
import { startBacklog, type TestBacklog } from '../support/backlog.ts';
import { eventually } from '../support/eventually.ts';
import { startQueue, type TestQueue, uuid } from '../support/queue.ts';

let backlog: TestBacklog;
let queue: TestQueue;
let services: Feeder['service'][] = [];

beforeAll(async () => {
  backlog = await startBacklog();
});
afterAll(() => backlog.stop());
beforeEach(async () => {
  queue = await startQueue();
  // Each test has the backlog for itself: a sweep looks at all of it.
  await backlog.sql`truncate tenants cascade`;
});
afterEach(async () => {
  await Promise.all(services.map((service) => service.stop()));
  services = [];
  await queue.stop();
});

function feederWith(over: Partial<FeederOptions> = {}): Feeder {
  const { database } = backlog;
  const { producer, logger } = queue;
  const feeder = createFeeder({
    database,
    producer,
    clock: systemClock,
    logger,
    windows: { ingest: 4, chat: 4 },
    sweepMs: 50,
    ...over,
  });
  services.push(feeder.service);
  return feeder;
}

/** Ids of the jobs in a tenant's stream, in order. */
async function streamed(tenantId: string, lane: Lane = 'ingest'): Promise<string[]> {
  const entries = await queue.admin.xrange(queue.keys.stream(lane, tenantId), '-', '+');
  return entries.map(([, fields]) => jobIdOf(fields[1] ?? ''));
}

describe('a window of the backlog', () => {
  test('is handed out by priority, then by time, and no more than it holds', async () => {
    const tenant = await backlog.tenant();
    const [late, low, urgent, first, second] = await backlog.tasks(tenant, [
      { runIn: -1 },
      { priority: 0, runIn: -100 },
      { priority: 9 },
      { runIn: -60 },
      { runIn: -30 },
    ]);
    const feeder = feederWith();
    expect(await feeder.feed('ingest', tenant)).toBe(4);
    expect(await streamed(tenant)).toEqual([urgent, first, second, late].map(String));
    expect(await feeder.feed('ingest', tenant)).toBe(0);
    await backlog.end('tasks', [String(first)]);
    expect(await feeder.feed('ingest', tenant)).toBe(1);
    expect((await streamed(tenant)).at(-1)).toBe(String(low));
  });

  test('counts what runs, and leaves delayed tasks and other tenants alone', async () => {
    const [tenant, other] = [await backlog.tenant(), await backlog.tenant()];
    const [, waiting] = await backlog.tasks(tenant, [
      { status: 'running', leasedFor: 60 },
      {},
      { runIn: 3_600 },
      { status: 'failed' },
    ]);
    await backlog.tasks(other, [{}]);
    const feeder = feederWith({ windows: { ingest: 2, chat: 1 } });
    expect(await feeder.feed('ingest', tenant)).toBe(1);
    expect(await streamed(tenant)).toEqual([String(waiting)]);
    expect(await streamed(other)).toEqual([]);
  });

  test('is never overfilled by feeders at the same time', async () => {
    const tenant = await backlog.tenant();
    await backlog.manyTasks(tenant, 100);
    const feeders = Array.from({ length: 3 }, () => feederWith({ windows: { ingest: 10, chat: 1 } }));
    const counts = await Promise.all([...feeders, ...feeders].map((feeder) => feeder.feed('ingest', tenant)));
    expect(counts.reduce((sum, count) => sum + count)).toBe(10);
    expect(await backlog.handedOut(tenant)).toHaveLength(10);
    expect(new Set(await streamed(tenant)).size).toBe(10);
  });

  test('carries the tenant’s weight', async () => {
    const tenant = await backlog.tenant({ weight: 2.5 });
    await backlog.tasks(tenant, [{}]);
    await feederWith().feed('ingest', tenant);
    const [entry] = await queue.admin.xrange(queue.keys.stream('ingest', tenant), '-', '+');
    expect(entry?.[1][1]).toStartWith('1 2.5 ');
  });

  test('decides, by the weights that tenants have in `tenant_load`, in which order a worker takes their tasks', async () => {
    await queue.stop();
    queue = await startQueue({ partitions: 1 });
    const [light, heavy] = [await backlog.tenant({ weight: 1 }), await backlog.tenant({ weight: 3 })];
    const feeder = feederWith({ windows: { ingest: 60, chat: 4 } });
    for (const tenant of [light, heavy]) {
      await backlog.manyTasks(tenant, 60);
      await feeder.feed('ingest', tenant);
    }
    const worker = await queue.worker('a', { concurrency: 1 });
    worker.finishAll();
    await worker.delivered(40);
    const taken = worker.tenants().slice(0, 40);
    // 30 of 40, but for what was taken before the second tenant's turn came.
    expect(Math.abs(taken.filter((tenant) => tenant === heavy).length - 30)).toBeLessThanOrEqual(2);
  });

  test('has only the oldest unfinished turn of a conversation', async () => {
    const tenant = await backlog.tenant();
    const [one, two, busy] = [
      await backlog.conversation(tenant),
      await backlog.conversation(tenant),
      await backlog.conversation(tenant),
    ];
    const first = await backlog.turn(tenant, one);
    const second = await backlog.turn(tenant, one);
    const other = await backlog.turn(tenant, two);
    await backlog.turn(tenant, busy, 'running');
    await backlog.turn(tenant, busy);
    const feeder = feederWith();
    expect(await feeder.feed('chat', tenant)).toBe(2);
    expect((await streamed(tenant, 'chat')).sort()).toEqual([first, other].sort());
    expect(await feeder.feed('chat', tenant)).toBe(0);
    await backlog.end('turns', [first]);
    expect(await feeder.feed('chat', tenant)).toBe(1);
    expect(await streamed(tenant, 'chat')).toContain(second);
  });
});

describe('nudges and the sweep', () => {
  test('a nudge hands out soon, even from inside a transaction and another tenant’s scope', async () => {
    const tenant = await backlog.tenant();
    const [task] = await backlog.tasks(tenant, [{}]);
    const feeder = feederWith({ sweepMs: 3_600_000 });
    await feeder.service.start();
    await runAs({ tenantId: uuid(), userId: uuid(), traceId: newTraceId() }, () =>
      backlog.database.tenant(async (sql) => {
        await sql`select 1`;
        for (let i = 0; i < 100; i++) feeder.nudge('ingest', tenant);
      }),
    );
    await eventually('it is in the stream', async () => (await streamed(tenant)).length === 1);
    expect(await streamed(tenant)).toEqual([String(task)]);
  });

  test('many nudges for one tenant are few feeds', async () => {
    const tenant = await backlog.tenant();
    await backlog.manyTasks(tenant, 3);
    let feeds = 0;
    const database = {
      ...backlog.database,
      system: ((fn) => {
        feeds++;
        return backlog.database.system(fn);
      }) as typeof backlog.database.system,
    };
    const feeder = feederWith({ database, sweepMs: 3_600_000 });
    for (let i = 0; i < 1_000; i++) feeder.nudge('ingest', tenant);
    await feeder.service.start();
    await eventually('all are in the stream', async () => (await streamed(tenant)).length === 3);
    await feeder.service.stop();
    // One by the nudges, one page of the sweep for each lane, and what the sweep found meanwhile.
    expect(feeds).toBeLessThanOrEqual(5);
  });

  test('a finish asks for more only once few enough wait for a worker', async () => {
    const tenant = await backlog.tenant();
    await backlog.manyTasks(tenant, 3);
    const feeder = feederWith({ sweepMs: 3_600_000, windows: { ingest: 8, chat: 1 } });
    await feeder.service.start();
    await eventually('the first sweep has handed all out', async () => (await streamed(tenant)).length === 3);
    await backlog.tasks(tenant, [{}]);
    feeder.finished('ingest', tenant, 3);
    const other = await backlog.tenant();
    await backlog.tasks(other, [{}]);
    feeder.finished('ingest', other, 0);
    // Nudges are answered in their order.
    await eventually('the other tenant is fed', async () => (await streamed(other)).length === 1);
    expect(await streamed(tenant)).toHaveLength(3);
    feeder.finished('ingest', tenant, 2);
    await eventually('the next one follows', async () => (await streamed(tenant)).length === 4);
  });

  test('the sweep finds what nobody nudged for, in both lanes, and delays that have ended', async () => {
    const tenants = await Promise.all(Array.from({ length: 5 }, () => backlog.tenant()));
    for (const tenant of tenants) {
      await backlog.tasks(tenant, [{}, { runIn: 3_600 }]);
      await backlog.turn(tenant, await backlog.conversation(tenant));
    }
    await feederWith().service.start();
    await eventually('all that is due is handed out', async () => {
      const counts = await Promise.all(tenants.flatMap((tenant) => [streamed(tenant), streamed(tenant, 'chat')]));
      return counts.every((ids) => ids.length === 1);
    });
    await backlog.sql`update tasks set run_at = now() where handed_out_at is null`;
    await eventually('the delayed ones follow', async () => {
      const counts = await Promise.all(tenants.map((tenant) => streamed(tenant)));
      return counts.every((ids) => ids.length === 2);
    });
  });

  test('pages through the backlogs, and tells which tenants have something due and room', async () => {
    const tenants = (await Promise.all(Array.from({ length: 7 }, () => backlog.tenant()))).sort();
    const [delayed = '', full = '', ended = ''] = tenants;
    for (const tenant of tenants) {
      const status = tenant === ended ? 'succeeded' : 'queued';
      await backlog.tasks(tenant, [{ status, runIn: tenant === delayed ? 60 : 0 }]);
    }
    await backlog.tasks(full, [{ handedOut: -1 }, { status: 'running', handedOut: -1, leasedFor: 60 }]);
    const visit = (after: string, limit: number) =>
      backlog.database.system((sql) => visitBacklogs(sql, 'ingest', { after, limit, window: 2 }));
    const first = await visit('00000000-0000-0000-0000-000000000000', 4);
    const rest = await visit(first.at(-1)?.tenantId ?? '', 4);
    expect([...first, ...rest]).toEqual(
      tenants
        .filter((id) => id !== ended)
        .map((tenantId) => ({ tenantId, due: tenantId !== delayed && tenantId !== full })),
    );
  });

  test('nothing is marked while Redis is away, and all of it is handed out when it is back', async () => {
    const tenant = await backlog.tenant();
    await backlog.tasks(tenant, [{}]);
    let isReady = false;
    const producer = { push: queue.producer.push, isReady: () => isReady };
    const feeder = feederWith({ producer });
    expect(await feeder.feed('ingest', tenant)).toBe(0);
    expect(await backlog.handedOut(tenant)).toEqual([]);
    await feeder.service.start();
    isReady = true;
    await eventually('it is in the stream', async () => (await streamed(tenant)).length === 1);
  });

  test('a producer whose Redis has gone says so', async () => {
    expect(queue.producer.isReady()).toBe(true);
    queue.redis.server().kill();
    await eventually('it noticed', () => !queue.producer.isReady());
  });

  test('the service may be started and stopped in any state and order', async () => {
    const { service } = feederWith();
    await service.stop();
    await Promise.all([service.start(), service.start()]);
    await Promise.all([service.stop(), service.stop()]);
    await service.start();
  });
});

test('the queue’s length and age are in the metrics', async () => {
  const tenant = await backlog.tenant();
  await backlog.tasks(tenant, [{ runIn: -100 }, { runIn: -50, handedOut: -50 }, { runIn: 500 }]);
  await backlog.turn(tenant, await backlog.conversation(tenant));
  const depth = await backlog.database.system((sql) => readDepth(sql, 'ingest'));
  expect(depth.unfinished).toBe(3);
  expect(depth.oldestSeconds).toBeWithin(100, 130);
  const metrics = createMetrics();
  const stats = createQueueStats({ database: backlog.database, metrics, clock: systemClock, logger: queue.logger });
  services.push(stats);
  await stats.start();
  await eventually('they are set', async () => (await metrics.registry.metrics()).includes('queue="chat"'));
  const text = await metrics.registry.metrics();
  expect(text).toMatch(/dreamhub_queue_length\{queue="ingest"[^}]*\} 3\n/);
  expect(text).toMatch(/dreamhub_queue_length\{queue="chat"[^}]*\} 1\n/);
  expect(text).toMatch(/dreamhub_queue_oldest_seconds\{queue="ingest"[^}]*\} 1\d\d/);
});
