/** How tasks went and how tenants grew: the same before and after it is added up, and told to whom it concerns alone. */
import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { Principal, Reach, TaskStatus } from '../../src/contracts/index.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createStatistics, createStatisticsSweep, percentileOf } from '../../src/services/statistics.ts';
import { eventually } from '../support/eventually.ts';
import { createRig, linesOf } from '../support/rig.ts';

const INSTALLATION: Reach = { kind: 'installation' };
const within = ({ tenantId }: Principal): Reach => ({ kind: 'tenant', tenantId });
const NOW = Date.parse('2026-06-10T10:40:00Z');

const closers: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closers) await close();
});

async function start(now = NOW) {
  const rig = await createRig();
  const admin = postgres(rig.db.adminUrl, { max: 2, onnotice: () => undefined });
  closers.push(async () => {
    await admin.end();
    await rig.close();
  });
  const clock: Clock = { ...systemClock, now: () => now };
  const { database } = rig;

  /** A document and its task, of back then. */
  async function past(who: Principal, created: string, end?: { status: TaskStatus; waited: number; ran: number }) {
    const at = Date.parse(created);
    const [document, task] = [Bun.randomUUIDv7('hex', at), Bun.randomUUIDv7('hex', at)];
    const { tenantId, userId } = who;
    await admin`update tenants set created_at = least(created_at, ${created}::timestamptz - interval '1 day')`;
    await admin`
      insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type,
        chunks, created_at)
      values (${tenantId}, ${document}, ${userId}, 'private', 't', 'f', 'text/plain', 100,
        ${Buffer.from(document.replaceAll('-', '').padEnd(64, '0'), 'hex')}, 'upload', 7, ${created}::timestamptz)`;
    const started = end && new Date(at + end.waited * 1_000);
    const finished = started && end && new Date(started.getTime() + end.ran * 1_000);
    await admin`
      insert into tasks (tenant_id, id, kind, document_id, user_id, private_to, status, document_version, size, created_at,
        started_at, finished_at)
      values (${tenantId}, ${task}, 'ingest', ${document}, ${userId}, ${userId}, ${end?.status ?? 'queued'}, 1, 100,
        ${created}::timestamptz, ${started ?? null}::timestamptz, ${finished ?? null}::timestamptz)`;
    return document;
  }
  return {
    rig,
    admin,
    past,
    statistics: createStatistics({ database, clock }),
    sweeper: createStatisticsSweep({ database, clock, logger: silentLogger }),
  };
}

