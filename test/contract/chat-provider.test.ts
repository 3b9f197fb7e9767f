import { afterAll } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinChat } from '../../src/llm/builtin-chat.ts';
import { createOpenAiChat } from '../../src/llm/openai-chat.ts';
import { startFakeOpenAi } from '../support/fake-openai.ts';
import { describeChatProvider } from './chat-provider.ts';

const fake = startFakeOpenAi();
afterAll(() => fake.stop());

describeChatProvider('builtin', async () => createBuiltinChat());
describeChatProvider('builtin at a pace', async () =>
  createBuiltinChat({ pace: { tokensPerSecond: 10_000, clock: systemClock } }),
);
describeChatProvider('openai', async () =>
  createOpenAiChat({
    baseUrl: fake.url,
    apiKeys: ['key'],
    model: 'fake-chat',
    clock: systemClock,
    logger: silentLogger,
  }),
);
