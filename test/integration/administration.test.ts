import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { EmbeddingProvider, Reach } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { handOutNext } from '../../src/repositories/backlog.ts';
import { createAdministration } from '../../src/services/administration.ts';
import { createCounterCheck } from '../../src/services/counter-check.ts';
import { createQuotaSettings } from '../../src/services/quotas.ts';
import { createRig, linesOf, type RigOptions } from '../support/rig.ts';

const INSTALLATION: Reach = { kind: 'installation' };
const within = ({ tenantId }: { tenantId: string }): Reach => ({ kind: 'tenant', tenantId });
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

/** An embedder that can be made to fail. */
function shop() {
  const builtin = createBuiltinEmbeddings({ dimensions: 64 });
  const state = { open: true };
  const provider: EmbeddingProvider = {
    ...builtin,
    async embed(texts, options) {
      if (!state.open) throw new AppError('provider_unavailable', 'The provider is down.');
      return builtin.embed(texts, options);
    },
  };
  return { provider, state };
}

const closers: (() => Promise<void>)[] = [];
async function start(options: RigOptions = {}) {
  const { provider, state } = shop();
  const rig = await createRig({ embeddings: provider, maxAttempts: 1, ...options });
  const admin = postgres(rig.db.adminUrl, { max: 2, onnotice: () => undefined });
  closers.push(async () => {
    await admin.end();
    await rig.close();
  });
  const { database, tasks, limits } = rig;
  return {
    ...rig,
    provider: state,
    admin,
    administration: createAdministration({ database, tasks, limits }),
    quotas: createQuotaSettings({ database, limits, feeder: { nudge: () => undefined } }),
  };
}
afterAll(async () => {
  for (const close of closers) await close();
});

describe('the queue', () => {
  test('is told lane by lane: of one tenant to its administrators, of all to the operator', async () => {
    const rig = await start();
    const [ours, theirs] = [await rig.newTenant(), await rig.newTenant('The others')];
    const colleague = await rig.addUser(ours.tenantId);
    await rig.upload(ours, 'waits');
    await rig.upload(colleague, 'waits too', { visibility: 'private' });
    const delayed = await rig.upload(ours, 'waits for another attempt');
    const running = await rig.upload(ours, 'runs');
    await rig.admin`update tasks set run_at = now() + interval '1 minute' where id = ${delayed.receipt.task_id}`;
    await rig.admin`update tasks set status = 'running' where id = ${running.receipt.task_id}`;
    await rig.admin`update tasks set run_at = now() - interval '90 seconds' where status = 'queued' and private_to is not null`;
    for (const text of ['a', 'b', 'c', 'd', 'e']) await rig.upload(theirs, text);
    await rig.as(theirs, () => rig.chat.send({ content: 'Does anybody answer?' }));

    const own = await rig.administration.queue(within(ours));
    const [ingest, chat] = own.lanes;
    expect(ingest).toMatchObject({ lane: 'ingest', queued: 2, delayed: 1, running: 1, outstanding: 4, limit: 1_000 });
    expect(ingest?.outstanding_bytes).toBe('waitswaits toowaits for another attemptruns'.length);
    expect(ingest?.oldest_seconds).toBeGreaterThanOrEqual(90);
    expect(chat).toMatchObject({ lane: 'chat', queued: 0, outstanding: 0, limit: null });
    expect(own.top_tenants).toBeNull();

    const all = await rig.administration.queue(INSTALLATION);
    expect(all.lanes[0]).toMatchObject({ queued: 7, delayed: 1, running: 1, outstanding: 9, limit: null });
    expect(all.lanes[1]).toMatchObject({ queued: 1, outstanding: 1 });
    expect(all.top_tenants?.map(({ tenant_id, outstanding }) => [tenant_id, outstanding])).toEqual([
      [theirs.tenantId, 5],
      [ours.tenantId, 4],
    ]);
    expect(all.top_tenants?.[0]).toMatchObject({ name: 'The others', limit: 1_000, weight: 1 });
  });

  test('of an installation without work is told as well', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    for (const reach of [INSTALLATION, within(who)]) {
      const { lanes } = await rig.administration.queue(reach);
      expect(lanes.map(({ lane, outstanding, oldest_seconds }) => [lane, outstanding, oldest_seconds])).toEqual([
        ['ingest', 0, 0],
        ['chat', 0, 0],
      ]);
    }
  });
});

