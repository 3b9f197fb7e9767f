import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { setImmediate } from 'node:timers/promises';
import { AppError } from '../../src/kernel/errors.ts';
import { createRandom } from '../support/chaos-random.ts';
import { eventually } from '../support/eventually.ts';
import { jobFor, jobsFor, startQueue, type TestQueue, uuid } from '../support/queue.ts';

const SEED = Number(process.env['SEED'] ?? 20261122);

let queue: TestQueue;
beforeEach(async () => {
  queue = await startQueue();
});
afterEach(() => queue.stop());

describe('order', () => {
  test('delivers a tenant its jobs in the order they were pushed', async () => {
    const tenant = uuid();
    const jobs = jobsFor(tenant, 50);
    await queue.producer.push('ingest', jobs);
    const worker = await queue.worker('a', { concurrency: 1 });
    worker.finishAll();
    await worker.delivered(50);
    expect(worker.jobIds()).toEqual(jobs.map(({ id }) => id));
    expect(worker.deliveries.map(({ job }) => job)).toEqual(jobs);
  });

  test('does not let a tenant with 1,000 jobs delay the one job of another', async () => {
    const [busy, small] = [uuid(), uuid()];
    await queue.producer.push('ingest', jobsFor(busy, 1_000));
    const worker = await queue.worker('a', { concurrency: 2, tenantConcurrency: 2 });
    await worker.delivered(2);
    const before = worker.deliveries.length;
    const job = jobFor(small);
    await queue.producer.push('ingest', [job]);
    worker.finishAll();
    await worker.until(() => worker.jobIds().includes(job.id));
    // What was taken before it came, and one job of the other tenant for each slot, may be in front of it.
    expect(worker.jobIds().indexOf(job.id) - before).toBeLessThanOrEqual(4);
  });

  test('gives tenants slots by their weights, in one partition', async () => {
    await queue.stop();
    queue = await startQueue({ partitions: 1 });
    const [light, heavy] = [uuid(), uuid()];
    await queue.producer.push('ingest', jobsFor(light, 200), 1);
    await queue.producer.push('ingest', jobsFor(heavy, 200), 3);
    const worker = await queue.worker('a', { concurrency: 1 });
    worker.finishAll();
    await worker.delivered(80);
    const share = worker
      .tenants()
      .slice(0, 80)
      .filter((tenant) => tenant === heavy).length;
    expect(share).toBeGreaterThanOrEqual(58);
    expect(share).toBeLessThanOrEqual(62);
  });

  test('keeps lanes apart: chat runs while ingestion has taken all its slots', async () => {
    const tenant = uuid();
    await queue.producer.push('ingest', jobsFor(tenant, 20));
    const ingest = await queue.worker('a', { concurrency: 2 });
    const chat = await queue.worker('a', { lane: 'chat', concurrency: 2 });
    await ingest.delivered(2);
    await queue.producer.push('chat', [jobFor(tenant, 'chat')]);
    await chat.delivered(1);
    expect(ingest.deliveries).toHaveLength(2);
    expect(chat.deliveries[0]?.job.lane).toBe('chat');
  });

  test('rings the doorbell: a job is taken long before the next poll', async () => {
    const worker = await queue.worker('a', { pollMs: 3_600_000 });
    const tenant = uuid();
    await eventually('the doorbell is listened to', async () => {
      const bell = queue.keys.doorbell('ingest', queue.keys.partitionOf(tenant));
      const counts = (await queue.redis.everywhere('PUBSUB', 'SHARDNUMSUB', bell)) as [string, number][];
      return counts.reduce((sum, [, count]) => sum + count, 0) === 1;
    });
    await queue.producer.push('ingest', [jobFor(tenant)]);
    await worker.delivered(1);
  });
});

