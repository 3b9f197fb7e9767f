import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import { systemClock } from '../../../src/kernel/clock.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { createProviders } from '../../../src/llm/create-providers.ts';
import { openEmbeddings } from '../../../src/llm/open-embeddings.ts';
import { collect, harbourRequest } from '../../contract/chat-provider.ts';
import { startFakeOpenAi } from '../../support/fake-openai.ts';

const fake = startFakeOpenAi({ dimensions: 64 });
afterAll(() => fake.stop());
beforeEach(() => fake.reset());

const never = new AbortController().signal;
const dependencies = { clock: systemClock, logger: silentLogger };

describe('providers by configuration', () => {
  test('are built in where nothing is configured', async () => {
    const { chat, embeddings, prepare } = await createProviders(
      { openaiApiKeys: [], embeddingDimensions: 512 },
      dependencies,
    );
    await prepare(never);
    expect([chat.model, embeddings.model, embeddings.dimensions]).toEqual([
      'dreamhub-extractive',
      'dreamhub-hash-v1',
      512,
    ]);
  });

  test('share a server, and know their dimensions once prepared', async () => {
    const { chat, embeddings, prepare } = await createProviders(
      { openaiBaseUrl: fake.url, openaiApiKeys: ['key'], chatModel: 'fake-chat', embeddingModel: 'fake-embedding' },
      dependencies,
    );
    await prepare(never);
    expect(embeddings.dimensions).toBe(64);
    expect((await collect(chat.answer(harbourRequest, never))).text).toContain('1921');
    expect(new Set(fake.requests.map(({ key }) => key))).toEqual(new Set(['key']));
  });

  test('take embeddings from elsewhere, with keys of their own', async () => {
    const { chat, embeddings } = await createProviders(
      { openaiApiKeys: [], embeddingBaseUrl: fake.url, embeddingApiKeys: ['other'], embeddingModel: 'fake-embedding' },
      dependencies,
    );
    await embeddings.embed(['text'], { purpose: 'query' });
    expect(chat.provider).toBe('builtin');
    expect(fake.requests.map(({ key, route }) => `${route} ${key}`)).toEqual(['embeddings other']);
  });

  test('say before a text what is configured, and to another model of the server what its name wants', async () => {
    const config = {
      openaiBaseUrl: fake.url,
      openaiApiKeys: ['key'],
      embeddingModel: 'own-model',
      embeddingPrefixes: { query: 'ask: ' },
    };
    const { embeddings } = await createProviders(config, dependencies);
    await embeddings.embed(['a'], { purpose: 'query' });
    for (const model of ['own-model', 'e5-base']) {
      const opened = await openEmbeddings({ provider: 'openai', model, dimensions: 8 }, config, dependencies);
      await opened?.embed(['a'], { purpose: 'query' });
    }
    const asked = fake.requests.map(({ body }) => body['input']);
    expect(asked).toEqual([['ask: a'], ['ask: a'], ['query: a']]);
  });
});
