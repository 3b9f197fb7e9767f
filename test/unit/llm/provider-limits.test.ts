/** Both drivers against a server that tells its limits and enforces them: it must never have to refuse. */
import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { createOpenAiChat } from '../../../src/llm/openai-chat.ts';
import { createOpenAiEmbeddings, type OpenAiEmbeddingOptions } from '../../../src/llm/openai-embeddings.ts';
import { collect, harbourRequest } from '../../contract/chat-provider.ts';
import { startFakeOpenAi } from '../../support/fake-openai.ts';
import { createManualClock, failureOf, type ManualClock } from '../../support/manual-clock.ts';

const fake = startFakeOpenAi({ dimensions: 64 });
afterAll(() => fake.stop());
beforeEach(() => fake.reset());

const createEmbeddings = (clock: ManualClock, options: Partial<OpenAiEmbeddingOptions> = {}) =>
  createOpenAiEmbeddings({
    baseUrl: fake.url,
    apiKeys: ['k1'],
    model: 'fake-embedding',
    dimensions: 64,
    clock,
    logger: silentLogger,
    ...options,
  });

const refused = () => fake.requests.filter(({ fault }) => fault !== undefined).length;

describe("a provider's limits", () => {
  test('hold requests back until they are allowed, so none is refused', async () => {
    const clock = createManualClock();
    fake.limitKeys({ requests: 30, now: clock.now });
    const provider = createEmbeddings(clock, { policy: { maxWaitMs: 5_000 } });
    for (let i = 0; i < 30; i += 1) await provider.embed(['text'], { purpose: 'query' });
    const later = ['one', 'two'].map((text) => provider.embed([text], { purpose: 'query' }));
    const tooLate = failureOf(provider.embed(['three'], { purpose: 'query' }));
    expect([await clock.sleeping(), await clock.sleeping()]).toEqual([2_000, 4_000]);
    expect(fake.requests).toHaveLength(30);
    expect(await tooLate).toMatchObject({ kind: 'provider_unavailable', retryAfterMs: 6_000 });
    clock.advance(2_000);
    await later[0];
    clock.advance(2_000);
    await later[1];
    expect(fake.requests).toHaveLength(32);
    expect(refused()).toBe(0);
  }, 20_000);

  test('count tokens as well, and tell metrics how much is used and who waits', async () => {
    const clock = createManualClock();
    fake.limitKeys({ tokens: 500, now: clock.now });
    const seen: string[] = [];
    const provider = createEmbeddings(clock, {
      policy: { maxWaitMs: 60_000 },
      observer: {
        limit: ({ operation, key, usedPct }) => seen.push(`${operation} ${key} ${usedPct > 50 ? 'much' : 'little'}`),
        waited: ({ key, kind, ms }) => seen.push(`${key} waits for ${kind}: ${ms > 0}`),
      },
    });
    const text = 'some longish words '.repeat(100);
    await provider.embed([text], { purpose: 'query' });
    const second = provider.embed([text], { purpose: 'query' });
    clock.advance(await clock.sleeping());
    await second;
    expect(refused()).toBe(0);
    expect(seen).toEqual(['embeddings 1 much', '1 waits for tokens: true', 'embeddings 1 much']);
  });

  test('are spread over all keys before anybody waits', async () => {
    const clock = createManualClock();
    fake.limitKeys({ requests: 2, now: clock.now });
    const provider = createEmbeddings(clock, { apiKeys: ['k1', 'k2', 'k3'] });
    for (let i = 0; i < 6; i += 1) await provider.embed(['text'], { purpose: 'query' });
    expect(refused()).toBe(0);
    expect(await failureOf(provider.embed(['text'], { purpose: 'query' }))).toMatchObject({ retryAfterMs: 30_000 });
    expect(fake.requests).toHaveLength(6);
  });

  test('that others use up too are believed from the refusal on', async () => {
    const clock = createManualClock();
    fake.limitKeys({ requests: 1, now: clock.now });
    await createEmbeddings(clock).embed(['text'], { purpose: 'query' });
    const late = createEmbeddings(clock);
    expect(await failureOf(late.embed(['text'], { purpose: 'query' }))).toMatchObject({ kind: 'provider_unavailable' });
    const sent = fake.requests.length;
    clock.advance(5_000);
    expect(await failureOf(late.embed(['text'], { purpose: 'query' }))).toMatchObject({ retryAfterMs: 55_000 });
    expect(fake.requests).toHaveLength(sent);
    clock.advance(55_000);
    await late.embed(['text'], { purpose: 'query' });
  });

  test('let go who gives up waiting, and keep nothing of the share', async () => {
    const clock = createManualClock();
    fake.limitKeys({ requests: 60, now: clock.now });
    const provider = createEmbeddings(clock);
    for (let i = 0; i < 60; i += 1) await provider.embed(['text'], { purpose: 'query' });
    const controller = new AbortController();
    const waiting = failureOf(provider.embed(['text'], { purpose: 'query', signal: controller.signal }));
    expect(await clock.sleeping()).toBe(1_000);
    controller.abort(new Error('document deleted'));
    expect(await waiting).toBe(controller.signal.reason);
    const next = provider.embed(['text'], { purpose: 'query' });
    expect(await clock.sleeping()).toBe(1_000);
    clock.advance(1_000);
    await next;
    expect(fake.requests).toHaveLength(61);
  }, 20_000);

  test('are kept by chats too, per model', async () => {
    const clock = createManualClock();
    fake.limitKeys({ requests: 20, now: clock.now });
    const chat = createOpenAiChat({
      baseUrl: fake.url,
      apiKeys: ['k1'],
      model: 'fake-chat',
      clock,
      logger: silentLogger,
    });
    const signal = new AbortController().signal;
    for (let i = 0; i < 20; i += 1) await collect(chat.answer(harbourRequest, signal));
    const next = collect(chat.answer(harbourRequest, signal));
    expect(await clock.sleeping()).toBe(3_000);
    expect(fake.requests).toHaveLength(20);
    clock.advance(3_000);
    expect((await next).text).toContain('1921');
    expect(refused()).toBe(0);
  }, 20_000);

  test('are none where the server says nothing', async () => {
    const provider = createEmbeddings(createManualClock());
    await Promise.all(Array.from({ length: 40 }, () => provider.embed(['text'], { purpose: 'query' })));
    expect(fake.requests).toHaveLength(40);
  });
});
