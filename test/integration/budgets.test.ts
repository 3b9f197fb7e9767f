/** Budgets of tenants: what is under way is counted before it is spent, what is over is refused or waits. */
import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { ChatProvider, EmbeddingProvider, Principal } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinChat } from '../../src/llm/builtin-chat.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createQuotaStats } from '../../src/services/quota-stats.ts';
import { createQuotaSettings } from '../../src/services/quotas.ts';
import { eventually } from '../support/eventually.ts';
import { createRig, linesOf, type RigOptions } from '../support/rig.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const closers: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closers) await close();
});

/** Answers of 1,050 tokens. */
const chat: ChatProvider = {
  ...createBuiltinChat(),
  provider: 'paid',
  model: 'paid-chat',
  contextTokens: 8_000,
  countTokens: (text) => text.length,
  async *answer() {
    yield { type: 'delta', text: 'an answer' };
    yield { type: 'usage', promptTokens: 1_000, completionTokens: 50, cost: 0 };
  },
};
const builtin = createBuiltinEmbeddings({ dimensions: 64 });
const embeddings: EmbeddingProvider = {
  ...builtin,
  model: 'paid-vectors',
  async embed(texts, options) {
    return { vectors: (await builtin.embed(texts, options)).vectors, tokens: texts.length * 10 };
  },
};
const prices = { 'paid-chat': { input: 2, output: 10 }, 'paid-vectors': { input: 0.5 } };

async function start(options: RigOptions = {}) {
  const rig = await createRig({ chat, embeddings, prices, ...options });
  const admin = postgres(rig.db.adminUrl, { max: 2, onnotice: () => undefined });
  closers.push(async () => {
    await admin.end();
    await rig.close();
  });
  const nudged: string[] = [];
  const quotas = createQuotaSettings({
    database: rig.database,
    limits: rig.limits,
    feeder: { nudge: (_, tenantId) => void nudged.push(tenantId) },
  });
  const ask = (who: Principal, content = 'what is it?') => rig.as(who, () => rig.chat.send({ content }));
  const answer = async (who: Principal) => {
    const { turn_id: id } = await ask(who);
    expect(await rig.deliver(who, 'chat', id)).toEqual({ type: 'done' });
  };
  return { ...rig, admin, quotas, nudged, ask, answer, rig };
}

const refused = { kind: 'quota_exceeded', status: 429 };

