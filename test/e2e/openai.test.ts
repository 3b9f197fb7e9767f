/** DreamHub as OpenAI's own client sees it: the official package, unmodified, with nothing changed but its base URL. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import OpenAI, { AuthenticationError, BadRequestError, NotFoundError } from 'openai';
import { type Dreamhub, startDreamhub } from '../support/dreamhub.ts';
import { type Person, register } from '../support/person.ts';

let hub: Dreamhub;
let owner: Person;
let client: OpenAI;

const clientOf = (apiKey: string) => new OpenAI({ apiKey, baseURL: `${hub.url}/v1`, maxRetries: 0 });

/** What a promise is rejected with. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'it was not refused',
    (error: unknown) => error,
  );
}

beforeAll(async () => {
  hub = await startDreamhub('all');
  owner = await register(hub.url);
  client = clientOf(owner.token);
}, 120_000);
afterAll(() => hub?.stop(), 60_000);

describe('models', () => {
  test('are listed and found by name', async () => {
    const all = (await client.models.list()).data;
    expect(all.map(({ object }) => object)).toEqual(['model', 'model']);
    for (const { id } of all) expect((await client.models.retrieve(id)).id).toBe(id);
    expect(await rejection(client.models.retrieve('no/such:model'))).toBeInstanceOf(NotFoundError);
  });

  test('are told to whoever has credentials of any kind, and to nobody else', async () => {
    const key = await owner.call<{ key: string }>('POST', '/api-keys', { name: 'chats', scopes: ['chat'] });
    expect((await clientOf(key.body.key).models.list()).data).toHaveLength(2);
    const error = await rejection(clientOf('dhk_nobody').models.list());
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
