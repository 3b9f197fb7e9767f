import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import { systemClock } from '../../../src/kernel/clock.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { hashEmbedding } from '../../../src/llm/builtin-embeddings.ts';
import { createOpenAiEmbeddings, type OpenAiEmbeddingOptions } from '../../../src/llm/openai-embeddings.ts';
import { type Fault, startFakeOpenAi } from '../../support/fake-openai.ts';
import { createManualClock, failureOf } from '../../support/manual-clock.ts';

const fake = startFakeOpenAi({ dimensions: 64 });
afterAll(() => fake.stop());
beforeEach(() => fake.reset());

const create = (options: Partial<OpenAiEmbeddingOptions> = {}) =>
  createOpenAiEmbeddings({
    baseUrl: fake.url,
    apiKeys: ['k1'],
    model: 'fake-embedding',
    clock: createManualClock(),
    logger: silentLogger,
    random: () => 0,
    ...options,
  });

const embed = (provider: ReturnType<typeof create>, texts = ['one', 'two']) =>
  provider.embed(texts, { purpose: 'document' });

describe('embeddings from an OpenAI-compatible server', () => {
  test('asks for base64 and passes configured dimensions on', async () => {
    await embed(create({ dimensions: 128 }));
    expect(fake.requests[0]?.body).toMatchObject({
      model: 'fake-embedding',
      input: ['one', 'two'],
      encoding_format: 'base64',
      dimensions: 128,
    });
  });

  test('learns its dimensions from the first answer, and `prepare` brings that about', async () => {
    const provider = create();
    expect(provider.dimensions).toBe(0);
    await provider.prepare(new AbortController().signal);
    expect(provider.dimensions).toBe(64);
    await provider.prepare(new AbortController().signal);
    expect(fake.requests).toHaveLength(1);
  });

  test('knows what the well-known models have', () => {
    expect(create({ model: 'text-embedding-3-large' }).dimensions).toBe(3072);
  });

  test('puts vectors into the order of the texts, whatever the order of the answer', async () => {
    fake.next('embeddings', { type: 'reversed' });
    const { vectors } = await embed(create(), ['apple tart', 'iron ore']);
    expect(vectors[0]?.[0]).toBeCloseTo(hashEmbedding('apple tart', 64)[0] ?? Number.NaN, 5);
  });

  test('reads plain numbers where the server ignores base64', async () => {
    fake.next('embeddings', { type: 'floats' });
    const [plain, base64] = [await embed(create()), await embed(create())];
    expect(plain.vectors[0]?.[5]).toBeCloseTo(base64.vectors[0]?.[5] ?? Number.NaN, 6);
  });

  test.each<[string, Fault, RegExp]>([
    ['a web page', { type: 'html' }, /no embeddings/],
    ['too few vectors', { type: 'short' }, /1 embeddings for 2/],
    ['vectors without direction', { type: 'zeros' }, /without direction/],
    ['broken base64', { type: 'broken-base64' }, /base64/],
  ])('tries again after %s, and gives up in the end', async (_, fault, message) => {
    fake.next('embeddings', fault);
    expect((await embed(create())).vectors).toHaveLength(2);
    fake.always('embeddings', fault);
    await expect(embed(create())).rejects.toMatchObject({
      kind: 'provider_unavailable',
      message: expect.stringMatching(message),
    });
  });

  test('says at once what to do when the server has other dimensions', async () => {
    fake.always('embeddings', { type: 'dimensions', dimensions: 32 });
    await expect(embed(create({ dimensions: 128 }))).rejects.toMatchObject({
      kind: 'provider_unavailable',
      message: expect.stringContaining('EMBEDDING_DIMENSIONS'),
    });
    expect(fake.requests).toHaveLength(1);
  });

  test('refuses a model that changes its dimensions', async () => {
    const provider = create();
    await embed(provider);
    fake.next('embeddings', { type: 'dimensions', dimensions: 32 });
    await expect(embed(provider)).rejects.toMatchObject({ kind: 'provider_unavailable' });
    expect(provider.dimensions).toBe(64);
  });

  test('goes to the next key at once when one is limited or refused', async () => {
    fake.failKey('k1', { type: 'status', status: 429, retryAfter: '7200' });
    fake.failKey('k2', { type: 'status', status: 401 });
    const provider = create({ apiKeys: ['k1', 'k2', 'k3'] });
    await embed(provider);
    await embed(provider);
    expect(fake.requests.map(({ key }) => key)).toEqual(['k1', 'k2', 'k3', 'k3']);
  });

  test('hands a long Retry-After to the caller instead of waiting', async () => {
    fake.always('embeddings', { type: 'status', status: 429, retryAfter: '7200' });
    await expect(embed(create({ apiKeys: ['k1', 'k2'] }))).rejects.toMatchObject({
      kind: 'provider_unavailable',
      retryAfterMs: 7_200_000,
    });
    expect(fake.requests).toHaveLength(2);
  });

  test('waits for a short Retry-After itself', async () => {
    const clock = createManualClock();
    fake.next('embeddings', { type: 'status', status: 429, retryAfter: '2' });
    const result = embed(create({ clock }));
    expect(await clock.sleeping()).toBe(2_000);
    clock.advance(2_000);
    expect((await result).vectors).toHaveLength(2);
  });

  test('understands a Retry-After that is a date', async () => {
    const clock = createManualClock(Date.parse('2030-01-01T00:00:00Z'));
    fake.always('embeddings', { type: 'status', status: 503, retryAfter: 'Tue, 01 Jan 2030 00:10:00 GMT' });
    await expect(embed(create({ clock }))).rejects.toMatchObject({ retryAfterMs: 600_000 });
  });

  test.each([
    ['1e300', 86_400_000],
    ['Infinity', 86_400_000],
    ['99999999999999999999', 86_400_000],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 86_400_000],
    ['0', 1_000],
    ['-5', 1_000],
    ['Fri, 31 Dec 1999 23:59:59 GMT', 1_000],
    ['soon', 1_000],
  ])('takes a Retry-After of %s for one between a moment and a day', async (retryAfter, ms) => {
    const clock = createManualClock(Date.parse('2030-01-01T00:00:00Z'));
    fake.always('embeddings', { type: 'status', status: 429, retryAfter });
    const policy = { attempts: 1, maxWaitMs: 0 };
    await expect(embed(create({ clock, policy }))).rejects.toMatchObject({ retryAfterMs: ms });
    expect(fake.requests.length).toBeLessThanOrEqual(2);
  });

  test('says that every key is refused', async () => {
    fake.always('embeddings', { type: 'status', status: 401 });
    await expect(embed(create({ apiKeys: ['k1', 'k2'] }))).rejects.toMatchObject({
      kind: 'provider_unavailable',
      message: expect.stringMatching(/None of the 2 API keys.*refuses/),
    });
  });

  test('pauses with full jitter between failures of the provider, thrice at most', async () => {
    const clock = createManualClock();
    fake.always('embeddings', { type: 'status', status: 500 });
    const result = embed(create({ clock, random: () => 0.5, policy: { baseMs: 400 } }));
    const failure = failureOf(result);
    for (const pause of [200, 400]) {
      expect(await clock.sleeping()).toBe(pause);
      clock.advance(pause);
    }
    expect(await failure).toMatchObject({ kind: 'provider_unavailable' });
    expect(fake.requests).toHaveLength(3);
  });

  test('does not repeat a request that the provider refuses', async () => {
    fake.always('embeddings', { type: 'status', status: 400, code: 'context_length_exceeded' });
    await expect(embed(create())).rejects.toMatchObject({
      kind: 'invalid_request',
      message: expect.stringContaining('context_length_exceeded'),
    });
    expect(fake.requests).toHaveLength(1);
  });

  test('asks a server that takes few texts at once several times, and remembers how few', async () => {
    const texts = Array.from({ length: 128 }, (_, number) => `text ${number}`);
    fake.always('embeddings', { type: 'most-texts', texts: 40 });
    const provider = create();
    const { vectors, tokens } = await embed(provider, texts);
    expect(vectors).toEqual((await embed(create({ apiKeys: ['k2'] }), texts)).vectors);
    expect(tokens).toBeGreaterThan(127);
    const own = fake.requests.filter(({ key }) => key === 'k1');
    expect(own.map(({ body }) => (body['input'] as string[]).length)).toEqual([128, 64, 32, 32, 32, 32]);
    expect(provider.maxBatch).toBe(32);
    fake.always('embeddings', { type: 'most-texts', texts: 0 });
    expect(await failureOf(embed(provider, ['one']))).toMatchObject({ kind: 'invalid_request' });
  });

  test('sends no more tokens at once than a request may have', async () => {
    const texts = Array.from({ length: 100 }, (_, number) => `${number} ${'word '.repeat(3_900)}`);
    const { vectors } = await embed(create(), texts);
    expect(vectors).toHaveLength(100);
    const sizes = fake.requests.map(({ body }) => (body['input'] as string[]).length);
    expect(sizes.length).toBeGreaterThan(1);
    expect(Math.max(...sizes) * 3_900).toBeLessThan(250_000);
    expect(fake.requests.flatMap(({ body }) => body['input'] as string[])).toEqual(texts);
  });

  test('ends a request that hangs, and tries again', async () => {
    const clock = createManualClock();
    fake.next('embeddings', { type: 'hang' });
    const result = embed(create({ clock, timeoutMs: 5_000 }));
    await fake.waitFor(({ state }) => state === 'open');
    clock.advance(5_000);
    expect((await result).vectors).toHaveLength(2);
    await fake.waitFor(({ state }) => state === 'aborted');
  });

  test('aborts the HTTP request when the caller does', async () => {
    const controller = new AbortController();
    const reason = new Error('document deleted');
    fake.next('embeddings', { type: 'hang' });
    const result = create().embed(['one'], { purpose: 'document', signal: controller.signal });
    const failure = failureOf(result);
    await fake.waitFor(({ state }) => state === 'open');
    controller.abort(reason);
    expect(await failure).toBe(reason);
    expect((await fake.waitFor(({ state }) => state === 'aborted')).route).toBe('embeddings');
  });

  test('says that the server cannot be reached', async () => {
    const provider = create({ baseUrl: 'http://127.0.0.1:9/v1', policy: { attempts: 1 } });
    await expect(embed(provider)).rejects.toMatchObject({
      kind: 'provider_unavailable',
      message: expect.stringContaining('cannot be reached'),
    });
  });

  test('tells E5 models what a text is for', async () => {
    const provider = create({ model: 'intfloat/multilingual-e5-small', clock: systemClock });
    await provider.embed(['a'], { purpose: 'query' });
    await provider.embed(['a'], { purpose: 'document' });
    expect(fake.requests.map(({ body }) => body['input'])).toEqual([['query: a'], ['passage: a']]);
  });

  test('says instead what it was told to say before questions, passages or both', async () => {
    const model = 'intfloat/multilingual-e5-small';
    const some = create({ model, prefixes: { query: 'Q: ' }, clock: systemClock });
    const none = create({ model, prefixes: { query: '', document: '' }, clock: systemClock });
    for (const purpose of ['query', 'document'] as const) {
      await some.embed(['a'], { purpose });
      await none.embed(['a'], { purpose });
    }
    expect(fake.requests.map(({ body }) => body['input'])).toEqual([['Q: a'], ['a'], ['passage: a'], ['a']]);
  });

  test('reports each request and its tokens to the metrics, keys by number', async () => {
    const seen: string[] = [];
    fake.next('embeddings', { type: 'status', status: 429, retryAfter: '600' });
    await embed(
      create({
        apiKeys: ['k1', 'k2'],
        observer: {
          request: ({ operation, key, status }) => seen.push(`${operation} ${key} ${status}`),
          tokens: ({ kind, model, count }) => seen.push(`${kind} ${model} ${count > 0}`),
        },
      }),
    );
    expect(seen).toEqual(['embeddings 1 429', 'embeddings 2 200', 'embedding fake-embedding true']);
  });
});
