/** Summaries of conversations, and long conversations that need them, on a real PostgreSQL. */
import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { AnswerRequest, ChatProvider, Principal, SummaryRequest } from '../../src/contracts/index.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { createBuiltinChat } from '../../src/llm/builtin-chat.ts';
import { createRig, type Rig } from '../support/rig.ts';

const rigs: Rig[] = [];
afterAll(async () => {
  for (const rig of rigs) await rig.close();
});

/** A provider that notes what it is asked for; `fails` while it is true. */
function noting({ contextTokens = 16_000 }: { contextTokens?: number } = {}) {
  const asked = { answers: [] as AnswerRequest[], summaries: [] as SummaryRequest[], fails: false };
  const provider: ChatProvider = {
    ...createBuiltinChat(),
    provider: 'noting',
    model: 'noting',
    contextTokens,
    async *answer(request) {
      asked.answers.push(request);
      yield { type: 'delta', text: `Answer ${asked.answers.length}` };
      yield { type: 'usage', promptTokens: 1, completionTokens: 1, cost: 0 };
    },
    async summarise(request) {
      asked.summaries.push(request);
      if (asked.fails) throw new AppError('provider_unavailable', 'The model is away.', { retryAfterMs: 1_000 });
      const text = `${request.earlier ?? 'Summary:'} +${request.messages.length}`;
      return { text, model: 'noting', promptTokens: 10, completionTokens: 2, counted: false };
    },
  };
  return { asked, provider };
}

async function start(options: Parameters<typeof noting>[0] = {}) {
  const { asked, provider } = noting(options);
  const rig = await createRig({ chat: provider });
  rigs.unshift(rig);
  const who = await rig.newTenant();
  return { rig, asked, provider, who };
}

/** A conversation of so many answered questions, as they stand in the database; of `size` characters each. */
async function talk(rig: Rig, who: Principal, turns: number, { size = 0, brought = false } = {}): Promise<string> {
  const { id } = await rig.as(who, () => rig.conversations.create({ title: 'Long' }));
  const sql = postgres(rig.db.adminUrl, { max: 1, onnotice: () => undefined });
  await sql`
    insert into messages (tenant_id, user_id, conversation_id, id, position, role, content, turn_id)
    select ${who.tenantId}, ${who.userId}, ${id}, gen_random_uuid(), p,
      case when p % 2 = 1 then 'user' else 'assistant' end, rpad('message ' || p || ' ', ${Math.max(size, 12)}, 'word '),
      ${brought ? null : sql`gen_random_uuid()`}
    from generate_series(1, ${2 * turns}) p`;
  await sql`update conversations set turn_count = ${turns}, message_count = ${2 * turns} where id = ${id}`;
  await sql.end({ timeout: 5 });
  return id;
}

async function ask(rig: Rig, who: Principal, conversationId: string | undefined, deliver = true) {
  const receipt = await rig.as(who, () => rig.chat.send({ content: 'And what was first?', conversationId }));
  if (deliver) await rig.deliver(who, 'chat', receipt.turn_id);
  return receipt;
}
const summaryOf = (rig: Rig, who: Principal, id: string) => rig.as(who, () => rig.conversations.summary(id));

