import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import type { AnswerPart } from '../../../src/contracts/index.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { createOpenAiChat, type OpenAiChatOptions } from '../../../src/llm/openai-chat.ts';
import { collect, harbourRequest } from '../../contract/chat-provider.ts';
import { type Fault, startFakeOpenAi } from '../../support/fake-openai.ts';
import { createManualClock, failureOf } from '../../support/manual-clock.ts';

const fake = startFakeOpenAi();
afterAll(() => fake.stop());
beforeEach(() => fake.reset());

const never = new AbortController().signal;
const create = (options: Partial<OpenAiChatOptions> = {}) =>
  createOpenAiChat({
    baseUrl: fake.url,
    apiKeys: ['k1'],
    model: 'fake-chat',
    clock: createManualClock(),
    logger: silentLogger,
    random: () => 0,
    ...options,
  });

/** Reads until the first failure and says what was seen before. */
async function readAll(parts: AsyncIterable<AnswerPart>): Promise<{ text: string; error: unknown }> {
  let text = '';
  try {
    for await (const part of parts) if (part.type === 'delta') text += part.text;
    return { text, error: undefined };
  } catch (error) {
    return { text, error };
  }
}

describe('chat with an OpenAI-compatible server', () => {
  test('streams, and reports the usage that the server counted', async () => {
    const { text, usage } = await collect(create().answer(harbourRequest, never));
    expect(text).toBe('According to your documents: The harbour of Aldmoor opened in 1921. [1]');
    expect(fake.requests[0]?.body).toMatchObject({
      model: 'fake-chat',
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(usage).toEqual([
      {
        type: 'usage',
        promptTokens: expect.any(Number),
        completionTokens: fake.requests[0]?.tokensSent ?? -1,
        cost: 0,
      },
    ]);
  });

  test('uses the model that the request names', async () => {
    await collect(create().answer({ ...harbourRequest, model: 'other-model' }, never));
    expect(fake.requests[0]?.body['model']).toBe('other-model');
  });

  test.each<[string, Fault]>([
    ['a rate limit', { type: 'status', status: 429, retryAfter: '1' }],
    ['a failure', { type: 'status', status: 502 }],
    ['a web page with status 200', { type: 'html' }],
    ['a stream that is cut before the first word', { type: 'truncate', tokens: 0 }],
    ['an error inside the stream before the first word', { type: 'error-mid', tokens: 0 }],
  ])('tries again after %s', async (_, fault) => {
    const clock = createManualClock();
    fake.next('chat', fault);
    const answer = collect(create({ clock, random: () => 1 }).answer(harbourRequest, never));
    clock.advance(await clock.sleeping());
    expect((await answer).text).toContain('1921');
    expect(fake.requests).toHaveLength(2);
  });

  test.each<[string, Fault]>([
    ['a stream without finish_reason', { type: 'truncate', tokens: 4 }],
    ['an error in mid-stream', { type: 'error-mid', tokens: 4 }],
  ])('fails on %s once words were seen, and does not ask again', async (_, fault) => {
    fake.next('chat', fault);
    const { text, error } = await readAll(create().answer(harbourRequest, never));
    expect(text).toBe('According to your documents:');
    expect(error).toMatchObject({ kind: 'provider_unavailable' });
    expect(fake.requests).toHaveLength(1);
  });

  test('ends a stream that hangs between two chunks after the idle time', async () => {
    const clock = createManualClock();
    fake.next('chat', { type: 'hang-mid', tokens: 3 });
    const parts = create({ clock, idleTimeoutMs: 20_000 }).answer(harbourRequest, never)[Symbol.asyncIterator]();
    let text = '';
    for (let seen = 0; seen < 3; seen += 1) {
      const { value } = await parts.next();
      if (value?.type === 'delta') text += value.text;
    }
    const failure = failureOf(parts.next());
    clock.advance(20_000);
    expect(await failure).toMatchObject({ kind: 'provider_unavailable', message: expect.stringContaining('in time') });
    expect(text).toBe('According to your');
    expect((await fake.waitFor(({ state }) => state === 'aborted')).tokensAfterAbort).toBe(0);
  });

  test('ends a stream whose every chunk comes in time and whose end never does', async () => {
    const clock = createManualClock();
    fake.next('chat', { type: 'stepwise' });
    const options = { clock, idleTimeoutMs: 20_000, wholeTimeoutMs: 60_000 };
    const parts = create(options).answer(harbourRequest, never)[Symbol.asyncIterator]();
    let text = '';
    let failed: unknown;
    for (let chunk = 0; chunk < 6 && failed === undefined; chunk += 1) {
      const next = parts.next();
      fake.step();
      try {
        const { value } = await next;
        if (value?.type === 'delta') text += value.text;
      } catch (error) {
        failed = error;
      }
      clock.advance(15_000);
    }
    expect(failed).toMatchObject({ kind: 'provider_unavailable', message: expect.stringContaining('in time') });
    expect(text).toBe('According to your documents: The');
    expect((await fake.waitFor(({ state }) => state === 'aborted')).tokensSent).toBe(6);
  });

  test('ends an answer that is longer than any model writes', async () => {
    const endless = startFakeOpenAi({ dimensions: 64, reply: () => 'again '.repeat(40).concat('x'.repeat(1_100_000)) });
    try {
      const { error } = await readAll(create({ baseUrl: endless.url }).answer(harbourRequest, never));
      expect(error).toMatchObject({ kind: 'provider_unavailable', message: expect.stringContaining('without end') });
    } finally {
      await endless.stop();
    }
  });

  test('takes an answer for complete after finish_reason, though the server keeps the connection open', async () => {
    const clock = createManualClock();
    fake.next('chat', { type: 'hang-after-finish' });
    const parts = create({ clock, idleTimeoutMs: 1e12 }).answer(harbourRequest, never)[Symbol.asyncIterator]();
    let part = await parts.next();
    while (!part.done && part.value.type === 'delta' && !part.value.text.includes('[1]')) {
      part = await parts.next();
    }
    let ended = false;
    const last = parts.next().finally(() => {
      ended = true;
    });
    // Nobody can see when the client has read `finish_reason`; only from then on do five seconds end the stream.
    while (!ended) {
      clock.advance(5_000);
      await new Promise(setImmediate);
    }
    expect((await last).value).toMatchObject({ type: 'usage' });
  });

  test('ends a request that never begins to answer, and tries again', async () => {
    const clock = createManualClock();
    fake.next('chat', { type: 'hang' });
    const answer = collect(create({ clock, firstChunkTimeoutMs: 30_000 }).answer(harbourRequest, never));
    await fake.waitFor(({ state }) => state === 'open');
    clock.advance(30_000);
    expect((await answer).text).toContain('1921');
  });

  test('closes the HTTP request at once when aborted, so that no further token is sent', async () => {
    fake.next('chat', { type: 'stepwise' });
    const controller = new AbortController();
    const reason = new Error('cancelled by the user');
    const answer = readAll(create().answer(harbourRequest, controller.signal));
    for (let sent = 1; sent <= 3; sent += 1) {
      fake.step();
      await fake.waitFor(({ tokensSent }) => tokensSent === sent);
    }
    controller.abort(reason);
    const { error } = await answer;
    expect(error).toBe(reason);
    const request = await fake.waitFor(({ state }) => state === 'aborted');
    fake.step();
    expect(request.tokensSent).toBe(3);
    expect(request.tokensAfterAbort).toBeLessThanOrEqual(1);
  });

  test('closes the HTTP request when the reader leaves', async () => {
    fake.next('chat', { type: 'hang-mid', tokens: 2 });
    for await (const part of create().answer(harbourRequest, never)) if (part.type === 'delta') break;
    expect((await fake.waitFor(({ state }) => state === 'aborted')).route).toBe('chat');
  });

  test('rotates keys, and answers with the one that is left', async () => {
    fake.failKey('k1', { type: 'status', status: 401 });
    fake.failKey('k2', { type: 'status', status: 429, retryAfter: '9000' });
    expect((await collect(create({ apiKeys: ['k1', 'k2', 'k3'] }).answer(harbourRequest, never))).text).toContain(
      '1921',
    );
    expect(fake.requests.map(({ key }) => key)).toEqual(['k1', 'k2', 'k3']);
  });

  test('opens the breaker of a failing server and then answers without asking it', async () => {
    const provider = create({ policy: { attempts: 1 } });
    fake.always('chat', { type: 'status', status: 500 });
    for (let turn = 0; turn < 5; turn += 1) await readAll(provider.answer(harbourRequest, never));
    const { error } = await readAll(provider.answer(harbourRequest, never));
    expect(error).toMatchObject({ kind: 'provider_unavailable', retryAfterMs: 10_000 });
    expect(fake.requests).toHaveLength(5);
  });

  test('calls an unknown model by its name of trouble', async () => {
    fake.always('chat', { type: 'status', status: 404, code: 'model_not_found' });
    const { error } = await readAll(create().answer(harbourRequest, never));
    expect(error).toMatchObject({ kind: 'provider_unavailable', message: expect.stringContaining('model_not_found') });
    expect(fake.requests).toHaveLength(1);
  });
});