describe('a dead letter', () => {
  test('is listed with its reason, and replayed it becomes a document', async () => {
    const rig = await start();
    const [who, stranger] = [await rig.newTenant(), await rig.newTenant()];
    const { receipt } = await rig.upload(who, linesOf(3));
    rig.provider.open = false;
    await rig.deliver(who, 'ingest', receipt.task_id);

    for (const reach of [within(who), INSTALLATION]) {
      expect((await rig.administration.deadLetters(reach, { limit: 10 })).items).toMatchObject([
        {
          id: receipt.task_id,
          tenant_id: who.tenantId,
          document_id: receipt.document_id,
          attempt: 1,
          reason: { code: 'provider_unavailable', message: 'The provider is down.' },
        },
      ]);
    }
    expect((await rig.administration.deadLetters(within(stranger), { limit: 10 })).items).toEqual([]);
    await expect(rig.administration.replay(within(stranger), receipt.task_id, TRACE)).rejects.toMatchObject({
      kind: 'not_found',
    });
    expect(await rig.outstanding(who)).toBe(0);

    expect(await rig.administration.replay(within(who), receipt.task_id, TRACE)).toMatchObject({ status: 'queued' });
    expect(await rig.outstanding(who)).toBe(1);
    expect((await rig.administration.deadLetters(within(who), { limit: 10 })).items).toEqual([]);
    await expect(rig.administration.replay(within(who), receipt.task_id, TRACE)).rejects.toMatchObject({
      kind: 'not_found',
    });
    rig.provider.open = true;
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    expect(await rig.outstanding(who)).toBe(0);
  });

  test('of somebody’s private document is replayed by an administrator who cannot read it, and by the operator', async () => {
    const rig = await start();
    const owner = await rig.newTenant();
    const colleague = await rig.addUser(owner.tenantId);
    const { receipt } = await rig.upload(colleague, 'my own', { visibility: 'private' });
    for (const reach of [within(owner), INSTALLATION]) {
      rig.provider.open = false;
      await rig.deliver(colleague, 'ingest', receipt.task_id);
      const { items } = await rig.administration.deadLetters(reach, { limit: 10 });
      expect(items.map(({ id }) => id)).toEqual([receipt.task_id]);
      expect(await rig.as(owner, () => rig.administration.replay(reach, receipt.task_id, TRACE))).toMatchObject({
        status: 'queued',
      });
    }
    await expect(rig.as(owner, () => rig.documents.get(receipt.document_id))).rejects.toMatchObject({
      kind: 'not_found',
    });
    rig.provider.open = true;
    expect(await rig.deliver(colleague, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
  });

  test('is on one page of the list, and on one only', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    rig.provider.open = false;
    const died: string[] = [];
    for (let i = 0; i < 7; i += 1) {
      const { receipt } = await rig.upload(who, `document ${i}`);
      await rig.deliver(who, 'ingest', receipt.task_id);
      died.unshift(receipt.task_id);
    }
    const seen: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await rig.administration.deadLetters(within(who), { limit: 3, cursor });
      seen.push(...page.items.map(({ id }) => id));
      if (page.next_cursor === null) break;
      cursor = page.next_cursor;
    }
    expect(seen).toEqual(died);
  });

  test('stays one where the queue has no room for it', async () => {
    const rig = await start({ queueMaxDepth: 1 });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, 'dies');
    rig.provider.open = false;
    await rig.deliver(who, 'ingest', receipt.task_id);
    await rig.upload(who, 'takes the only place');
    await expect(rig.administration.replay(within(who), receipt.task_id, TRACE)).rejects.toMatchObject({
      kind: 'queue_full',
    });
    expect((await rig.administration.deadLetters(within(who), { limit: 10 })).items).toHaveLength(1);
  });
});