describe('tasks', () => {
  test('are counted by hours and days, what is over and what is not, as before they were added up', async () => {
    const { past, statistics, sweeper, rig, admin } = await start();
    const [ours, theirs] = [await rig.newTenant('ours'), await rig.newTenant('theirs')];
    const ended = (status: TaskStatus, waited = 2, ran = 10) => ({ status, waited, ran });
    await past(ours, '2026-06-08T23:59:30Z', ended('succeeded', 60, 60));
    await past(ours, '2026-06-10T08:10:00Z', ended('succeeded'));
    await past(ours, '2026-06-10T08:20:00Z', ended('failed'));
    await past(ours, '2026-06-10T08:30:00Z', ended('dead'));
    await past(ours, '2026-06-10T10:10:00Z', ended('cancelled'));
    await past(ours, '2026-06-10T10:30:00Z');
    await past(theirs, '2026-06-10T08:30:00Z', ended('succeeded', 100, 1_000));

    const read = async () => ({
      hours: await statistics.tasks(within(ours), {}),
      days: await statistics.tasks(within(ours), { bucket: 'day', from: '2026-06-08', to: '2026-06-10' }),
      all: await statistics.tasks(INSTALLATION, { bucket: 'day', from: '2026-06-08', to: '2026-06-10' }),
    });
    const before = await read();
    expect(before.hours.buckets).toHaveLength(24);
    expect(before.hours.buckets[0]?.start).toBe('2026-06-09T11:00:00.000Z');
    const at = (hour: string) => before.hours.buckets.find(({ start }) => start.includes(`10T${hour}`));
    expect(at('08')).toMatchObject({
      accepted: 3,
      succeeded: 1,
      failed: 1,
      dead: 1,
      cancelled: 0,
      failure_rate: 2 / 3,
    });
    expect(at('09')).toMatchObject({ accepted: 0, succeeded: 0, failure_rate: null, seconds: null });
    expect(at('10')).toMatchObject({ accepted: 2, cancelled: 1, failure_rate: null });
    expect(before.days.buckets.map(({ accepted, succeeded }) => [accepted, succeeded])).toEqual([
      [1, 0],
      [0, 1],
      [5, 1],
    ]);
    expect(before.days.totals).toMatchObject({ accepted: 6, succeeded: 2, failed: 1, dead: 1, cancelled: 1 });
    expect(before.all.totals).toMatchObject({ accepted: 7, succeeded: 3 });
    const { seconds, stages } = at('08') ?? {};
    for (const [spread, true_] of [
      [seconds, 12],
      [stages?.queued, 2],
      [stages?.running, 10],
    ] as const) {
      for (const told of [spread?.median ?? 0, spread?.p95 ?? 0]) {
        expect(told / true_).toBeGreaterThan(0.79);
        expect(told / true_).toBeLessThan(1.26);
      }
    }

    await sweeper.sweep();
    expect(await read()).toEqual(before);
    const [sums] = await admin<{ hours: number; days: number }[]>`
      select count(*) filter (where grain = 'hour')::int as hours, count(*) filter (where grain = 'day')::int as days
      from statistics where measure = 'accepted'`;
    // Each day but the last is over; what was in the hour that is not over is in no sum.
    expect({ ...sums }).toEqual({ hours: 3, days: 1 });
    // What is over stays as it was, whatever becomes of the documents.
    await admin`delete from documents where tenant_id = ${ours.tenantId} and created_at < '2026-06-10T09:00:00Z'`;
    await sweeper.sweep();
    expect(await read()).toEqual(before);
  });

  test('are added up by one of several sweeps at once, and once', async () => {
    const { past, statistics, sweeper, rig } = await start();
    const who = await rig.newTenant();
    for (let hour = 0; hour < 9; hour++) {
      await past(who, `2026-06-10T0${hour}:05:00Z`, { status: 'succeeded', waited: 1, ran: 1 });
    }
    await Promise.all(Array.from({ length: 5 }, () => sweeper.sweep()));
    await sweeper.sweep();
    expect((await statistics.tasks(within(who), {})).totals).toMatchObject({ accepted: 9, succeeded: 9 });
    expect((await statistics.tasks(INSTALLATION, {})).totals).toMatchObject({ accepted: 9, succeeded: 9 });
  });

  test('that really ran are told as they went', async () => {
    const { rig } = await start();
    const statistics = createStatistics({ database: rig.database, clock: systemClock });
    const who = await rig.newTenant();
    for (const text of ['one', 'two']) {
      const { receipt } = await rig.upload(who, text);
      expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    }
    const { totals } = await statistics.tasks(within(who), {});
    expect(totals).toMatchObject({ accepted: 2, succeeded: 2, failed: 0, failure_rate: 0 });
    expect(totals.seconds?.median).toBeGreaterThan(0);
  });

  test.each([
    { bucket: 'hour' as const, from: '2026-01-01T00:00:00Z', to: '2026-03-01T00:00:00Z' },
    { bucket: 'hour' as const, from: '2026-01-02T00:00:00Z', to: '2026-01-01T00:00:00Z' },
    { bucket: 'hour' as const, from: 'some day or other' },
    { bucket: 'day' as const, from: '2024-01-01', to: '2026-01-01' },
    { bucket: 'day' as const, from: '2026-13-01' },
  ])('in %p are refused', async (query) => {
    const statistics = createStatistics({
      database: { system: () => Promise.reject(new Error('asked')) },
      clock: systemClock,
    });
    await expect(statistics.tasks(INSTALLATION, query)).rejects.toMatchObject({ kind: 'invalid_request' });
  });
});

