import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import type { Delivery } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { Service } from '../../src/kernel/service.ts';
import { jobIdOf } from '../../src/queue/entry.ts';
import { createFeeder } from '../../src/queue/feeder.ts';
import { createReconciler, type ReconcilerOptions } from '../../src/queue/reconciler.ts';
import { startBacklog, type TestBacklog } from '../support/backlog.ts';
import { eventually } from '../support/eventually.ts';
import { startQueue, type TestQueue } from '../support/queue.ts';

let backlog: TestBacklog;
let queue: TestQueue;
let services: Service[] = [];

beforeAll(async () => {
  backlog = await startBacklog();
});
afterAll(() => backlog.stop());
beforeEach(async () => {
  queue = await startQueue();
  await backlog.sql`truncate tenants cascade`;
});
afterEach(async () => {
  await Promise.all(services.map((service) => service.stop()));
  services = [];
  await queue.stop();
});

function reconcilerWith(over: Partial<ReconcilerOptions> = {}) {
  const { producer, clients, keys, logger } = queue;
  const reconciler = createReconciler({
    database: backlog.database,
    producer,
    clients,
    keys,
    logger,
    clock: systemClock,
    everyMs: 50,
    graceMs: 5_000,
    ...over,
  });
  services.push(reconciler);
  return reconciler;
}

async function streamed(tenantId: string): Promise<string[]> {
  const entries = await queue.admin.xrange(queue.keys.stream('ingest', tenantId), '-', '+');
  return entries.map(([, fields]) => jobIdOf(fields[1] ?? ''));
}

test('hands out again what is handed out, unattended, and in no stream', async () => {
  const tenant = await backlog.tenant();
  const [missing, , , expired, withdrawn] = await backlog.tasks(tenant, [
    { handedOut: -60 },
    { handedOut: -1 },
    { handedOut: -60, status: 'running', leasedFor: 60 },
    { handedOut: -60, status: 'running', leasedFor: -1 },
    { status: 'running', leasedFor: -1 },
    { handedOut: -60, status: 'succeeded' },
    {},
  ]);
  const reconciler = reconcilerWith();
  expect(await reconciler.reconcile('ingest')).toEqual({ repaired: 3, finished: true });
  expect((await streamed(tenant)).sort()).toEqual([missing, expired, withdrawn].map(String).sort());
  expect(await reconciler.reconcile('ingest')).toEqual({ repaired: 0, finished: true });
});

test('leaves alone what a stream holds, delivered or not', async () => {
  const tenant = await backlog.tenant();
  await backlog.manyTasks(tenant, 10);
  const { producer, logger } = queue;
  const feeder = createFeeder({
    database: backlog.database,
    producer,
    clock: systemClock,
    logger,
    windows: { ingest: 10, chat: 1 },
  });
  await feeder.feed('ingest', tenant);
  await queue.consumer('a').take(queue.keys.partitionOf(tenant), 4, { own: 4, total: 0 }, new Map());
  await backlog.sql`update tasks set handed_out_at = now() - interval '1 minute'`;
  expect(await reconcilerWith().reconcile('ingest')).toEqual({ repaired: 0, finished: true });
  expect(await streamed(tenant)).toHaveLength(10);
});

test('only one of several reconcilers hands a row out again', async () => {
  const tenant = await backlog.tenant();
  await backlog.manyTasks(tenant, 200, { handedOut: -60 });
  const reports = await Promise.all(Array.from({ length: 4 }, () => reconcilerWith().reconcile('ingest')));
  expect(reports.reduce((sum, { repaired }) => sum + repaired, 0)).toBe(200);
  expect(await streamed(tenant)).toHaveLength(200);
});

test('walks page by page through more than one page', async () => {
  const tenants = await Promise.all(Array.from({ length: 3 }, () => backlog.tenant()));
  for (const tenant of tenants) await backlog.manyTasks(tenant, 900, { handedOut: -60 });
  await reconcilerWith().start();
  await eventually('all are in their streams', async () => {
    const lengths = await Promise.all(tenants.map((tenant) => queue.admin.xlen(queue.keys.stream('ingest', tenant))));
    return lengths.every((length) => length === 900);
  });
});

test('gives a stream back its group and its places', async () => {
  const tenant = await backlog.tenant();
  await backlog.tasks(tenant, [{ handedOut: -60 }]);
  const reconciler = reconcilerWith();
  await reconciler.reconcile('ingest');
  await backlog.sql`update tasks set handed_out_at = now() - interval '1 minute'`;
  const { keys } = queue;
  const partition = keys.partitionOf(tenant);
  await queue.admin.xgroup('DESTROY', keys.stream('ingest', tenant), 'workers');
  await queue.admin.del(
    keys.active('ingest', partition),
    keys.ready('ingest', partition),
    keys.fairness('ingest', partition),
  );
  expect(await reconciler.reconcile('ingest')).toEqual({ repaired: 0, finished: true });
  const worker = await queue.worker('a');
  await worker.delivered(1);
});

describe('the whole way', () => {
  /** A handler that settles rows as the services do: fenced by the status, once. */
  function settling() {
    const settled: string[] = [];
    return {
      settled,
      async handle({ job }: Delivery) {
        const rows = await backlog.sql`
          update tasks set status = 'succeeded', finished_at = now() where id = ${job.id} and status = 'queued' returning 1`;
        if (rows.length > 0) settled.push(job.id);
      },
    };
  }

  test.each([
    ['nothing', async () => undefined],
    ['FLUSHALL', () => queue.admin.flushall()],
    ['deleted streams', async () => void (await queue.admin.del(...(await queue.admin.keys('*:q:ingest:*')), 'x'))],
    [
      'destroyed groups',
      async () => {
        for (const stream of await queue.admin.keys('*:q:ingest:*'))
          await queue.admin.xgroup('DESTROY', stream, 'workers').catch(() => 0);
      },
    ],
    [
      'cut connections',
      async () => {
        for (const name of ['reader-dispatcher-ingest', 'producer', 'ops', 'subscriber-doorbell-ingest']) {
          await queue.cutConnections(`dreamhub-${name}`);
        }
      },
    ],
  ])('%s in the middle: every task ends, once, and nothing is left in Redis', async (_title, breakIt) => {
    const tenants = await Promise.all(Array.from({ length: 4 }, () => backlog.tenant()));
    for (const tenant of tenants) await backlog.manyTasks(tenant, 60);
    const { producer, logger } = queue;
    const feeder = createFeeder({
      database: backlog.database,
      producer,
      clock: systemClock,
      logger,
      windows: { ingest: 8, chat: 1 },
      sweepMs: 50,
    });
    const { settled, handle } = settling();
    services.push(feeder.service, reconcilerWith({ graceMs: 200 }));
    for (const service of services) await service.start();
    const onAcknowledged = (tenantId: string, undelivered: number) => feeder.finished('ingest', tenantId, undelivered);
    await queue.worker('a', { handle, onAcknowledged, visibilityMs: 1_000 });
    await queue.worker('b', { handle, onAcknowledged, visibilityMs: 1_000 });
    for (let blow = 1; blow <= 3; blow++) {
      await eventually('some have ended', () => settled.length >= blow * 40);
      await breakIt();
    }
    await eventually('all have ended', () => settled.length === 240);
    expect(new Set(settled).size).toBe(240);
    await eventually('nothing is left in Redis', async () => (await queue.allKeys()).length === 0);
  });
});