describe('caps', () => {
  test('runs no more of one tenant in a worker than its cap, and others beside it', async () => {
    const [busy, other] = [uuid(), uuid()];
    await queue.producer.push('ingest', jobsFor(busy, 20));
    const worker = await queue.worker('a', { concurrency: 5, tenantConcurrency: 3 });
    await worker.delivered(3);
    await queue.producer.push('ingest', jobsFor(other, 2));
    await worker.delivered(5);
    expect(worker.tenants().filter((tenant) => tenant === busy)).toHaveLength(3);
    expect(worker.dispatcher.busy()).toBe(5);
    worker.finishAll();
    await worker.delivered(22);
  });

  test('does not wait for the next poll, whatever ends while the next entries are asked for', async () => {
    const tenant = uuid();
    const worker = await queue.worker('a', { concurrency: 16, tenantConcurrency: 4, pollMs: 3_600_000 });
    await queue.producer.push('ingest', jobsFor(tenant, 1_000));
    const random = createRandom(SEED);
    let ended = 0;
    while (ended < 1_000) {
      await worker.until(() => worker.openIds().length > 0);
      for (const id of worker.openIds().slice(0, random.between(1, 4))) {
        worker.finish(id);
        ended += 1;
        for (let turn = random.between(0, 3); turn > 0; turn--) await setImmediate();
      }
    }
    expect(worker.deliveries).toHaveLength(1_000);
  });

  test('runs no more of one tenant over all workers than the common cap', async () => {
    const tenant = uuid();
    await queue.producer.push('ingest', jobsFor(tenant, 12));
    const options = { concurrency: 4, tenantCap: 3 };
    const [a, b] = [await queue.worker('a', options), await queue.worker('b', options)];
    const total = () => a.deliveries.length + b.deliveries.length;
    await eventually('three are running', () => total() === 3);
    for (let ended = 0; ended < 12; ended++) {
      const worker = a.openIds().length > 0 ? a : b;
      const [first = ''] = worker.openIds();
      worker.finish(first);
      await eventually('the next is running', () => total() === Math.min(12, ended + 4));
      expect(a.openIds().length + b.openIds().length).toBeLessThanOrEqual(3);
    }
    await eventually('nothing is left', async () => (await queue.allKeys()).length === 0);
  });
});

