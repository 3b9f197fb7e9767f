/** DreamHub as OpenAI's own client sees it: the official package, unmodified, with nothing changed but its base URL. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import type OpenAI from 'openai';
import {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from 'openai';
import { type OpenAiHub, rejection, startOpenAiHub } from '../support/openai-hub.ts';
import type { Person } from '../support/person.ts';

const SECRET = 'The vault of the lighthouse opens with the number 7391.';

let hub: OpenAiHub;
let owner: Person;
let client: OpenAI;
let document: string;

beforeAll(async () => {
  hub = await startOpenAiHub();
  owner = await hub.register();
  client = hub.clientOf(owner);
  document = await hub.learn(owner, SECRET, 'lighthouse.txt', { visibility: 'private' });
}, 120_000);
afterAll(() => hub?.stop(), 60_000);
afterEach(() => hub.fake.reset());

test('the example of the README works as printed', async () => {
  const root = join(import.meta.dir, '../..');
  const readme = await Bun.file(join(root, 'README.md')).text();
  const example = /## Use it with OpenAI's client[\s\S]*?```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  const person = await hub.register();
  await hub.learn(person, 'Everybody has 30 days of leave a year.', 'leave.txt');
  const child = Bun.spawn([process.execPath, '-e', example], {
    cwd: root,
    env: { ...process.env, DREAMHUB: hub.url, TOKEN: person.token },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  expect([code, err]).toEqual([0, '']);
  expect(out).toContain('30 days of leave');
  expect(out).toContain('leave.txt');
});

describe('models', () => {
  test('are listed and found by name', async () => {
    const all = (await client.models.list()).data;
    expect(all.map(({ object }) => object)).toEqual(['model', 'model']);
    for (const { id } of all) expect((await client.models.retrieve(id)).id).toBe(id);
    expect(await rejection(client.models.retrieve('no/such:model'))).toBeInstanceOf(NotFoundError);
  });

  test('are told to whoever has credentials of any kind, and to nobody else', async () => {
    const key = await hub.key(owner, 'chat');
    expect((await hub.clientOf(key).models.list()).data).toHaveLength(2);
    const error = await rejection(hub.clientOf('dhk_nobody').models.list());
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ status: 401, code: 'invalid_api_key', type: 'invalid_request_error' });
    expect((error as AuthenticationError).requestID).toBeString();
  });
});

describe('embeddings', () => {
  const length = (vector: readonly number[]) => Math.hypot(...vector);
  const create = (input: OpenAI.EmbeddingCreateParams['input'], more: Partial<OpenAI.EmbeddingCreateParams> = {}) =>
    client.embeddings.create({ model: 'whichever', input, ...more });

  test('come one a text, in order, the same as numbers and as bytes', async () => {
    const texts = ['The fox jumps.', '狐狸跳过去了。', 'The fox jumps.'];
    const bytes = await create(texts);
    const numbers = await create(texts, { encoding_format: 'float' });
    expect(bytes.data.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(bytes.data.map(({ embedding }) => embedding)).toEqual(numbers.data.map(({ embedding }) => embedding));
    const [first, second, third] = bytes.data.map(({ embedding }) => embedding);
    expect(first).toEqual(third ?? []);
    expect(first).not.toEqual(second ?? []);
    expect(length(first ?? [])).toBeCloseTo(1, 3);
    expect(bytes.usage.total_tokens).toBeGreaterThan(0);
    const known = (await client.models.list()).data.map(({ id }) => id);
    expect(known).toContain(bytes.model);
  });

  test('may be shorter, and are still of unit length', async () => {
    const [whole, short] = [
      await create('The fox jumps over it.'),
      await create('The fox jumps over it.', { dimensions: 100 }),
    ];
    const [long = [], few = []] = [whole.data[0]?.embedding, short.data[0]?.embedding];
    expect(few).toHaveLength(100);
    expect(length(few)).toBeCloseTo(1, 3);
    const scale = length(long.slice(0, 100));
    for (const [at, value] of few.entries()) expect(value).toBeCloseTo((long[at] ?? 0) / scale, 4);
  });

  test('of tokens are those of the text that they stand for', async () => {
    const { encode } = await import('gpt-tokenizer/encoding/cl100k_base');
    const text = 'How many days of leave do I have?';
    const plain = (await create(text)).data[0]?.embedding;
    expect((await create(encode(text))).data[0]?.embedding).toEqual(plain ?? []);
    const both = (await create([encode('Something else.'), encode(text)])).data;
    expect(both[1]?.embedding).toEqual(plain ?? []);
  });

  test.each([
    ['', {}, 'input'],
    [[], {}, 'input'],
    [['fine', ''], {}, 'input'],
    [[1.5], {}, 'input'],
    [[99_999_999], {}, 'input'],
    ['x', { dimensions: 0 }, 'dimensions'],
    ['x', { dimensions: 99_999 }, 'dimensions'],
    ['x', { encoding_format: 'hex' }, 'encoding_format'],
    ['x', { temperature: 1 }, 'temperature'],
  ])('of %j with %j are refused, and %s is named', async (input, more, param) => {
    const error = await rejection(create(input, more as Partial<OpenAI.EmbeddingCreateParams>));
    expect(error).toBeInstanceOf(BadRequestError);
    expect((error as BadRequestError).param).toStartWith(param);
    expect(error).toMatchObject({ type: 'invalid_request_error', code: 'invalid_request' });
  });
});

test('what was asked for is counted, and refused past the tenant’s budget', async () => {
  const person = await hub.register();
  const by = hub.clientOf(person);
  const embed = () => by.embeddings.create({ model: 'whichever', input: 'Five words for the meter.' });
  const used = (await embed()).usage.total_tokens;
  const usage = await person.call<{ totals: { embedding_tokens: number } }>('GET', '/usage');
  expect(usage.body.totals.embedding_tokens).toBe(used);
  expect((await person.call('PUT', '/quotas', { budget_period: 'day', max_tokens: 1 })).status).toBe(200);
  const messages = [{ role: 'user' as const, content: 'And now?' }];
  for (const attempt of [
    embed,
    () => by.chat.completions.create({ model: 'x', messages }),
    () => by.chat.completions.create({ model: 'x', messages, stream: true }),
    () => by.responses.create({ model: 'x', input: 'And now?' }),
  ]) {
    const error = await rejection(attempt());
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({ status: 429, code: 'insufficient_quota', type: 'insufficient_quota' });
    expect(Number((error as APIError).headers?.get('retry-after'))).toBeGreaterThan(0);
  }
});

describe('a chat completion', () => {
  type Messages = OpenAI.ChatCompletionMessageParam[];
  type Params = Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>;
  const question: Messages = [{ role: 'user', content: 'With which number does the vault of the lighthouse open?' }];
  const ask = (messages: Messages = question, more: Params = {}, by = client) =>
    by.chat.completions.create({ model: 'fake-chat', messages, ...more });
  const stream = (more: Partial<OpenAI.ChatCompletionCreateParamsStreaming> = {}, by = client) =>
    by.chat.completions.create({ model: 'fake-chat', messages: question, ...more, stream: true });
  /** What the model was sent last. */
  const prompt = () => JSON.stringify(hub.fake.requests.findLast(({ route }) => route === 'chat')?.body['messages']);

  interface Annotation {
    type: string;
    start_index: number;
    end_index: number;
    file_citation: { file_id: string; filename: string; quote: string };
  }

  function expectCited(text: string, annotations: unknown) {
    const all = annotations as Annotation[];
    expect(all.length).toBeGreaterThan(0);
    for (const { type, start_index: start, end_index: end, file_citation: cited } of all) {
      expect(type).toBe('file_citation');
      expect(text.slice(start, end)).toBe('[1]');
      expect(cited).toMatchObject({ file_id: `file-${document}`, filename: 'lighthouse.txt' });
      expect(SECRET).toContain(cited.quote);
    }
  }

  test('answers from the documents, with what it rests on and what it took', async () => {
    const { id, object, model, choices, usage } = await ask();
    expect(id).toStartWith('chatcmpl-');
    expect({ object, model }).toEqual({ object: 'chat.completion', model: 'fake-chat' });
    const [choice] = choices;
    expect(choice?.finish_reason).toBe('stop');
    expect(choice?.message).toMatchObject({ role: 'assistant', refusal: null });
    expect(choice?.message.content).toContain('7391');
    expectCited(choice?.message.content ?? '', choice?.message.annotations);
    expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0));
    expect(usage?.prompt_tokens).toBeGreaterThan(10);
  });

  test('streams the same, its sources on the last delta, its usage where that is asked for', async () => {
    const whole = (await ask()).choices[0]?.message.content;
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of await stream({ stream_options: { include_usage: true } })) chunks.push(chunk);
    const deltas = chunks.flatMap(({ choices }) => choices);
    expect(deltas[0]?.delta.role).toBe('assistant');
    const text = deltas.map(({ delta }) => delta.content ?? '').join('');
    expect(text).toBe(whole ?? '');
    expect(deltas.filter(({ finish_reason }) => finish_reason).map(({ finish_reason }) => finish_reason)).toEqual([
      'stop',
    ]);
    expectCited(text, Object(deltas.at(-1)?.delta).annotations);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: expect.any(Number) } });
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    for await (const chunk of await stream()) expect(chunk.choices).toHaveLength(1);
  });

  test('reads its history and its instructions from the messages, and leaves no conversation in anybody’s list', async () => {
    const before = await owner.call<{ items: unknown[] }>('GET', '/conversations');
    await ask([
      { role: 'system', content: 'Talk like a sailor.' },
      { role: 'user', content: [{ type: 'text', text: 'Do you know the lighthouse?' }] },
      { role: 'assistant', content: 'Aye, on the northern cliff.' },
      { role: 'developer', content: 'Be brief.' },
      { role: 'user', content: 'With which number does its vault open?' },
    ]);
    for (const said of ['Talk like a sailor.', 'Be brief.', 'northern cliff', 'Do you know the lighthouse?', '7391']) {
      expect(prompt()).toContain(said);
    }
    await ask();
    expect(prompt()).not.toContain('sailor');
    const after = await owner.call<{ items: unknown[] }>('GET', '/conversations');
    expect(after.body.items).toEqual(before.body.items);
  });

  test('ends where its client says', async () => {
    const whole = (await ask()).choices[0]?.message.content ?? '';
    const stopped = (await ask(question, { stop: ['vault'] })).choices[0];
    expect(whole).toContain('vault');
    expect(stopped).toMatchObject({
      finish_reason: 'stop',
      message: { content: whole.slice(0, whole.indexOf('vault')) },
    });
    const short = (await ask(question, { max_completion_tokens: 3 })).choices[0];
    expect(short?.finish_reason).toBe('length');
    expect(whole.startsWith(short?.message.content ?? 'no')).toBe(true);
    expect(short?.message.content?.length).toBeLessThan(whole.length);
  });

  test('ends with its client: the model is asked no further', async () => {
    hub.fake.next('chat', { type: 'stepwise' }, { type: 'hang' });
    hub.fake.step();
    const reading = await stream();
    for await (const chunk of reading) if (chunk.choices[0]?.delta.content) break;
    reading.controller.abort();
    await hub.fake.waitFor(({ fault, state }) => fault === 'stepwise' && state === 'aborted');

    const leaving = new AbortController();
    const waiting = rejection(
      client.chat.completions.create({ model: 'x', messages: question }, { signal: leaving.signal }),
    );
    await hub.fake.waitFor(({ fault }) => fault === 'hang');
    leaving.abort();
    expect(await waiting).toBeInstanceOf(APIError);
    await hub.fake.waitFor(({ fault, state }) => fault === 'hang' && state === 'aborted');
  });

  test('that fails before its first word is an error with its status, in a stream too; after it, an error in the stream', async () => {
    hub.fake.always('chat', { type: 'status', status: 400, code: 'bad' });
    expect(await rejection(ask())).toBeInstanceOf(BadRequestError);
    hub.fake.always('chat', { type: 'status', status: 503 });
    const error = await rejection(stream());
    expect(error).toBeInstanceOf(InternalServerError);
    expect(error).toMatchObject({ status: 503, code: 'provider_unavailable', type: 'server_error' });
    expect(Number((error as APIError).headers?.get('retry-after'))).toBeGreaterThan(0);
    expect((error as APIError).requestID).toBeString();
    hub.fake.always('chat', { type: 'truncate', tokens: 2 });
    let read = '';
    const cut = (async () => {
      for await (const chunk of await stream()) read += chunk.choices[0]?.delta.content ?? '';
    })();
    expect(await rejection(cut)).toMatchObject({ code: 'provider_unavailable' });
    expect(read).not.toBe('');
  });

  test('tells nobody what is another tenant’s, nor what is another user’s private document', async () => {
    const stranger = await hub.register();
    const colleague = await hub.join(owner, 'member');
    for (const by of [hub.clientOf(stranger), hub.clientOf(colleague)]) {
      const { choices } = await ask(question, {}, by);
      expect(choices[0]?.message.annotations).toEqual([]);
      expect(JSON.stringify(choices)).not.toContain('7391');
      expect(prompt()).not.toContain('7391');
      let text = '';
      for await (const chunk of await stream({}, by)) text += JSON.stringify(chunk);
      expect(text).not.toContain('7391');
    }
  });

  test('needs the scope of chats', async () => {
    expect((await ask(question, {}, hub.clientOf(await hub.key(owner, 'chat')))).choices).toHaveLength(1);
    const error = await rejection(ask(question, {}, hub.clientOf(await hub.key(owner, 'read', 'write'))));
    expect(error).toMatchObject({ status: 403, code: 'insufficient_permissions' });
  });

  test.each<[string, object]>([
    ['n', { n: 2 }],
    ['tools', { tools: [{ type: 'function', function: { name: 'f' } }] }],
    ['response_format', { response_format: { type: 'json_object' } }],
    ['temperature', { temperature: 3 }],
    ['unheard_of', { unheard_of: true }],
    ['messages', { messages: [] }],
    ['messages', { messages: [{ role: 'system', content: 'Hello.' }] }],
    ['messages', { messages: [{ role: 'assistant', content: 'Hello.' }] }],
    ['messages[0].role', { messages: [{ role: 'tool', tool_call_id: 'x', content: 'Hello.' }] }],
    ['messages[0].role', { messages: [{ role: 'nobody', content: 'Hello.' }] }],
    [
      'messages[0].content[0].type',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] },
    ],
  ])('is refused for its %s: %j', async (param, more) => {
    const error = await rejection(ask(question, more as Params));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ param, code: 'invalid_request', type: 'invalid_request_error' });
  });
});
