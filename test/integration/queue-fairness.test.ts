import { afterAll, beforeAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { EntryName } from '../../src/queue/consumer-group.ts';
import { encodeJob, jobIdOf } from '../../src/queue/entry.ts';
import { jobsFor, startQueue, type TestQueue, uuid } from '../support/queue.ts';

let queue: TestQueue;
beforeAll(async () => {
  queue = await startQueue({ partitions: 1 });
});
afterAll(() => queue.stop());

const MOST_SLOTS = 4;
const WEIGHTS = [1, 1, 2, 5] as const;

type Step =
  /** By a producer beside a worker that has so many slots free. */
  | { type: 'push'; tenant: number; count: number; slots: number }
  | { type: 'take'; slots: number }
  | { type: 'ack'; count: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    type: fc.constant('push' as const),
    tenant: fc.integer({ min: 0, max: WEIGHTS.length - 1 }),
    count: fc.integer({ min: 1, max: 12 }),
    slots: fc.integer({ min: 0, max: MOST_SLOTS }),
  }),
  fc.record({ type: fc.constant('take' as const), slots: fc.integer({ min: 1, max: MOST_SLOTS }) }),
  fc.record({ type: fc.constant('ack' as const), count: fc.integer({ min: 1, max: 8 }) }),
);

/** What the scripts must agree with, whatever they are asked in whatever order. */
function createModel(cap: number) {
  const tenants = WEIGHTS.map((weight) => ({
    id: uuid(),
    weight,
    waiting: [] as string[],
    pending: [] as EntryName[],
  }));
  return {
    tenants,
    hasRoom: (tenant: (typeof tenants)[number]) => cap === 0 || tenant.pending.length < cap,
    ofStream: (stream: string) => tenants.find(({ id }) => queue.keys.stream('ingest', id) === stream),
  };
}