describe('growth', () => {
  test('is told by days, of one tenant to its administrators, of all and who grew most to the operator', async () => {
    const { past, statistics, sweeper, rig, admin } = await start();
    const [ours, theirs] = [await rig.newTenant('ours'), await rig.newTenant('theirs')];
    await admin`update accounts set created_at = '2026-06-07T00:00:00Z', id = id`;
    for (const day of ['05', '05', '09', '10']) await past(ours, `2026-06-${day}T03:00:00Z`);
    await past(theirs, '2026-06-05T03:00:00Z');
    const at = Date.parse('2026-06-09T05:00:00Z');
    await admin`
      insert into conversations (tenant_id, id, user_id, created_at)
      values (${ours.tenantId}, ${Bun.randomUUIDv7('hex', at)}, ${ours.userId}, ${new Date(at)})`;
    const read = async () => ({
      ours: await statistics.growth(within(ours), { from: '2026-06-04' }),
      all: await statistics.growth(INSTALLATION, { from: '2026-06-04' }),
    });
    const before = await read();
    const day = (n: string, documents: number, conversations = 0) => ({
      day: `2026-06-${n}`,
      documents,
      chunks: 7 * documents,
      bytes: 100 * documents,
      users: 0,
      conversations,
    });
    expect(before.ours).toEqual({
      from: '2026-06-04',
      to: '2026-06-10',
      days: [day('04', 0), day('05', 2), day('06', 0), day('07', 0), day('08', 0), day('09', 1, 1), day('10', 1)],
      totals: { documents: 4, chunks: 28, bytes: 400, users: 0, conversations: 1 },
      top_tenants: null,
    });
    expect(before.all.totals).toMatchObject({ documents: 5, chunks: 35 });
    expect(before.all.top_tenants).toEqual([
      {
        tenant_id: ours.tenantId,
        name: 'ours',
        chunks: 28,
        days: [
          { day: '2026-06-05', chunks: 14 },
          { day: '2026-06-09', chunks: 7 },
          { day: '2026-06-10', chunks: 7 },
        ],
      },
      { tenant_id: theirs.tenantId, name: 'theirs', chunks: 7, days: [{ day: '2026-06-05', chunks: 7 }] },
    ]);
    await sweeper.sweep();
    expect(await read()).toEqual(before);
    const [sums] = await admin<{ n: number }[]>`select count(*)::int as n from statistics where measure = 'documents'`;
    expect(sums?.n).toBe(2);
  });

  test('of what came just now is there at once: users, conversations, documents and their chunks', async () => {
    const { rig } = await start();
    const statistics = createStatistics({ database: rig.database, clock: systemClock });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(5));
    await rig.deliver(who, 'ingest', receipt.task_id);
    await rig.as(who, () => rig.conversations.create({}));
    const { totals } = await statistics.growth(within(who), {});
    expect(totals).toEqual({ documents: 1, chunks: 5, bytes: linesOf(5).length, users: 1, conversations: 1 });
  });
});

test('sums are made by a service of its own, and hours that nobody can ask for are forgotten', async () => {
  const { past, rig, admin } = await start();
  const who = await rig.newTenant();
  await past(who, '2026-05-04T03:00:00Z', { status: 'succeeded', waited: 1, ran: 1 });
  const clock: Clock = { ...systemClock, now: () => NOW };
  const service = createStatisticsSweep({ database: rig.database, clock, logger: silentLogger, everyMs: 5 });
  await service.start();
  await eventually(
    'the sums are made',
    async () => {
      const rows = await admin`select 1 from statistics_progress where name = 'growth days' and until > '2026-06-01'`;
      return rows.length > 0;
    },
    50_000,
  );
  await service.stop();
  const grains = await admin<{ grain: string }[]>`select distinct grain from statistics`;
  expect(grains.map(({ grain }) => grain)).toEqual(['day']);
}, 60_000);

test('a tenant’s role reads no sums', async () => {
  const { rig } = await start();
  const who = await rig.newTenant();
  for (const table of ['statistics', 'installation_statistics', 'statistics_progress']) {
    const read = rig.as(who, () => rig.database.tenant((sql) => sql`select 1 from ${sql(table)}`));
    await expect(read).rejects.toThrow('permission denied');
  }
});

test('a percentile of classes lies in the class that has it', () => {
  expect(percentileOf(new Map(), 0.5)).toBeNull();
  const step = 1.25;
  const classes = new Map([
    [20, 50],
    [30, 50],
  ]);
  const [median, p95] = [percentileOf(classes, 0.5) ?? 0, percentileOf(classes, 0.95) ?? 0];
  expect(median * 1_000).toBeCloseTo(step ** 21, 0);
  expect(p95 * 1_000).toBeGreaterThan(step ** 30);
  expect(p95 * 1_000).toBeLessThan(step ** 31);
});
