import { afterAll, beforeEach, describe, expect, test } from 'bun:test';
import pino from 'pino';
import { AppError } from '../../../src/kernel/errors.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { createOwnKeyChats } from '../../../src/llm/own-keys.ts';
import { collect, harbourRequest } from '../../contract/chat-provider.ts';
import { startFakeOpenAi } from '../../support/fake-openai.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const fake = startFakeOpenAi();
afterAll(() => fake.stop());
beforeEach(() => fake.reset());

const never = new AbortController().signal;
const create = (more: Partial<Parameters<typeof createOwnKeyChats>[1]> = {}, openaiBaseUrl = fake.url) =>
  createOwnKeyChats(
    { openaiBaseUrl, chatModel: 'fake-chat' },
    { clock: createManualClock(), logger: silentLogger, ...more },
  );

async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AppError)) throw new Error(`no AppError but ${error}`);
  return error;
}

describe('a key of a user', () => {
  test('is the one that asks the provider, for the model of the installation', async () => {
    const chat = await create().with('ada', 'sk-of-ada');
    expect((await collect(chat.answer(harbourRequest, never))).text).toContain('1921');
    expect(fake.requests).toMatchObject([{ key: 'sk-of-ada', body: { model: 'fake-chat' } }]);
  });

  test('that is refused fails at once as a conflict, again and again, until there is another', async () => {
    const chats = create();
    fake.failKey('sk-of-ada', { type: 'status', status: 401 });
    const ask = async (owner: string, key: string) =>
      collect((await chats.with(owner, key)).answer(harbourRequest, never));
    for (const _ of [1, 2]) {
      const error = await failure(ask('ada', 'sk-of-ada'));
      expect(error.kind).toBe('conflict');
      expect(error.retryable).toBe(false);
      expect(error.message).toContain('refuses your own API key');
    }
    // The same user's other key, and others' same key, have met nothing yet.
    expect((await ask('ada', 'sk-another')).text).toContain('1921');
    expect((await failure(ask('grace', 'sk-of-ada'))).kind).toBe('conflict');
    expect(fake.requests.map(({ key }) => key)).toEqual(['sk-of-ada', 'sk-another', 'sk-of-ada']);
  });

  test('whose credit is used up says so, and when to come back', async () => {
    fake.always('chat', { type: 'status', status: 429, code: 'insufficient_quota' });
    const chat = await create().with('ada', 'sk-of-ada');
    const error = await failure(collect(chat.answer(harbourRequest, never)));
    expect(error).toMatchObject({ kind: 'provider_unavailable', retryAfterMs: expect.any(Number) });
    expect(error.message).toStartWith('With your own API key: ');
    expect(error.message).toContain('insufficient_quota');
  });

  test('is in no log and no error, though the server repeats it', async () => {
    const server = Bun.serve({
      port: 0,
      fetch: (request) =>
        Response.json(
          { error: { message: `bad key ${request.headers.get('authorization')}`, code: null } },
          { status: 401 },
        ),
    });
    const logged: string[] = [];
    const logger = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
    try {
      const chat = await create({ logger }, `http://127.0.0.1:${server.port}/v1`).with('ada', 'sk-told-to-nobody');
      const error = await failure(collect(chat.answer(harbourRequest, never)));
      logger.warn({ err: error }, error.message);
      expect(logged.join('')).toContain('"key":"user"');
      for (const text of [logged.join(''), Bun.inspect(error)]) expect(text).not.toContain('sk-told');
    } finally {
      await server.stop(true);
    }
  });

  test('is one series of the metrics, and no alarm of the operator’s', async () => {
    const samples: unknown[] = [];
    fake.limitKeys({ requests: 100 });
    const observer = {
      request: ({ key, status }: { key: string; status: string }) => void samples.push([key, status]),
      limit: () => void samples.push('limit'),
    };
    const chat = await create({ observer }).with('ada', 'sk-of-ada');
    await collect(chat.answer(harbourRequest, never));
    fake.limitKeys(null);
    expect(samples).toEqual([['user', '200']]);
  });

  test('is kept with what was learnt of it', async () => {
    const chats = create();
    expect(await chats.with('ada', 'sk-of-ada')).toBe(await chats.with('ada', 'sk-of-ada'));
    expect(await chats.with('ada', 'sk-of-ada')).not.toBe(await chats.with('grace', 'sk-of-ada'));
  });
});