describe('ownership', () => {
  test('renews what it holds, so that nobody claims it', async () => {
    const tenant = uuid();
    await queue.producer.push('ingest', [jobFor(tenant)]);
    const worker = await queue.worker('a', { visibilityMs: 300 });
    await worker.delivered(1);
    const [entry] = await queue.pending(tenant);
    await queue.age(tenant, entry?.id ?? '', 250);
    await eventually('it was renewed', async () => ((await queue.pending(tenant))[0]?.idle ?? 250) < 200);
    expect(await queue.pending(tenant)).toMatchObject([{ consumer: 'a', deliveries: 1 }]);
  });

  test('claims what a dead consumer held, once it stayed idle', async () => {
    const tenant = uuid();
    const job = jobFor(tenant);
    await queue.producer.push('ingest', [job]);
    const partition = queue.keys.partitionOf(tenant);
    const { entries } = await queue.consumer('dead').take(partition, 1, { own: 1, total: 0 }, new Map());
    const worker = await queue.worker('a', { visibilityMs: 2_000 });
    await queue.producer.push('ingest', [jobFor(tenant)]);
    await worker.delivered(1);
    expect(worker.jobIds()).not.toContain(job.id);
    await queue.age(tenant, entries[0]?.id ?? '', 2_001);
    await worker.delivered(2);
    expect(worker.deliveries[1]).toMatchObject({ job, deliveries: 2 });
  });

  test('ends the work on an entry that became another consumer’s, and leaves it to that one', async () => {
    const tenant = uuid();
    const job = jobFor(tenant);
    await queue.producer.push('ingest', [job]);
    const worker = await queue.worker('a', { visibilityMs: 300 });
    await worker.delivered(1);
    const [entry] = await queue.pending(tenant);
    await queue.admin.xclaim(queue.keys.stream('ingest', tenant), 'workers', 'b', 0, entry?.id ?? '', 'JUSTID');
    const signal = worker.signalOf(job.id);
    await worker.until(() => signal?.aborted === true);
    expect(signal?.reason).toBeInstanceOf(AppError);
    worker.finish(job.id);
    await eventually('the slot is free', () => worker.dispatcher.busy() === 0);
    expect(await queue.pending(tenant)).toMatchObject([{ consumer: 'b' }]);
  });

  test('reports an acknowledgement, a renewal and a release of what is not its own', async () => {
    const tenant = uuid();
    const partition = queue.keys.partitionOf(tenant);
    await queue.producer.push('ingest', jobsFor(tenant, 3));
    const [a, b] = [queue.consumer('a'), queue.consumer('b')];
    const { entries: mine } = await a.take(partition, 1, { own: 9, total: 0 }, new Map());
    const { entries: theirs } = await b.take(partition, 1, { own: 9, total: 0 }, new Map());
    const names = [...theirs, ...mine, { stream: mine[0]?.stream ?? '', id: '1-1' }];
    expect(await a.renew(partition, names)).toEqual(['foreign', 'own', 'gone']);
    const ack = async () => (await a.ack(partition, names, false)).map(({ ownership }) => ownership);
    expect(await ack()).toEqual(['foreign', 'own', 'gone']);
    expect(await ack()).toEqual(['foreign', 'gone', 'gone']);
    expect(await a.release(partition, names, { idleMs: 0, counted: true })).toEqual(['foreign', 'gone', 'gone']);
    expect(await queue.pending(tenant)).toMatchObject([{ consumer: 'b', deliveries: 1 }]);
  });

  test('acknowledges what it alone holds a part of, and tells of each what became of it', async () => {
    const tenant = uuid();
    const partition = queue.keys.partitionOf(tenant);
    const stream = queue.keys.stream('ingest', tenant);
    await queue.producer.push('ingest', jobsFor(tenant, 5));
    const a = queue.consumer('a');
    const { entries } = await a.take(partition, 3, { own: 9, total: 0 }, new Map());
    const [first, second, third] = entries;
    if (!first || !second || !third) throw new Error('three entries were pushed');
    const never = { stream, id: '1-1' };
    expect(await a.ack(partition, [second, never, first], false)).toEqual([
      { ownership: 'own', undelivered: 2 },
      { ownership: 'gone', undelivered: 0 },
      { ownership: 'own', undelivered: 2 },
    ]);
    expect(await a.ack(partition, [second, third], false)).toEqual([
      { ownership: 'gone', undelivered: 0 },
      { ownership: 'own', undelivered: 2 },
    ]);
    expect(await queue.pending(tenant)).toEqual([]);
    expect(await queue.admin.xlen(stream)).toBe(2);
  });

  test('deletes with its acknowledgement an entry whose group was lost, and not one that was given back', async () => {
    const tenant = uuid();
    const partition = queue.keys.partitionOf(tenant);
    const stream = queue.keys.stream('ingest', tenant);
    await queue.producer.push('ingest', jobsFor(tenant, 3));
    const a = queue.consumer('a');
    const { entries } = await a.take(partition, 1, { own: 9, total: 0 }, new Map());
    await queue.admin.xgroup('DESTROY', stream, 'workers');
    await queue.admin.xgroup('CREATE', stream, 'workers', entries[0]?.id ?? '');
    const { entries: more } = await a.take(partition, 2, { own: 9, total: 0 }, new Map());
    await a.release(partition, more.slice(0, 1), { idleMs: 0, counted: true });
    const ack = async () => (await a.ack(partition, [...more, ...entries], false)).map(({ ownership }) => ownership);
    expect(await ack()).toEqual(['foreign', 'own', 'gone']);
    expect(await queue.pending(tenant)).toMatchObject([{ consumer: 'nobody' }]);
    await queue.admin.xgroup('DESTROY', stream, 'workers');
    await queue.admin.xgroup('CREATE', stream, 'workers', more[0]?.id ?? '');
    await queue.producer.push('ingest', jobsFor(tenant, 1));
    const { entries: last } = await a.take(partition, 1, { own: 9, total: 0 }, new Map());
    const both = await a.ack(partition, [...entries, ...last], false);
    expect(both.map(({ ownership }) => ownership)).toEqual(['own', 'own']);
    expect(await queue.admin.xlen(stream)).toBe(1);
  });

  test('gives an entry back when its handler rejects; it comes again after the visibility timeout', async () => {
    const tenant = uuid();
    const job = jobFor(tenant);
    await queue.producer.push('ingest', [job]);
    const worker = await queue.worker('a', { visibilityMs: 2_000 });
    await worker.delivered(1);
    worker.fail(job.id);
    await eventually('it was given back', async () => (await queue.pending(tenant))[0]?.consumer === 'nobody');
    expect(worker.acknowledged).toEqual([]);
    const [entry] = await queue.pending(tenant);
    await queue.age(tenant, entry?.id ?? '', 2_001);
    await worker.delivered(2);
    expect(worker.deliveries[1]).toMatchObject({ job, deliveries: 2 });
    worker.finish(job.id);
    await worker.until(() => worker.acknowledged.length === 1);
    await eventually('it is acknowledged', async () => (await queue.allKeys()).length === 0);
  });

  test('tells of entries that vanished while somebody held them', async () => {
    const tenant = uuid();
    const partition = queue.keys.partitionOf(tenant);
    await queue.producer.push('ingest', jobsFor(tenant, 2));
    const { entries } = await queue.consumer('a').take(partition, 1, { own: 1, total: 0 }, new Map());
    const { stream = '', id = '' } = entries[0] ?? {};
    await queue.age(tenant, id, 60_001);
    await queue.admin.xdel(stream, id);
    const step = await queue.consumer('b').reclaim(partition, {
      idleMs: 60_000,
      slots: 9,
      caps: { own: 9, total: 0 },
      consumerGoneMs: 60_000,
      held: new Map(),
      cursor: undefined,
    });
    expect(step).toMatchObject({ cursor: undefined, entries: [], vanished: [`${stream} ${id}`] });
  });
});