describe('the summary of a conversation', () => {
  test('is nothing at first, is made once, and is brought further by what was said since', async () => {
    const { rig, asked, who } = await start();
    const empty = await rig.as(who, () => rig.conversations.create({}));
    expect(await summaryOf(rig, who, empty.id)).toEqual({
      summary: null,
      up_to_message_id: null,
      message_count: 0,
      messages_since: 0,
      updated_at: null,
    });
    const { conversation_id: id } = await ask(rig, who, undefined);
    const first = await summaryOf(rig, who, id);
    const { items } = await rig.as(who, () => rig.conversations.messages(id, { limit: 10 }));
    expect(first).toMatchObject({
      summary: 'Summary: +2',
      up_to_message_id: items[1]?.id,
      message_count: 2,
      messages_since: 0,
    });
    expect(await summaryOf(rig, who, id)).toEqual(first);
    expect(asked.summaries).toHaveLength(1);
    await ask(rig, who, id);
    expect(await summaryOf(rig, who, id)).toMatchObject({
      summary: 'Summary: +2 +2',
      message_count: 4,
      messages_since: 0,
    });
    expect(asked.summaries[1]).toMatchObject({
      earlier: 'Summary: +2',
      messages: [{ role: 'user' }, { role: 'assistant' }],
    });
  });

  test('ends before a question that is not answered yet, so that no answer is missed', async () => {
    const { rig, who } = await start();
    const { conversation_id: id } = await ask(rig, who, undefined);
    const second = await ask(rig, who, id, false);
    const third = await ask(rig, who, id, false);
    expect(await summaryOf(rig, who, id)).toMatchObject({ message_count: 2, messages_since: 2 });
    for (const { turn_id } of [second, third]) await rig.deliver(who, 'chat', turn_id);
    expect(await summaryOf(rig, who, id)).toMatchObject({ message_count: 6, messages_since: 0 });
  });

  test('is its user’s: nobody else’s in the tenant, nobody’s outside', async () => {
    const { rig, who, asked } = await start();
    const { conversation_id: id } = await ask(rig, who, undefined);
    await summaryOf(rig, who, id);
    for (const other of [await rig.addUser(who.tenantId), await rig.newTenant()]) {
      await expect(summaryOf(rig, other, id)).rejects.toMatchObject({ kind: 'not_found' });
      const rows = await rig.as(other, () => rig.database.tenant((sql) => sql`select 1 from conversation_summaries`));
      expect(rows).toHaveLength(0);
    }
    expect(asked.summaries).toHaveLength(1);
    await rig.as(who, () => rig.conversations.remove(id));
    await expect(summaryOf(rig, who, id)).rejects.toMatchObject({ kind: 'not_found' });
  });

  test('that cannot be made is an error; one from before is told with how far it goes', async () => {
    const { rig, asked, who } = await start();
    const { conversation_id: id } = await ask(rig, who, undefined);
    asked.fails = true;
    await expect(summaryOf(rig, who, id)).rejects.toMatchObject({ kind: 'provider_unavailable', retryAfterMs: 1_000 });
    asked.fails = false;
    await summaryOf(rig, who, id);
    await ask(rig, who, id);
    asked.fails = true;
    expect(await summaryOf(rig, who, id)).toMatchObject({
      summary: 'Summary: +2',
      message_count: 2,
      messages_since: 2,
    });
  });

  test('is not bought where the budget of the tenant is used up', async () => {
    const { rig, asked, who } = await start();
    const { conversation_id: id } = await ask(rig, who, undefined);
    const budget = (tokens: number) =>
      rig.as(who, () =>
        rig.database.tenant(
          (sql) => sql`insert into budgets (period, max_tokens) values ('month', ${tokens})
            on conflict (tenant_id) do update set max_tokens = excluded.max_tokens`,
        ),
      );
    await budget(1);
    await expect(summaryOf(rig, who, id)).rejects.toMatchObject({ kind: 'quota_exceeded' });
    expect(asked.summaries).toHaveLength(0);
    await budget(1_000_000);
    expect(await summaryOf(rig, who, id)).toMatchObject({ message_count: 2 });
    await budget(1);
    expect(await summaryOf(rig, who, id)).toMatchObject({ message_count: 2, messages_since: 0 });
  });

  test('that many ask for at once is bought once in a process, and counts each message once over several', async () => {
    const { rig, asked, provider, who } = await start();
    const id = await talk(rig, who, 10);
    const all = await Promise.all(Array.from({ length: 8 }, () => summaryOf(rig, who, id)));
    expect(asked.summaries).toHaveLength(1);
    expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
    const other = await createRig({ of: { db: rig.db, redis: rig.redis, folder: rig.folder }, chat: provider });
    rigs.unshift(other);
    await ask(rig, who, id);
    await Promise.all([rig, other].map((one) => summaryOf(one, who, id)));
    expect(await summaryOf(rig, who, id)).toMatchObject({ message_count: 22, messages_since: 0 });
  });

  test('of a long conversation is made step by step within what the model reads, and is paid for', async () => {
    const { rig, asked, provider, who } = await start({ contextTokens: 4_096 });
    const id = await talk(rig, who, 100, { size: 400 });
    let last = await summaryOf(rig, who, id);
    while (last.messages_since > 0) {
      const next = await summaryOf(rig, who, id);
      expect(next.message_count).toBeGreaterThan(last.message_count);
      last = next;
    }
    expect(last).toMatchObject({ message_count: 200, summary: expect.stringMatching(/^Summary:( \+\d+)+$/) });
    expect(asked.summaries.length).toBeGreaterThan(4);
    for (const { messages } of asked.summaries) {
      const read = messages.reduce((sum, { content }) => sum + provider.countTokens(content), 0);
      expect(read).toBeLessThanOrEqual(4_096 * 0.4);
    }
    expect(asked.summaries.flatMap(({ messages }) => messages)).toHaveLength(200);
    const used = await rig.as(who, () =>
      rig.database.tenant((sql) => sql<{ tokens: number }[]>`select prompt_tokens as tokens from usage_records`),
    );
    expect(used).toHaveLength(asked.summaries.length);
  });

  test('without a model is made of what was said', async () => {
    const rig = await createRig();
    rigs.unshift(rig);
    const who = await rig.newTenant();
    const { conversation_id: id } = await ask(rig, who, undefined);
    expect((await summaryOf(rig, who, id)).summary).toContain('- Q: And what was first?');
  });
});

