/** What work with models has cost: written once whatever happens to the work, added up, and shown to whom it concerns. */
import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { ChatProvider, EmbeddingProvider, Principal } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinChat } from '../../src/llm/builtin-chat.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { rollUpUsage } from '../../src/repositories/usage.ts';
import { createUsages } from '../../src/services/usage.ts';
import { createUsageRollUp } from '../../src/services/usage-rollup.ts';
import { eventually } from '../support/eventually.ts';
import { createRig, linesOf, type Rig, type RigOptions } from '../support/rig.ts';

const closers: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closers) await close();
});

const PRICES = { 'paid-chat': { input: 2, output: 10 }, 'paid-vectors': { input: 0.5 } };
const TODAY = () => new Date().toISOString().slice(0, 10);

/** Vectors that are billed: seven tokens a text. */
function paidVectors(): EmbeddingProvider & { bought: number } {
  const builtin = createBuiltinEmbeddings({ dimensions: 64 });
  const paid = {
    ...builtin,
    model: 'paid-vectors',
    maxBatch: 10,
    bought: 0,
    async embed(texts: readonly string[], options: Parameters<typeof builtin.embed>[1]) {
      const { vectors } = await builtin.embed(texts, options);
      if (options.purpose === 'document') paid.bought += texts.length * 7;
      return { vectors, tokens: texts.length * 7 };
    },
  };
  return paid;
}

interface PaidChat extends ChatProvider {
  /** What happens instead of the usage, once, after the first words. */
  instead: ((signal: AbortSignal) => Promise<never>) | undefined;
}

/** Answers that are billed: 1,000 tokens read, 50 written. */
function paidChat(): PaidChat {
  return {
    ...createBuiltinChat(),
    provider: 'paid',
    model: 'paid-chat',
    contextTokens: 8_000,
    countTokens: (text) => text.length,
    instead: undefined,
    summarise: () => Promise.reject(new Error('nobody asked for one')),
    async *answer(_request, signal) {
      yield { type: 'delta', text: 'an answer of its own' };
      const { instead } = this;
      this.instead = undefined;
      if (instead) await instead(signal);
      yield { type: 'usage', promptTokens: 1_000, completionTokens: 50, cost: 0 };
    },
  };
}

async function start(options: RigOptions = {}) {
  const made = await createRig({ prices: PRICES, ...options });
  const admin = postgres(made.db.adminUrl, { max: 2, onnotice: () => undefined });
  closers.push(async () => {
    await admin.end();
    await made.close();
  });
  const rig = {
    ...made,
    admin,
    until: (rows: () => Promise<readonly unknown[]>) => eventually('a row', async () => (await rows()).length > 0),
  };
  const usages = createUsages({ database: rig.database, clock: systemClock });
  const report = (who: Principal, query: Parameters<typeof usages.report>[0] = {}) =>
    rig.as(who, () => usages.report(query, who));
  const ask = async (who: Principal, conversationId?: string) => {
    const message = { content: 'what is it?', ...(conversationId !== undefined && { conversationId }) };
    return rig.as(who, () => rig.chat.send(message));
  };
  return { rig, report, ask };
}

const rollUp = async (rig: Pick<Rig, 'database'>) => {
  while ((await rig.database.system((sql) => rollUpUsage(sql, 3))) > 0);
};