describe('poison', () => {
  test('hands an entry that keeps killing its workers to onPoison, and deletes it then', async () => {
    const tenant = uuid();
    const job = jobFor(tenant);
    await queue.producer.push('ingest', [job]);
    const partition = queue.keys.partitionOf(tenant);
    const { entries } = await queue.consumer('dead').take(partition, 1, { own: 1, total: 0 }, new Map());
    const { stream = '', id = '' } = entries[0] ?? {};
    await queue.admin.xclaim(stream, 'workers', 'dead', 0, id, 'IDLE', 60_001, 'RETRYCOUNT', 3, 'JUSTID');
    const worker = await queue.worker('a', { maxDeliveries: 3 });
    await worker.until(() => worker.poison.length === 1);
    expect(worker.poison[0]).toMatchObject({ reason: 'deliveries', delivery: { job, deliveries: 4 } });
    await eventually('it is deleted', async () => (await queue.allKeys()).length === 0);
    expect(worker.deliveries).toEqual([]);
  });

  test.each([
    ['is nonsense', (_tenant: string) => 'nonsense'],
    ['has a version of nothing', (tenant: string) => `x 1 ${tenant} ${uuid()} ${uuid()} `],
    ['names no row', (tenant: string) => `1 1 ${tenant} ${uuid()} 17 `],
    ['belongs to another tenant', (_tenant: string) => `1 1 ${uuid()} ${uuid()} ${uuid()} `],
  ])('hands an entry that %s to onPoison and goes on', async (_title, payloadFor) => {
    const tenant = uuid();
    const payload = payloadFor(tenant);
    await queue.admin.xadd(queue.keys.stream('ingest', tenant), '*', 'job', payload);
    const job = jobFor(tenant);
    await queue.producer.push('ingest', [job]);
    const worker = await queue.worker('a');
    worker.finishAll();
    await worker.delivered(1);
    await worker.until(() => worker.poison.length === 1);
    expect(worker.poison[0]).toMatchObject({
      reason: 'undecodable',
      payload,
      stream: queue.keys.stream('ingest', tenant),
    });
    expect(worker.jobIds()).toEqual([job.id]);
    await eventually('both are deleted', async () => (await queue.allKeys()).length === 0);
  });

  test('leaves an entry of a newer version to others and does not count its deliveries', async () => {
    const tenant = uuid();
    const job = { ...jobFor(tenant), v: 99 };
    await queue.producer.push('ingest', [job]);
    const worker = await queue.worker('a', { visibilityMs: 400 });
    const isLeft = async () => (await queue.pending(tenant))[0]?.consumer === 'nobody';
    await eventually('it was left', isLeft);
    for (let again = 0; again < 5; again++) {
      const [entry] = await queue.pending(tenant);
      await queue.age(tenant, entry?.id ?? '', 60_000);
      await eventually(
        'it was claimed and left again',
        async () => (await isLeft()) && ((await queue.pending(tenant))[0]?.idle ?? 60_000) < 60_000,
      );
    }
    // On a slow machine it may be claimed once more at this very moment, which counts until it is left.
    await eventually('it is left uncounted', async () => {
      const [entry] = await queue.pending(tenant);
      return entry?.consumer === 'nobody' && entry.deliveries === 0;
    });
    expect(worker.deliveries).toEqual([]);
    expect(worker.poison).toEqual([]);
  });
});