describe('an answer in a conversation of 200 messages', () => {
  test('is told the latest of them and the summary of all others, which serves many turns', async () => {
    const { rig, asked, who } = await start();
    const id = await talk(rig, who, 100);
    await ask(rig, who, id);
    const [first] = asked.answers;
    expect(first?.history).toHaveLength(40);
    expect(first?.history[0]?.content).toStartWith('message 161 ');
    expect(first?.history.at(-1)?.content).toStartWith('message 200 ');
    expect(first?.summary).toMatch(/^Summary: \+\d+/);
    const read = asked.summaries.flatMap(({ messages }) => messages);
    expect(read.map(({ content }) => content.split(' ')[1])).toEqual(Array.from({ length: 190 }, (_, i) => `${i + 1}`));
    const steps = asked.summaries.length;
    for (let turn = 0; turn < 14; turn += 1) await ask(rig, who, id);
    expect(asked.summaries).toHaveLength(steps);
    expect(asked.answers.at(-1)?.summary).toBe(first?.summary ?? '');
    // The history is full of what came since: the summary goes on to where it begins.
    for (let turn = 0; turn < 3; turn += 1) await ask(rig, who, id);
    expect(asked.summaries).toHaveLength(steps + 1);
    const all = asked.summaries.flatMap(({ messages }) => messages).length;
    expect(all).toBeGreaterThanOrEqual(200);
    expect(asked.answers.at(-1)?.summary).toEndWith(`+${all - 190}`);
  });

  test('comes though the summary cannot be made', async () => {
    const { rig, asked, who } = await start();
    const id = await talk(rig, who, 100);
    asked.fails = true;
    const { turn_id: turnId } = await ask(rig, who, id);
    expect(await rig.as(who, () => rig.chat.turn(turnId))).toMatchObject({ status: 'completed', text: 'Answer 1' });
    expect(asked.answers[0]?.summary).toBeUndefined();
    expect(asked.answers[0]?.history).toHaveLength(40);
  });

  test('of long messages is told as many as its model reads, and the summary up to them', async () => {
    const { rig, asked, provider, who } = await start({ contextTokens: 4_096 });
    const id = await talk(rig, who, 30, { size: 800 });
    await ask(rig, who, id);
    const history = asked.answers[0]?.history ?? [];
    expect(history.length).toBeGreaterThan(1);
    expect(history.length).toBeLessThan(10);
    expect(history.reduce((sum, { content }) => sum + provider.countTokens(content), 0)).toBeLessThan(820);
    const read = asked.summaries.flatMap(({ messages }) => messages);
    expect(read.length + history.length).toBe(60);
  });

  test('that a client brought along is told what the client left in', async () => {
    const { rig, asked, who } = await start({ contextTokens: 4_096 });
    const id = await talk(rig, who, 30, { size: 800, brought: true });
    await ask(rig, who, id);
    expect(asked.summaries).toHaveLength(0);
    expect(asked.answers[0]?.summary).toBeUndefined();
  });

  test('that is short asks for no summary', async () => {
    const { rig, asked, who } = await start();
    const id = await talk(rig, who, 20);
    await ask(rig, who, id);
    expect(asked.answers[0]?.history).toHaveLength(40);
    expect(asked.summaries).toHaveLength(0);
  });
});