describe('a budget of tokens', () => {
  test('lets turns begin until it is spent, and then says when it begins anew', async () => {
    const { as, quotas, newTenant, ask, answer } = await start();
    const [who, other] = [await newTenant(), await newTenant()];
    const set = await as(who, () => quotas.set({ max_tokens: 2_000 }));
    const ends = new Date();
    expect(set).toMatchObject({
      max_tokens: 2_000,
      max_cost: null,
      budget_period: 'month',
      used_tokens: 0,
      reserved_tokens: 0,
      budget_resets_at: new Date(Date.UTC(ends.getUTCFullYear(), ends.getUTCMonth() + 1)).toISOString(),
      ceilings: { max_tokens: null, max_cost: null },
    });
    await answer(who);
    await answer(who);
    const left = Date.parse(set.budget_resets_at) - Date.now();
    const error = await ask(who).catch((thrown: unknown) => thrown as { retryAfterMs: number });
    expect(error).toMatchObject(refused);
    expect('retryAfterMs' in error && Math.abs(error.retryAfterMs - left)).toBeLessThan(60_000);
    expect(await as(who, () => quotas.get())).toMatchObject({ used_tokens: 2_100, reserved_tokens: 0 });
    // A message that was refused left nothing, and another tenant notices nothing.
    await answer(other);
    expect(await as(other, () => quotas.get())).toMatchObject({ max_tokens: null, used_tokens: 1_050 });
    await as(who, () => quotas.set({ max_tokens: 2_101 }));
    await answer(who);
    await as(who, () => quotas.set({ max_tokens: null }));
    await answer(who);
  });

  test('is not passed by fifty turns at once but by one', async () => {
    const { as, quotas, newTenant, addUser, ask, deliver, admin } = await start();
    const who = await newTenant();
    const colleague = await addUser(who.tenantId);
    await as(who, () => quotas.set({ max_tokens: 30_000 }));
    const asked = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => ask(i % 2 === 0 ? who : colleague)));
    const accepted = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value.turn_id] : []));
    for (const one of asked) if (one.status === 'rejected') expect(one.reason).toMatchObject(refused);
    const before = await as(who, () => quotas.get());
    const estimate = before.reserved_tokens / accepted.length;
    expect(estimate).toBeGreaterThan(1_050);
    expect(before.used_tokens).toBe(0);
    expect(before.reserved_tokens - estimate).toBeLessThan(30_000);
    expect(before.reserved_tokens).toBeGreaterThanOrEqual(30_000);
    const [rows] = await admin<{ turns: number; messages: number }[]>`
      select (select count(*)::int from turns) as turns, (select count(*)::int from messages) as messages`;
    expect({ ...rows }).toEqual({ turns: accepted.length, messages: accepted.length });
    // What they did not need is free again when they end.
    const turns = await admin<{ id: string; user_id: string }[]>`select id, user_id from turns`;
    for (const { id, user_id: userId } of turns) {
      expect(await deliver({ tenantId: who.tenantId, userId }, 'chat', id)).toEqual({ type: 'done' });
    }
    expect(await as(who, () => quotas.get())).toMatchObject({
      used_tokens: 1_050 * accepted.length,
      reserved_tokens: 0,
    });
    await ask(who);
  }, 60_000);

  test('gets back what a turn reserved that was cancelled, or whose conversation was deleted', async () => {
    const { as, quotas, newTenant, ask, chat: chats, conversations } = await start();
    const who = await newTenant();
    await as(who, () => quotas.set({ max_tokens: 10 }));
    const first = await ask(who);
    await expect(ask(who)).rejects.toMatchObject(refused);
    await as(who, () => chats.cancel(first.turn_id));
    const second = await ask(who);
    await expect(ask(who)).rejects.toMatchObject(refused);
    await as(who, () => conversations.remove(second.conversation_id));
    expect(await as(who, () => quotas.get())).toMatchObject({ used_tokens: 0, reserved_tokens: 0 });
    await ask(who);
  });

  test('of a day counts this day alone, whether or not it is added up', async () => {
    const { as, quotas, newTenant, answer, ask, admin } = await start();
    const who = await newTenant();
    await as(who, () => quotas.set({ max_tokens: 1_000, budget_period: 'day' }));
    await answer(who);
    await expect(ask(who)).rejects.toMatchObject(refused);
    const day = await as(who, () => quotas.get());
    expect(Date.parse(day.budget_resets_at) - Date.now()).toBeLessThanOrEqual(86_400_000);
    await admin`update usage_records set at = at - interval '1 day'`;
    expect(await as(who, () => quotas.get())).toMatchObject({ used_tokens: 0, budget_period: 'day' });
    await answer(who);
  });
});

describe('a budget of dollars', () => {
  test('counts what has a price', async () => {
    const { as, quotas, newTenant, answer, ask } = await start();
    const who = await newTenant();
    await as(who, () => quotas.set({ max_cost: 0.004 }));
    await answer(who);
    expect(await as(who, () => quotas.get())).toMatchObject({ max_cost: 0.004, used_cost: 0.0025 });
    await answer(who);
    await expect(ask(who)).rejects.toMatchObject(refused);
  });
});