describe('quotas', () => {
  test('are the installation’s until somebody sets them, and are kept below their ceilings', async () => {
    const rig = await start({ queueMaxDepth: 50, queueMaxBytes: 5_000 });
    const who = await rig.newTenant();
    const ceilings = { weight: 10, max_outstanding: 50, max_outstanding_bytes: 5_000 };
    const first = { weight: 1, max_outstanding: 50, max_outstanding_bytes: 5_000 };
    expect(await rig.as(who, () => rig.quotas.get())).toMatchObject({ ...first, outstanding: 0, ceilings });

    const set = (change: Parameters<typeof rig.quotas.set>[0]) => rig.as(who, () => rig.quotas.set(change));
    expect(await set({ weight: 0.1, max_outstanding: 2 })).toMatchObject({
      weight: 0.1,
      max_outstanding: 2,
      max_outstanding_bytes: 5_000,
      ceilings,
    });
    await rig.upload(who, 'one');
    await rig.upload(who, 'two');
    await expect(rig.upload(who, 'three')).rejects.toMatchObject({ kind: 'queue_full' });
    expect(await set({ max_outstanding: null })).toMatchObject({ weight: 0.1, max_outstanding: 50, outstanding: 2 });
    await rig.upload(who, 'three');
    await expect(set({ weight: 11, max_outstanding: 51, max_outstanding_bytes: 5_001 })).rejects.toMatchObject({
      kind: 'invalid_request',
      errors: [
        { path: '/weight', message: 'at most 10' },
        { path: '/max_outstanding', message: 'at most 50' },
        { path: '/max_outstanding_bytes', message: 'at most 5000' },
      ],
    });
    expect(await set({ weight: null })).toMatchObject({ weight: 1 });
  });

  test('that the operator grants bound what the tenant sets, up and down', async () => {
    const rig = await start({ queueMaxDepth: 3 });
    const [who, other] = [await rig.newTenant(), await rig.newTenant()];
    const grant = (change: Parameters<typeof rig.quotas.set>[0]) => rig.quotas.grant(who.tenantId, change, TRACE);
    expect(await grant({ weight: 20, max_outstanding: 5 })).toMatchObject({
      weight: 20,
      max_outstanding: 5,
      ceilings: { weight: 20, max_outstanding: 5 },
    });
    expect(await rig.as(who, () => rig.quotas.set({ weight: 15, max_outstanding: 4 }))).toMatchObject({ weight: 15 });
    for (const text of ['1', '2', '3', '4']) await rig.upload(who, text);
    await expect(rig.upload(who, '5')).rejects.toMatchObject({ kind: 'queue_full' });
    // What is granted less than the tenant has set is in force at once.
    expect(await grant({ max_outstanding: 2 })).toMatchObject({ max_outstanding: 2, outstanding: 4 });
    await expect(rig.as(who, () => rig.quotas.set({ max_outstanding: 3 }))).rejects.toMatchObject({
      kind: 'invalid_request',
    });
    expect(await grant({ weight: null, max_outstanding: null })).toMatchObject({
      weight: 1,
      max_outstanding: 3,
      ceilings: { weight: 10, max_outstanding: 3 },
    });
    expect(await rig.as(other, () => rig.quotas.get())).toMatchObject({ weight: 1, max_outstanding: 3 });
    await expect(rig.quotas.grant(crypto.randomUUID(), { weight: 2 }, TRACE)).rejects.toMatchObject({
      kind: 'not_found',
    });
  });

  test('cannot be granted by a tenant itself, whatever the code forgets', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    for (const column of ['granted_weight', 'granted_outstanding', 'granted_outstanding_bytes', 'tenant_id']) {
      const attempt = rig.as(who, () =>
        rig.database.tenant((sql) => sql`update tenant_load set ${sql(column)} = null`),
      );
      await expect(attempt).rejects.toThrow('permission denied');
    }
  });

  test('have their weight in force at the next hand-out', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    await rig.upload(who, 'one');
    await rig.upload(who, 'two');
    const handOut = (window: number) => rig.database.system((sql) => handOutNext(sql, 'ingest', who.tenantId, window));
    expect((await handOut(1)).weight).toBe(1);
    await rig.as(who, () => rig.quotas.set({ weight: 2.5 }));
    expect((await handOut(2)).weight).toBe(2.5);
  });
});

