import { afterAll, describe, expect, test } from 'bun:test';
import type { AnswerPart, ChatProvider, HubEvent } from '../../src/contracts/index.ts';
import { FINAL_EVENTS } from '../../src/contracts/index.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { createBuiltinChat } from '../../src/llm/builtin-chat.ts';
import { createRig, type Rig, type RigOptions } from '../support/rig.ts';

const rigs: Rig[] = [];
async function rigWith(options: RigOptions = {}): Promise<Rig> {
  const rig = await createRig(options);
  rigs.push(rig);
  return rig;
}
afterAll(async () => {
  for (const rig of rigs) await rig.close();
});

interface Told {
  type: string;
  seq: number;
  data: Record<string, unknown>;
}

/** Everything that a turn's topic tells, until its final event. */
async function follow(
  rig: Rig,
  who: { tenantId: string; userId: string },
  turnId: string,
  hear: (told: Told[]) => void = () => {},
) {
  const told: Told[] = [];
  const final = Promise.withResolvers<void>();
  const reader = {
    event({ type, json }: HubEvent) {
      told.push(JSON.parse(json));
      hear(told);
      if (FINAL_EVENTS.has(type)) final.resolve();
    },
    reset: () => final.reject(new Error('reset')),
  };
  const stop = await rig.as(who, () => rig.hub.subscribe(`turn:${turnId}`, reader));
  return { told, final: final.promise, stop };
}

const textOf = (told: Told[]) =>
  told
    .filter(({ type }) => type === 'turn.delta')
    .map(({ data }) => data['text'])
    .join('');

/** A provider that says what a test tells it to, part by part. */
function scripted(script: (signal: AbortSignal) => AsyncIterable<AnswerPart>): ChatProvider {
  return {
    ...createBuiltinChat(),
    provider: 'scripted',
    model: 'scripted',
    answer: (_request, signal) => script(signal),
  };
}

async function ready(rig: Rig, text: string) {
  const who = await rig.newTenant();
  const { receipt } = await rig.upload(who, text);
  await rig.deliver(who, 'ingest', receipt.task_id);
  return { who, documentId: receipt.document_id };
}