describe('a document', () => {
  test('waits for the budget without failing, and goes on at once when there is more of it', async () => {
    const { as, quotas, newTenant, upload, deliver, tasks, admin, nudged } = await start({ maxAttempts: 1 });
    const who = await newTenant();
    await as(who, () => quotas.set({ max_tokens: 30 }));
    const first = await upload(who, linesOf(3, 'first'));
    expect(await deliver(who, 'ingest', first.receipt.task_id)).toEqual({ type: 'done' });
    const second = await upload(who, linesOf(3, 'second'), { visibility: 'private' });
    const id = second.receipt.task_id;
    for (const _ of ['once', 'and again']) {
      expect(await deliver(who, 'ingest', id)).toMatchObject({ type: 'retry', code: 'quota_exceeded' });
      const task = await as(who, () => tasks.get(id));
      expect(task).toMatchObject({ status: 'queued', retry_count: 0, error: { code: 'quota_exceeded' } });
    }
    const [row] = await admin<
      { waits: boolean }[]
    >`select run_at > now() + interval '1 second' as waits from tasks where id = ${id}`;
    expect(row?.waits).toBe(true);
    const colleague = await as(who, () => quotas.set({ max_tokens: 31 }));
    expect(colleague.max_tokens).toBe(31);
    expect(nudged).toContain(who.tenantId);
    const [now] = await admin<{ due: boolean }[]>`select run_at <= now() as due from tasks where id = ${id}`;
    expect(now?.due).toBe(true);
    expect(await deliver(who, 'ingest', id)).toEqual({ type: 'done' });
    expect(await as(who, () => quotas.get())).toMatchObject({ used_tokens: 60, reserved_tokens: 0 });
  });

  test('reserves what a batch needs while it is bought, and frees it however it ends', async () => {
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const slow: EmbeddingProvider = {
      ...embeddings,
      async embed(texts, options) {
        begun.resolve();
        await gate.promise;
        return embeddings.embed(texts, options);
      },
    };
    const { as, quotas, newTenant, upload, deliver, documents } = await start({ embeddings: slow });
    const who = await newTenant();
    await as(who, () => quotas.set({ max_tokens: 5 }));
    const { receipt } = await upload(who, linesOf(2));
    const running = deliver(who, 'ingest', receipt.task_id);
    await begun.promise;
    expect((await as(who, () => quotas.get())).reserved_tokens).toBe(linesOf(2).length - 1);
    const other = await upload(who, linesOf(2, 'other'));
    expect(await deliver(who, 'ingest', other.receipt.task_id)).toMatchObject({ code: 'quota_exceeded' });
    await as(who, () => documents.remove(receipt.document_id));
    expect((await as(who, () => quotas.get())).reserved_tokens).toBe(0);
    gate.resolve();
    await running;
  });
});

describe('who sets it', () => {
  test('is the tenant, below what the operator grants, whose is the period then', async () => {
    const { as, quotas, newTenant, ask, answer } = await start();
    const [who, other] = [await newTenant(), await newTenant()];
    await as(who, () => quotas.set({ budget_period: 'day' }));
    const granted = await quotas.grant(
      who.tenantId,
      { max_tokens: 1_000, max_cost: 2.5, budget_period: 'month' },
      TRACE,
    );
    expect(granted).toMatchObject({
      max_tokens: 1_000,
      max_cost: 2.5,
      budget_period: 'month',
      ceilings: { max_tokens: 1_000, max_cost: 2.5 },
    });
    const change = { max_tokens: 1_001, max_cost: 3, budget_period: 'day' } as const;
    await expect(as(who, () => quotas.set(change))).rejects.toMatchObject({
      kind: 'invalid_request',
      errors: [{ path: '/max_tokens' }, { path: '/max_cost' }, { path: '/budget_period' }],
    });
    expect(await as(who, () => quotas.set({ max_tokens: null }))).toMatchObject({ max_tokens: 1_000 });
    await answer(who);
    await expect(ask(who)).rejects.toMatchObject(refused);
    await expect(quotas.grant(crypto.randomUUID(), { max_tokens: 1 }, TRACE)).rejects.toMatchObject({
      kind: 'not_found',
    });
    expect(await as(other, () => quotas.get())).toMatchObject({ max_tokens: null, ceilings: { max_tokens: null } });
    await quotas.grant(who.tenantId, { max_tokens: null, max_cost: null }, TRACE);
    await answer(who);
  });

  test('is not the tenant where the database is asked: grants are no tenant’s to write', async () => {
    const { as, database, newTenant, quotas } = await start();
    const who = await newTenant();
    await as(who, () => quotas.set({ max_tokens: 5 }));
    const write = as(who, () => database.tenant((sql) => sql`update budgets set granted_tokens = 1`));
    await expect(write).rejects.toThrow('permission denied');
  });
});

test('what is spent of it is told to the metrics', async () => {
  const { as, quotas, newTenant, answer, rig } = await start();
  const who = await newTenant();
  await as(who, () => quotas.set({ max_tokens: 10_500 }));
  await answer(who);
  const { database, limits, metrics } = rig;
  const stats = createQuotaStats({ database, limits, metrics, clock: systemClock, logger: silentLogger, everyMs: 5 });
  await stats.start();
  await eventually('a tenth is told', async () =>
    (await metrics.quotaUsedPct.get()).values.some(({ labels, value }) => labels.name === who.tenantId && value === 10),
  );
  await stats.stop();
});
