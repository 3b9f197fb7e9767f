import { afterAll } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createOpenAiEmbeddings } from '../../src/llm/openai-embeddings.ts';
import { startFakeOpenAi } from '../support/fake-openai.ts';
import { describeEmbeddingProvider } from './embedding-provider.ts';

const fake = startFakeOpenAi();
afterAll(() => fake.stop());

const openai = {
  baseUrl: fake.url,
  apiKeys: ['key'],
  model: 'fake-embedding',
  clock: systemClock,
  logger: silentLogger,
};

describeEmbeddingProvider('builtin', async () => createBuiltinEmbeddings());
describeEmbeddingProvider('builtin, 2000 dimensions', async () => createBuiltinEmbeddings({ dimensions: 2000 }));
describeEmbeddingProvider('openai, dimensions configured', async () =>
  createOpenAiEmbeddings({ ...openai, dimensions: 512 }),
);
describeEmbeddingProvider('openai, dimensions learnt', async () => createOpenAiEmbeddings(openai));