describe('admission by bytes', () => {
  test('is exact under a hundred concurrent uploads of different sizes, and keeps nothing of what it refuses', async () => {
    const rig = await start({ queueMaxBytes: 20_000, queueMaxDepth: 90 });
    const who = await rig.newTenant();
    const text = (i: number) => `${i} `.padEnd(100 + ((i * 37) % 900), 'x');
    const all = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => rig.upload(who, text(i))));
    const bytes = all.reduce((sum, one, i) => sum + (one.status === 'fulfilled' ? text(i).length : 0), 0);
    const refused = all.flatMap((one, i) => (one.status === 'rejected' ? [{ size: text(i).length, one }] : []));
    expect(refused.length).toBeGreaterThan(20);
    for (const { one } of refused) expect(one.reason).toMatchObject({ kind: 'queue_full' });
    expect(bytes).toBeLessThanOrEqual(20_000);
    // Nothing was refused that would still have fitted at the end.
    expect(Math.min(...refused.map(({ size }) => size))).toBeGreaterThan(20_000 - bytes);
    const [row] = await rig.admin<{ outstanding: number; bytes: number; tasks: number; sizes: number }[]>`
      select l.outstanding, l.outstanding_bytes::int as bytes, (select count(*)::int from tasks) as tasks,
        (select sum(size)::int from documents) as sizes
      from tenant_load l where l.tenant_id = ${who.tenantId}`;
    const accepted = 100 - refused.length;
    expect({ ...row }).toEqual({ outstanding: accepted, bytes, tasks: accepted, sizes: bytes });
    const { readdir } = await import('node:fs/promises');
    const files = await readdir(rig.folder.path, { recursive: true, withFileTypes: true });
    expect(files.filter((entry) => entry.isFile())).toHaveLength(accepted);
  }, 30_000);

  test('tells a document that no empty queue would take that waiting does not help', async () => {
    const rig = await start({ queueMaxBytes: 100 });
    const who = await rig.newTenant();
    await expect(rig.upload(who, 'x'.repeat(101))).rejects.toMatchObject({ kind: 'payload_too_large' });
    await rig.upload(who, 'x'.repeat(100));
    await expect(rig.upload(who, 'y')).rejects.toMatchObject({ kind: 'queue_full' });
  });

  test('frees the bytes of what has ended', async () => {
    const rig = await start({ queueMaxBytes: 100 });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, 'x'.repeat(80));
    await expect(rig.upload(who, 'y'.repeat(80))).rejects.toMatchObject({ kind: 'queue_full' });
    await rig.deliver(who, 'ingest', receipt.task_id);
    await rig.upload(who, 'y'.repeat(80));
  });
});

describe('the check of the counters', () => {
  test('finds nothing where nothing is wrong, also while work is accepted and ends', async () => {
    const rig = await start({ maxAttempts: 3 });
    const who = await rig.newTenant();
    const counters = createCounterCheck({ ...rig, clock: systemClock, logger: silentLogger });
    let busy = true;
    const watching = (async () => {
      while (busy) expect(await counters.check()).toEqual([]);
    })();
    const receipts = await Promise.all(Array.from({ length: 20 }, (_, i) => rig.upload(who, `document ${i}`)));
    await Promise.all(
      receipts.map(({ receipt }, i) =>
        i % 4 === 0
          ? rig.as(who, () => rig.documents.remove(receipt.document_id))
          : rig.deliver(who, 'ingest', receipt.task_id),
      ),
    );
    busy = false;
    await watching;
    expect(await rig.outstanding(who)).toBe(0);
  }, 30_000);

  test('repairs a counter that is off, says by how much, and lets work that goes on count right', async () => {
    const rig = await start();
    const [high, low, right] = [await rig.newTenant(), await rig.newTenant(), await rig.newTenant()];
    for (const who of [high, low, right]) await rig.upload(who, '12345');
    await rig.admin`update tenant_load set outstanding = 40, outstanding_bytes = 4000 where tenant_id = ${high.tenantId}`;
    await rig.admin`update tenant_load set outstanding = 0, outstanding_bytes = 0 where tenant_id = ${low.tenantId}`;
    const counters = createCounterCheck({ ...rig, clock: systemClock, logger: silentLogger });
    const [found] = await Promise.all([
      counters.check(),
      ...Array.from({ length: 10 }, (_, i) => rig.upload(high, `more ${i}`)),
    ]);
    expect(found.map(({ tenantId }) => tenantId).sort()).toEqual([high.tenantId, low.tenantId].sort());
    const drift = (await rig.metrics.queueCounterDrift.get()).values;
    expect(drift.find(({ labels }) => labels.unit === 'tasks')?.value).toBeGreaterThanOrEqual(40);
    expect([await rig.outstanding(high), await rig.outstanding(low), await rig.outstanding(right)]).toEqual([11, 1, 1]);
    expect(await counters.check()).toEqual([]);
    expect((await rig.metrics.queueCounterDrift.get()).values.map(({ value }) => value)).toEqual([0, 0]);
  });

  test('runs again and again until it is stopped', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    await rig.admin`update tenant_load set outstanding = 3 where tenant_id = ${who.tenantId}`;
    const repaired = Promise.withResolvers<void>();
    const logger = silentLogger.child({});
    logger.error = (() => repaired.resolve()) as typeof logger.error;
    const counters = createCounterCheck({ ...rig, clock: systemClock, logger, everyMs: 5 });
    await counters.start();
    await counters.start();
    await repaired.promise;
    await counters.stop();
    await counters.stop();
    expect(await rig.outstanding(who)).toBe(0);
  });
});