describe('a turn', () => {
  test('streams an answer from the tenant’s documents whose citations can be checked', async () => {
    const rig = await rigWith();
    const { who, documentId } = await ready(
      rig,
      'The harbour café opens at 6:30 on weekdays.\nThe roaster is never left alone.',
    );
    const receipt = await rig.as(who, () => rig.chat.send({ content: 'When does the harbour café open?' }));
    const { told, final } = await follow(rig, who, receipt.turn_id);
    expect(await rig.deliver(who, 'chat', receipt.turn_id)).toEqual({ type: 'done' });
    await final;

    expect(told.map(({ seq }) => seq)).toEqual(told.map((_, index) => index + 1));
    expect(told.map(({ type }) => type).filter((type) => type !== 'turn.delta')).toEqual([
      'turn.queued',
      'turn.started',
      'turn.sources',
      'turn.completed',
    ]);
    const turn = await rig.as(who, () => rig.chat.turn(receipt.turn_id));
    expect(turn.status).toBe('completed');
    expect(turn.text).toContain('6:30');
    expect(turn.text).toContain('[1]');
    expect(textOf(told)).toBe(turn.text);
    expect(told.at(-1)?.data).toMatchObject({ text: turn.text, sources: turn.sources });

    const text = await rig.as(who, async () => new Response(await rig.documents.text(documentId)).text());
    expect(turn.sources.length).toBeGreaterThan(0);
    for (const source of turn.sources) {
      expect(source.verified).toBe(true);
      expect(text.slice(source.start, source.end)).toBe(source.quote);
    }
    const { items } = await rig.as(who, () => rig.conversations.messages(receipt.conversation_id, { limit: 10 }));
    expect(items.map(({ role, content }) => [role, content])).toEqual([
      ['user', 'When does the harbour café open?'],
      ['assistant', turn.text],
    ]);
    expect(items[1]).toMatchObject({ turn_id: receipt.turn_id, parent_id: receipt.message_id });
  });

  test('that nothing in the documents answers says so, and names no source', async () => {
    const rig = await rigWith();
    const { who } = await ready(rig, 'The harbour café opens at 6:30 on weekdays.');
    const { turn_id: turnId } = await rig.as(who, () => rig.chat.send({ content: 'Who won the chess tournament?' }));
    await rig.deliver(who, 'chat', turnId);
    const turn = await rig.as(who, () => rig.chat.turn(turnId));
    expect(turn.text).toContain('say nothing about this');
    expect(turn.sources).toEqual([]);
  });

  test('is made once, however often its message is sent', async () => {
    const rig = await rigWith();
    const who = await rig.newTenant();
    const send = () => rig.as(who, () => rig.chat.send({ content: 'Hello?', clientMessageId: 'm-1' }));
    const receipts = await Promise.all(Array.from({ length: 8 }, send));
    expect(new Set(receipts.map((receipt) => JSON.stringify(receipt))).size).toBe(1);
    expect((await rig.as(who, () => rig.conversations.list({ limit: 10 }))).items).toHaveLength(1);
  });

  test('waits for the one before it in its conversation', async () => {
    const rig = await rigWith();
    const who = await rig.newTenant();
    const first = await rig.as(who, () => rig.chat.send({ content: 'First?' }));
    const second = await rig.as(who, () =>
      rig.chat.send({ content: 'Second?', conversationId: first.conversation_id }),
    );
    expect(await rig.deliver(who, 'chat', second.turn_id)).toEqual({ type: 'superseded' });
    expect(await rig.as(who, () => rig.chat.turn(second.turn_id))).toMatchObject({ status: 'queued' });
    await rig.deliver(who, 'chat', first.turn_id);
    await rig.deliver(who, 'chat', second.turn_id);
    const { items } = await rig.as(who, () => rig.conversations.messages(first.conversation_id, { limit: 10 }));
    expect(items.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant']);
    expect(items[2]?.content).toBe('Second?');
  });

  test('that is cancelled aborts the provider’s request and keeps what was said', async () => {
    const aborted = Promise.withResolvers<void>();
    const rig = await rigWith({
      chat: scripted(async function* (signal) {
        yield { type: 'delta', text: 'Half an ' };
        yield { type: 'delta', text: 'answer' };
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => {
            aborted.resolve();
            reject(signal.reason);
          }),
        );
      }),
    });
    const who = await rig.newTenant();
    const { turn_id: turnId } = await rig.as(who, () => rig.chat.send({ content: 'Anything?' }));
    const heard = Promise.withResolvers<void>();
    const { told, final } = await follow(rig, who, turnId, (so) => textOf(so).endsWith('answer') && heard.resolve());
    const outcome = rig.deliver(who, 'chat', turnId);
    await heard.promise;
    rig.control.onCancel(({ tenantId, id }) => rig.tenants.cancel(tenantId, id));
    await rig.as(who, () => rig.chat.cancel(turnId));
    expect(await outcome).toEqual({ type: 'cancelled' });
    await Promise.all([aborted.promise, final]);
    expect(told.at(-1)).toMatchObject({ type: 'turn.cancelled', data: { text: 'Half an answer' } });
    expect(await rig.as(who, () => rig.chat.turn(turnId))).toMatchObject({
      status: 'cancelled',
      text: 'Half an answer',
    });
  });

  describe('that comes while another one runs', () => {
    /** Answers `Some` to the first question and waits there until it is aborted; `Whole` to all others. */
    async function busy() {
      let calls = 0;
      let aborts = 0;
      const rig = await rigWith({
        chat: scripted(async function* (signal) {
          calls += 1;
          if (calls > 1) {
            yield { type: 'delta', text: 'Whole' };
            return;
          }
          yield { type: 'delta', text: 'Some' };
          await new Promise((_, reject) =>
            signal.addEventListener('abort', () => {
              aborts += 1;
              reject(signal.reason);
            }),
          );
        }),
      });
      rig.control.onCancel(({ tenantId, id }) => rig.tenants.cancel(tenantId, id));
      const who = await rig.newTenant();
      const first = await rig.as(who, () => rig.chat.send({ content: 'First?' }));
      const heard = Promise.withResolvers<void>();
      const followed = await follow(rig, who, first.turn_id, (so) => textOf(so) === 'Some' && heard.resolve());
      const outcome = rig.deliver(who, 'chat', first.turn_id);
      await heard.promise;
      const send = (content: string, ifBusy: 'queue' | 'interrupt' | 'reject', clientMessageId = content) =>
        rig.as(who, () => rig.chat.send({ content, ifBusy, clientMessageId, conversationId: first.conversation_id }));
      return { rig, who, first, followed, outcome, send, aborts: () => aborts };
    }

    test('is refused on request, changes nothing, and is taken when nothing runs any more', async () => {
      const { rig, who, first, outcome, send, aborts } = await busy();
      await expect(send('Second?', 'reject')).rejects.toMatchObject({ kind: 'conflict' });
      const messages = () =>
        rig.as(who, () => rig.conversations.messages(first.conversation_id, { limit: 10 })).then(({ items }) => items);
      expect(await messages()).toHaveLength(1);
      expect(aborts()).toBe(0);
      await rig.as(who, () => rig.chat.cancel(first.turn_id));
      expect(await outcome).toEqual({ type: 'cancelled' });
      const second = await send('Second?', 'reject');
      expect(await rig.deliver(who, 'chat', second.turn_id)).toEqual({ type: 'done' });
      expect((await messages()).map(({ content }) => content)).toEqual(['First?', 'Second?', 'Whole']);
    });

    test('interrupts it and all that waits on request, once however often it is sent, and runs', async () => {
      const { rig, who, first, followed, outcome, send, aborts } = await busy();
      const waiting = await send('Waiting?', 'queue');
      const told = await follow(rig, who, waiting.turn_id);
      const second = await send('Second?', 'interrupt');
      expect(await outcome).toEqual({ type: 'cancelled' });
      await Promise.all([followed.final, told.final]);
      expect(aborts()).toBe(1);
      expect(followed.told.at(-1)).toMatchObject({ type: 'turn.cancelled', data: { text: 'Some' } });
      expect(told.told.at(-1)?.type).toBe('turn.cancelled');
      expect(await send('Second?', 'interrupt')).toEqual(second);
      expect(await rig.deliver(who, 'chat', second.turn_id)).toEqual({ type: 'done' });
      const statuses = [first, waiting, second].map(({ turn_id }) => rig.as(who, () => rig.chat.turn(turn_id)));
      expect((await Promise.all(statuses)).map(({ status }) => status)).toEqual([
        'cancelled',
        'cancelled',
        'completed',
      ]);
    });

    test('interrupts whatever else comes at the same moment, so that one is left', async () => {
      const { rig, who, outcome, send } = await busy();
      const sent = await Promise.all(Array.from({ length: 8 }, (_, i) => send(`Now ${i}?`, 'interrupt')));
      expect(await outcome).toEqual({ type: 'cancelled' });
      const turns = await Promise.all(sent.map(({ turn_id }) => rig.as(who, () => rig.chat.turn(turn_id))));
      expect(turns.filter(({ status }) => status === 'queued')).toHaveLength(1);
      expect(turns.filter(({ status }) => status === 'cancelled')).toHaveLength(7);
    });
  });

  test('whose provider fails is told so, and the next one is not held up', async () => {
    let calls = 0;
    const rig = await rigWith({
      chat: scripted(async function* () {
        calls += 1;
        if (calls === 1)
          throw new AppError('provider_unavailable', 'The model is overloaded.', { retryAfterMs: 1_000 });
        yield { type: 'delta', text: 'Here.' };
      }),
    });
    const who = await rig.newTenant();
    const first = await rig.as(who, () => rig.chat.send({ content: 'One?' }));
    const second = await rig.as(who, () => rig.chat.send({ content: 'Two?', conversationId: first.conversation_id }));
    const { told, final } = await follow(rig, who, first.turn_id);
    expect((await rig.deliver(who, 'chat', first.turn_id)).type).toBe('failed');
    await final;
    expect(told.at(-1)).toMatchObject({
      type: 'turn.failed',
      data: { code: 'provider_unavailable', message: 'The model is overloaded.', retryable: true },
    });
    expect(await rig.deliver(who, 'chat', second.turn_id)).toEqual({ type: 'done' });
  });

  test('that the database fails in the middle of is tried again, and nobody is told of a failure', async () => {
    let attempts = 0;
    const rig = await rigWith({
      chat: scripted(async function* () {
        attempts += 1;
        yield { type: 'delta', text: `Answer ${attempts}` };
        if (attempts === 1)
          throw new AppError('unavailable', 'The database is not available.', { retryAfterMs: 1_000 });
        yield { type: 'usage', promptTokens: 1, completionTokens: 1, cost: 0 };
      }),
    });
    const who = await rig.newTenant();
    const { turn_id: turnId } = await rig.as(who, () => rig.chat.send({ content: 'Anything?' }));
    const { told, final } = await follow(rig, who, turnId);
    expect(await rig.deliver(who, 'chat', turnId)).toMatchObject({ type: 'retry' });
    expect(await rig.deliver(who, 'chat', turnId)).toEqual({ type: 'done' });
    await final;
    expect(told.map(({ type }) => type)).not.toContain('turn.failed');
    expect(await rig.as(who, () => rig.chat.turn(turnId))).toMatchObject({
      status: 'completed',
      text: 'Answer 2',
      attempt: 2,
    });
  });

  test('that another worker takes over restarts its text under a higher attempt', async () => {
    const frozen = Promise.withResolvers<void>();
    const thaw = Promise.withResolvers<void>();
    let calls = 0;
    const rig = await rigWith({
      chat: scripted(async function* () {
        calls += 1;
        yield { type: 'delta', text: calls === 1 ? 'Wrong ' : 'Right.' };
        if (calls > 1) return;
        frozen.resolve();
        await thaw.promise;
        yield { type: 'delta', text: 'turn.' };
      }),
    });
    const who = await rig.newTenant();
    const { turn_id: turnId } = await rig.as(who, () => rig.chat.send({ content: 'Which way?' }));
    const { told, final } = await follow(rig, who, turnId);
    const zombie = rig.deliver(who, 'chat', turnId);
    await frozen.promise;
    await rig.as(who, () =>
      rig.database.tenant((sql) => sql`update turns set leased_until = now() - interval '1 second'`),
    );
    const { createTenantActors } = await import('../../src/workers/tenants.ts');
    const elsewhere = createTenantActors({
      ...rig.machines,
      logger: (await import('../../src/kernel/logger.ts')).silentLogger,
    });
    const job = {
      v: 1,
      lane: 'chat' as const,
      tenantId: who.tenantId,
      userId: who.userId,
      id: turnId,
      traceparent: '',
    };
    expect(await elsewhere.run({ job, entryId: '0-2', deliveries: 2 })).toEqual({ type: 'done' });
    thaw.resolve();
    expect((await zombie).type).toBe('superseded');
    await final;
    const lastStart = told.findLastIndex(({ type }) => type === 'turn.started');
    expect(told[lastStart]?.data).toMatchObject({ attempt: 2 });
    expect(textOf(told.slice(lastStart))).toBe('Right.');
    expect(told.at(-1)).toMatchObject({ type: 'turn.completed', data: { text: 'Right.' } });
  });

  test('is nobody else’s: not in the tenant, not outside it', async () => {
    const rig = await rigWith();
    const who = await rig.newTenant();
    const receipt = await rig.as(who, () => rig.chat.send({ content: 'Mine?' }));
    for (const other of [await rig.addUser(who.tenantId), await rig.newTenant()]) {
      for (const read of [
        () => rig.chat.turn(receipt.turn_id),
        () => rig.chat.cancel(receipt.turn_id),
        () => rig.conversations.get(receipt.conversation_id),
        () => rig.conversations.messages(receipt.conversation_id, { limit: 5 }),
        () => rig.conversations.remove(receipt.conversation_id),
        () => rig.chat.send({ content: 'Yours?', conversationId: receipt.conversation_id }),
        () => rig.hub.subscribe(`turn:${receipt.turn_id}`, { event: () => {}, reset: () => {} }),
      ]) {
        await expect(rig.as(other, async () => read())).rejects.toMatchObject({ kind: 'not_found' });
      }
    }
  });

  test('resolves for whoever waits for its end', async () => {
    const rig = await rigWith();
    const who = await rig.newTenant();
    const { turn_id: turnId } = await rig.as(who, () => rig.chat.send({ content: 'Anything there?' }));
    const finished = rig.as(who, () => rig.chat.finished(turnId, new AbortController().signal));
    await rig.deliver(who, 'chat', turnId);
    expect(await finished).toMatchObject({ id: turnId, status: 'completed' });
  });
});