describe('an answer', () => {
  test('is recorded with what its provider says, and the price of its model', async () => {
    const { rig, report, ask } = await start({ chat: paidChat() });
    const who = await rig.newTenant();
    const { turn_id: id } = await ask(who);
    expect(await rig.deliver(who, 'chat', id)).toEqual({ type: 'done' });
    const cost = (1_000 * 2 + 50 * 10) / 1e6;
    const sums = {
      prompt_tokens: 1_000,
      completion_tokens: 50,
      counted_tokens: 0,
      unpriced_tokens: 0,
      cost,
      requests: 1,
    };
    expect(await report(who, { group_by: 'model' })).toMatchObject({
      from: new Date(Date.now() - 29 * 86_400_000).toISOString().slice(0, 10),
      to: TODAY(),
      group_by: 'model',
      scope: 'tenant',
      groups: [{ model: 'paid-chat', embedding_tokens: 0, ...sums }],
      totals: { ...sums, storage_bytes: 0 },
    });
    expect((await rig.as(who, () => rig.chat.turn(id))).usage).toEqual({
      prompt_tokens: 1_000,
      completion_tokens: 50,
      cost,
    });
  });

  test('that is tried again is recorded once an attempt, and delivered again not at all', async () => {
    const chat = paidChat();
    const { rig, report, ask } = await start({ chat });
    const who = await rig.newTenant();
    chat.instead = async () => Promise.reject(new Error('broken'));
    const { turn_id: id } = await ask(who);
    expect((await rig.deliver(who, 'chat', id)).type).toBe('retry');
    await rig.admin`update turns set run_at = now()`;
    expect(await rig.deliver(who, 'chat', id)).toEqual({ type: 'done' });
    expect(await rig.deliver(who, 'chat', id)).toEqual({ type: 'superseded' });
    const { totals } = await report(who);
    // The first was cut off: its question and its words are counted by us.
    const [question, words] = ['what is it?'.length, 'an answer of its own'.length];
    expect(totals).toMatchObject({
      requests: 2,
      prompt_tokens: 1_000 + question,
      completion_tokens: 50 + words,
      counted_tokens: question + words,
    });
  });

  test('whose worker is frozen until another one took over is recorded by the one that ends it', async () => {
    const chat = paidChat();
    const { rig, report, ask } = await start({ chat });
    const who = await rig.newTenant();
    const [begun, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    chat.instead = async () => {
      begun.resolve();
      await gate.promise;
      throw new Error('thawed');
    };
    const { turn_id: id } = await ask(who);
    const lost = rig.deliver(who, 'chat', id);
    await begun.promise;
    await rig.admin`update turns set leased_until = now() - interval '1 minute', attempt = 2`;
    gate.resolve();
    expect((await lost).type).toBe('superseded');
    expect(await rig.deliver(who, 'chat', id)).toEqual({ type: 'done' });
    expect((await report(who)).totals).toMatchObject({ requests: 1, prompt_tokens: 1_000, completion_tokens: 50 });
  });

  test('that is stopped is recorded with the words that had come', async () => {
    const chat = paidChat();
    const { rig, report, ask } = await start({ chat });
    const who = await rig.newTenant();
    const begun = Promise.withResolvers<void>();
    chat.instead = (signal) => {
      begun.resolve();
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const { turn_id: id } = await ask(who);
    const running = rig.deliver(who, 'chat', id);
    await begun.promise;
    await rig.as(who, () => rig.chat.cancel(id));
    rig.tenants.cancel(who.tenantId, id);
    expect(await running).toEqual({ type: 'cancelled' });
    expect((await report(who)).totals).toMatchObject({ requests: 1, completion_tokens: 20, counted_tokens: 31 });
    expect((await rig.as(who, () => rig.chat.turn(id))).usage.completion_tokens).toBe(20);
  });

  test('that a provider refuses costs nothing', async () => {
    const chat = paidChat();
    chat.answer = async function* () {
      yield* [];
      throw new AppError('provider_unavailable', 'away');
    };
    const { rig, report, ask } = await start({ chat });
    const who = await rig.newTenant();
    const { turn_id: id } = await ask(who);
    expect((await rig.deliver(who, 'chat', id)).type).toBe('failed');
    expect((await report(who)).totals).toMatchObject({ requests: 0, cost: 0, prompt_tokens: 0 });
  });

  test('of a model without a price has none', async () => {
    const { rig, report, ask } = await start({ chat: { ...paidChat(), model: 'nobody-knows' } });
    const who = await rig.newTenant();
    const { turn_id: id } = await ask(who);
    await rig.deliver(who, 'chat', id);
    for (const round of ['recorded', 'added up']) {
      const { totals } = await report(who);
      expect([round, totals]).toMatchObject([round, { unpriced_tokens: 1_050, cost: null, requests: 1 }]);
      await rollUp(rig);
    }
  });
});

describe('a document', () => {
  test('is recorded batch by batch, what is known already not at all', async () => {
    const embeddings = paidVectors();
    const { rig, report } = await start({ embeddings });
    const who = await rig.newTenant();
    const text = linesOf(25);
    const { receipt } = await rig.upload(who, text);
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    expect((await report(who)).totals).toEqual({
      prompt_tokens: 0,
      completion_tokens: 0,
      embedding_tokens: 175,
      counted_tokens: 0,
      unpriced_tokens: 0,
      cost: (175 * 0.5) / 1e6,
      requests: 3,
      storage_bytes: text.length,
    });
    const again = await rig.upload(who, text, { title: 'again', source_type: 'copy' });
    expect(await rig.deliver(who, 'ingest', again.receipt.task_id)).toEqual({ type: 'done' });
    expect((await report(who)).totals).toMatchObject({
      embedding_tokens: 175,
      requests: 3,
      storage_bytes: 2 * text.length,
    });
  });

  test('that fails between batches is recorded for what was bought, whatever the next attempt does', async () => {
    const embeddings = paidVectors();
    const { rig, report } = await start({ embeddings });
    const who = await rig.newTenant();
    const { embed } = embeddings;
    let calls = 0;
    embeddings.embed = async (texts, options) => {
      calls += 1;
      if (calls === 2) throw new Error('broken in the middle');
      return embed(texts, options);
    };
    const { receipt } = await rig.upload(who, linesOf(25));
    expect((await rig.deliver(who, 'ingest', receipt.task_id)).type).toBe('retry');
    expect((await report(who)).totals).toMatchObject({ embedding_tokens: 70, requests: 1 });
    await rig.admin`update tasks set run_at = now()`;
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    expect(embeddings.bought).toBe(175);
    expect((await report(who)).totals).toMatchObject({ embedding_tokens: 175, requests: 3 });
  });

  test('of which many are published together is recorded each for itself', async () => {
    const embeddings = paidVectors();
    const { rig, report } = await start({ embeddings });
    const [one, other] = [await rig.newTenant(), await rig.newTenant()];
    const uploads = await Promise.all(
      Array.from({ length: 24 }, async (_, i) => {
        const who = i % 3 === 0 ? other : one;
        return { who, id: (await rig.upload(who, linesOf(2, `of ${i}`))).receipt.task_id };
      }),
    );
    await Promise.all(uploads.map(({ who, id }) => rig.deliver(who, 'ingest', id)));
    expect((await report(one)).totals).toMatchObject({ embedding_tokens: 16 * 14, requests: 16 });
    expect((await report(other)).totals).toMatchObject({ embedding_tokens: 8 * 14, requests: 8 });
  });
});

describe('sums', () => {
  test('are the same before, while and after records are added up, by several at once', async () => {
    const { rig, report } = await start({ embeddings: paidVectors() });
    const who = await rig.newTenant();
    const uploads = await Promise.all(Array.from({ length: 20 }, (_, i) => rig.upload(who, linesOf(3, `of ${i}`))));
    await Promise.all(uploads.map(({ receipt }) => rig.deliver(who, 'ingest', receipt.task_id)));
    const before = await report(who, { group_by: 'user' });
    expect(before.totals.requests).toBe(20);
    let busy = true;
    const watching = (async () => {
      while (busy) expect(await report(who, { group_by: 'user' })).toEqual(before);
    })();
    await Promise.all([rollUp(rig), rollUp(rig), rollUp(rig)]);
    await rollUp(rig);
    busy = false;
    await watching;
    const [left] = await rig.admin<{ records: number; sums: number }[]>`
      select (select count(*)::int from usage_records) as records, (select sum(requests)::int from usage_daily) as sums`;
    expect({ ...left }).toEqual({ records: 0, sums: 20 });
  });

  test('are made by a service of its own', async () => {
    const { rig, report } = await start({ embeddings: paidVectors() });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(3));
    await rig.deliver(who, 'ingest', receipt.task_id);
    const service = createUsageRollUp({ database: rig.database, clock: systemClock, logger: silentLogger, everyMs: 5 });
    await service.start();
    await rig.until(() => rig.admin`select 1 from usage_daily`);
    await service.stop();
    expect((await report(who)).totals.requests).toBe(1);
  });

  test('are by day, in UTC, of the days that were asked for', async () => {
    const { rig, report } = await start({ embeddings: paidVectors() });
    const who = await rig.newTenant();
    for (const day of [
      '2026-03-01T23:59:59Z',
      '2026-03-02T00:00:00Z',
      '2026-03-02T12:00:00Z',
      '2026-03-04T01:00:00Z',
    ]) {
      const { receipt } = await rig.upload(who, linesOf(1, day));
      await rig.deliver(who, 'ingest', receipt.task_id);
      await rig.admin`update usage_records set at = ${day}::timestamptz where at > now() - interval '1 hour'`;
      if (day.endsWith('12:00:00Z')) await rollUp(rig);
    }
    const asked = await report(who, { from: '2026-03-01', to: '2026-03-02T18:00:00Z' });
    expect(asked.groups.map(({ day, requests }) => [day, requests])).toEqual([
      ['2026-03-01', 1],
      ['2026-03-02', 2],
    ]);
    expect(asked.totals).toMatchObject({ requests: 3, embedding_tokens: 21 });
    const year = await report(who, { from: '2026-01-01', to: '2026-12-31' });
    expect(year.groups.map(({ day }) => day)).toEqual(['2026-03-01', '2026-03-02', '2026-03-04']);
  });

  test.each([
    { from: '2026-02-30' },
    { to: 'yesterday!' },
    { from: '2026-03-02', to: '2026-03-01' },
    { from: '2025-01-01', to: '2026-06-01' },
  ])('of %p are refused', async (range) => {
    const usages = createUsages({ database: { read: () => Promise.reject(new Error('asked')) }, clock: systemClock });
    const by: Principal = { tenantId: '', userId: '', role: 'member', sessionId: '', expiresAt: 0 };
    await expect(usages.report(range, by)).rejects.toMatchObject({ kind: 'invalid_request' });
  });
});

describe('who sees what', () => {
  test('members their own, administrators the tenant’s, other tenants nothing', async () => {
    const { rig, report } = await start({ embeddings: paidVectors() });
    const owner = await rig.newTenant();
    const member: Principal = { ...(await rig.addUser(owner.tenantId)), role: 'member' };
    const stranger = await rig.newTenant();
    for (const [who, text, fields] of [
      [owner, 'the owner’s', {}],
      [member, 'the member’s own', { visibility: 'private' }],
      [stranger, 'a stranger’s', {}],
    ] as const) {
      const { receipt } = await rig.upload(who, text, fields);
      await rig.deliver(who, 'ingest', receipt.task_id);
    }
    const bytes = (text: string) => Buffer.byteLength(text);
    for (const round of ['recorded', 'added up']) {
      const mine = await report(member, { group_by: 'user' });
      expect([round, mine.scope, mine.groups.map(({ user_id: id }) => id)]).toEqual([round, 'user', [member.userId]]);
      expect(mine.totals).toMatchObject({ requests: 1, storage_bytes: bytes('the member’s own') });
      const all = await report(owner, { group_by: 'user' });
      expect(all.groups.map(({ user_id: id }) => id ?? '').sort()).toEqual([owner.userId, member.userId].sort());
      expect(all.totals).toMatchObject({ requests: 2, storage_bytes: bytes('the owner’sthe member’s own') });
      const key: Principal = { ...owner, scopes: ['read'] };
      expect(await report(key)).toMatchObject({ scope: 'user', totals: { requests: 1 } });
      expect((await report(stranger)).totals.requests).toBe(1);
      await rollUp(rig);
    }
  });

  test('a transaction that does not ask for the tenant’s sums reads none of others, nor writes in their names', async () => {
    const { rig } = await start();
    const owner = await rig.newTenant();
    const member = await rig.addUser(owner.tenantId);
    const insert = (user: string) =>
      rig.as(owner, () =>
        rig.database.tenant(
          (sql) => sql`
          insert into usage_records (source_id, attempt, part, user_id, model, prompt_tokens, completion_tokens,
            embedding_tokens, counted)
          values (${crypto.randomUUID()}, 1, 0, ${user}, 'm', 1, 1, 1, false)`,
        ),
      );
    await insert(owner.userId);
    await expect(insert(member.userId)).rejects.toThrow(/row-level security/);
    const seen = (who: Principal) =>
      rig.as(who, () =>
        rig.database.tenant((sql) => sql`select 1 from usage_records union all select 1 from usage_daily`),
      );
    expect(await seen(member)).toHaveLength(0);
    expect(await seen(owner)).toHaveLength(1);
    await rollUp(rig);
    expect(await seen(member)).toHaveLength(0);
    expect(await seen(owner)).toHaveLength(1);
  });
});