async function run(steps: readonly Step[], cap: number): Promise<void> {
  await queue.admin.flushall();
  const { keys, admin } = queue;
  const { tenants, hasRoom, ofStream } = createModel(cap);
  const consumer = queue.consumer('a');
  /** Work that tenants got, by weight, since both of a pair have been waiting without a break. */
  const got = tenants.map(() => tenants.map(() => 0));

  async function check(): Promise<void> {
    const streams = await admin.keys('*:q:*');
    expect(streams.sort()).toEqual(
      tenants
        .filter((t) => t.waiting.length + t.pending.length > 0)
        .map((t) => keys.stream('ingest', t.id))
        .sort(),
    );
    expect((await admin.smembers(keys.active('ingest', 0))).sort()).toEqual(streams);
    const ready = new Set(await admin.zrange(keys.ready('ingest', 0), 0, '-1'));
    for (const tenant of tenants) {
      const isReady = ready.has(keys.stream('ingest', tenant.id));
      if (isReady) expect(tenant.waiting.length).toBeGreaterThan(0);
      if (tenant.waiting.length > 0 && hasRoom(tenant)) expect(isReady).toBe(true);
    }
    if (streams.length === 0) expect(await queue.allKeys()).toEqual([]);
  }

  async function push(tenant: (typeof tenants)[number], count: number, slots: number): Promise<void> {
    const jobs = jobsFor(tenant.id, count);
    if (slots === 0) {
      await queue.producer.push('ingest', jobs, tenant.weight);
      tenant.waiting.push(...jobs.map(({ id }) => id));
      return;
    }
    const payloads = jobs.map((job) => encodeJob(job, tenant.weight));
    const isNew = tenant.waiting.length + tenant.pending.length === 0;
    const nobodyWaits = (await admin.zcard(keys.ready('ingest', 0))) === 0;
    const room = cap === 0 ? slots : Math.min(slots, cap);
    const given = await consumer.push(
      0,
      { stream: keys.stream('ingest', tenant.id), maxLength: 10_000, payloads },
      room,
    );
    // Handed over is only what has nobody in front of it.
    expect(given.map(({ payload }) => payload)).toEqual(isNew && nobodyWaits ? payloads.slice(0, room) : []);
    tenant.pending.push(...given.map(({ stream, id }) => ({ stream, id })));
    tenant.waiting.push(...jobs.slice(given.length).map(({ id }) => id));
  }

  async function take(slots: number): Promise<number> {
    const couldRun = tenants.map((tenant) => tenant.waiting.length > 0);
    const { entries } = await consumer.take(0, slots, { own: 1_000, total: cap }, new Map());
    for (const { stream, id, payload } of entries) {
      const tenant = ofStream(stream);
      // In order, and each once.
      expect(tenant?.waiting.shift()).toBe(jobIdOf(payload));
      tenant?.pending.push({ stream, id });
    }
    const took = tenants.map(
      (tenant) => entries.filter(({ stream }) => stream === keys.stream('ingest', tenant.id)).length / tenant.weight,
    );
    const room = tenants.reduce(
      (sum, t, i) =>
        sum + Math.min(couldRun[i] ? t.waiting.length : 0, cap === 0 ? slots : Math.max(0, cap - t.pending.length)),
      0,
    );
    // Slots stay free only where nobody may run.
    if (entries.length < slots) expect(room).toBe(0);
    tenants.forEach((a, i) => {
      tenants.forEach((b, j) => {
        const bothWait = couldRun[i] && couldRun[j] && a.waiting.length > 0 && b.waiting.length > 0;
        const row = got[i] ?? [];
        row[j] = bothWait ? (row[j] ?? 0) + (took[i] ?? 0) : 0;
      });
    });
    return entries.length;
  }

  /** The bound of start-time fair queuing for two backlogged flows, for quanta of up to MOST_SLOTS entries. */
  function checkFairness(): void {
    tenants.forEach((a, i) => {
      tenants.forEach((b, j) => {
        const lead = (got[i]?.[j] ?? 0) - (got[j]?.[i] ?? 0);
        expect(lead).toBeLessThanOrEqual(MOST_SLOTS / a.weight + MOST_SLOTS / b.weight + 1e-9);
      });
    });
  }

  async function ack(count: number): Promise<number> {
    const names = tenants.flatMap(({ pending }) => pending).slice(0, count);
    if (names.length === 0) return 0;
    const acknowledged = await consumer.ack(0, names, cap > 0);
    for (const tenant of tenants) tenant.pending = tenant.pending.filter((name) => !names.includes(name));
    expect(acknowledged).toEqual(
      names.map(({ stream }) => ({ ownership: 'own', undelivered: ofStream(stream)?.waiting.length ?? -1 })),
    );
    return names.length;
  }

  for (const one of steps) {
    if (one.type === 'push') {
      const tenant = tenants[one.tenant];
      if (!tenant) continue;
      await push(tenant, one.count, one.slots);
    } else if (one.type === 'take') {
      await take(one.slots);
      if (cap === 0) checkFairness();
    } else {
      await ack(one.count);
    }
    await check();
  }
  while ((await take(MOST_SLOTS)) + (await ack(100)) > 0) await check();
  expect(await queue.allKeys()).toEqual([]);
}

const steps = fc.array(step, { minLength: 5, maxLength: 60 });

test('without a cap: each job once and in order, tenants by their weights, no trace at the end', async () => {
  await fc.assert(
    fc.asyncProperty(steps, (given) => run(given, 0)),
    { numRuns: 40 },
  );
});

test('with a cap over all workers: nobody is stranded below it, and no trace at the end', async () => {
  await fc.assert(fc.asyncProperty(steps, fc.integer({ min: 1, max: 5 }), run), { numRuns: 40 });
});

test('a tenant that comes back after each job gets no more than its share of many busy ones', async () => {
  await queue.admin.flushall();
  const busy = Array.from({ length: 9 }, uuid);
  const returning = uuid();
  for (const tenant of busy) await queue.producer.push('ingest', jobsFor(tenant, 100));
  await queue.producer.push('ingest', jobsFor(returning, 1));
  const consumer = queue.consumer('a');
  const stream = queue.keys.stream('ingest', returning);
  let own = 0;
  for (let i = 0; i < 200; i++) {
    const { entries } = await consumer.take(0, 1, { own: 1_000, total: 0 }, new Map());
    await consumer.ack(0, entries, false);
    if (entries[0]?.stream !== stream) continue;
    own++;
    await queue.producer.push('ingest', jobsFor(returning, 1));
  }
  expect(own).toBeWithin(18, 23);
});