describe('stopping', () => {
  test('aborts handlers, waits for them, and hands unfinished entries to others at once, uncounted', async () => {
    const tenant = uuid();
    const jobs = jobsFor(tenant, 4);
    await queue.producer.push('ingest', jobs);
    const first = await queue.worker('a', { concurrency: 3 });
    await first.delivered(3);
    const [settles, rejects, hangs] = first.jobIds();
    const stopping = first.dispatcher.stop();
    const signal = first.signalOf(settles ?? '');
    await first.until(() => signal?.aborted === true);
    first.finish(settles ?? '');
    first.fail(rejects ?? '');
    await stopping;
    expect(first.dispatcher.busy()).toBe(0);
    expect((await queue.pending(tenant)).map(({ consumer }) => consumer)).toEqual(['nobody', 'nobody']);
    const consumers = (await queue.admin.xinfo(
      'CONSUMERS',
      queue.keys.stream('ingest', tenant),
      'workers',
    )) as string[][];
    expect(consumers.map((row) => row[1])).toEqual(['nobody']);

    const second = await queue.worker('b');
    await second.delivered(3);
    expect(second.jobIds().sort()).toEqual([rejects ?? '', hangs ?? '', jobs[3]?.id ?? ''].sort());
    expect(second.deliveries.map(({ deliveries }) => deliveries)).toEqual([1, 1, 1]);
  });

  test('may be started and stopped in any state and order, and works after it', async () => {
    const tenant = uuid();
    const worker = await queue.worker('a');
    const { dispatcher } = worker;
    await Promise.all([
      dispatcher.start(),
      dispatcher.stop(),
      dispatcher.stop(),
      dispatcher.start(),
      dispatcher.start(),
    ]);
    await queue.producer.push('ingest', [jobFor(tenant)]);
    await worker.delivered(1);
    worker.finishAll();
    await dispatcher.stop();
    await dispatcher.stop();
    await eventually('its connections are closed', async () => {
      const list = String(await queue.redis.everywhere('CLIENT', 'LIST'));
      return !list.includes('reader-dispatcher') && !list.includes('subscriber-doorbell');
    });
    await queue.producer.push('ingest', [jobFor(tenant)]);
    await dispatcher.start();
    await worker.delivered(2);
  });
});

test('costs nothing for tenants that are idle: no key is left', async () => {
  const tenants = Array.from({ length: 20 }, uuid);
  const worker = await queue.worker('a', { concurrency: 8 });
  worker.finishAll();
  for (let round = 0; round < 3; round++) {
    for (const tenant of tenants) await queue.producer.push('ingest', jobsFor(tenant, 1 + round));
  }
  await worker.delivered(20 * 6);
  await eventually('no key is left', async () => (await queue.allKeys()).length === 0);
});

test('drops consumers that have been gone for long, and keeps those that hold something', async () => {
  const tenant = uuid();
  const partition = queue.keys.partitionOf(tenant);
  const stream = queue.keys.stream('ingest', tenant);
  await queue.producer.push('ingest', jobsFor(tenant, 2));
  await queue.admin.xgroup('CREATECONSUMER', stream, 'workers', 'gone');
  await queue.consumer('holds').take(partition, 1, { own: 1, total: 0 }, new Map());
  await queue.consumer('a').reclaim(partition, {
    idleMs: 60_000,
    slots: 9,
    caps: { own: 9, total: 0 },
    consumerGoneMs: 0,
    held: new Map(),
    cursor: undefined,
  });
  const consumers = (await queue.admin.xinfo('CONSUMERS', stream, 'workers')) as string[][];
  expect(consumers.map((row) => row[1])).toEqual(['holds']);
});
