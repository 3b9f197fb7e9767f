/** A user's noted facts, and what the own chats make of them, on a real PostgreSQL. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import type { Principal } from '../../src/contracts/index.ts';
import { MOST_BYTES, MOST_FACTS, MOST_VALUE_BYTES } from '../../src/services/structured-memory.ts';
import { startFakeOpenAi } from '../support/fake-openai.ts';
import { createRig, type Rig } from '../support/rig.ts';

const fake = startFakeOpenAi({ reply: () => 'The model says so.' });
let rig: Rig;
let who: Principal;

beforeAll(async () => {
  rig = await createRig({ openaiBaseUrl: fake.url });
});
afterAll(async () => {
  await rig.close();
  await fake.stop();
});
beforeEach(async () => {
  fake.reset();
  who = await rig.newTenant();
});

const create = (key: string, value: unknown, by = who) => rig.as(by, () => rig.memory.create({ key, value }));
const replace = (key: string, value: unknown, version?: number, by = who) =>
  rig.as(by, () => rig.memory.replace(key, value, version));
const get = (key: string, by = who) => rig.as(by, () => rig.memory.get(key));
const remove = (key: string, version?: number, by = who) => rig.as(by, () => rig.memory.remove(key, version));
const list = (page: { limit: number; cursor?: string }, by = who) => rig.as(by, () => rig.memory.list(page));
const kind = (what: string) => expect.objectContaining({ kind: what });

async function ask(content: string, by = who) {
  const receipt = await rig.as(by, () => rig.chat.send({ content }));
  await rig.deliver(by, 'chat', receipt.turn_id);
  return rig.as(by, () => rig.chat.turn(receipt.turn_id));
}

describe('a fact', () => {
  test.each([
    ['text', 'Beijing'],
    ['nothing', null],
    ['a number', 0],
    ['a list', [1, 'two', { three: 3 }]],
    ['an object', { a: { b: [true] }, 城市: '北京' }],
  ])('is kept as it is: %s', async (_, value) => {
    expect(await create('k', value)).toMatchObject({ key: 'k', value, version: 1 });
    expect((await get('k')).value).toEqual(value);
  });

  test.each(['a', '城市', 'home.city', 'user:name', 'A-1_b', 'é'])('may be called %s', async (key) => {
    await create(key, 1);
    expect(await get(key)).toMatchObject({ key });
    // However its accents are typed.
    expect(await get(key.normalize('NFD'))).toMatchObject({ key });
  });

  test.each(['', '.a', 'a b', 'a/b', 'a\nb', '<x>', 'x'.repeat(101), '-'])('may not be called %j', async (key) => {
    const refused = { kind: 'invalid_request', errors: [{ path: '/key', message: expect.any(String) }] };
    await expect(create(key, 1)).rejects.toMatchObject(refused);
    await expect(get(key)).rejects.toMatchObject({ kind: 'not_found' });
  });

  test('is noted once, changed by version, and forgotten', async () => {
    await create('city', 'Beijing');
    await expect(create('city', 'Shanghai')).rejects.toMatchObject({ kind: 'conflict' });
    expect(await replace('city', 'Shanghai')).toMatchObject({ value: 'Shanghai', version: 2 });
    expect(await replace('city', 'Xi’an', 2)).toMatchObject({ value: 'Xi’an', version: 3 });
    await expect(replace('city', 'Chengdu', 2)).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('version 3'),
    });
    await expect(remove('city', 2)).rejects.toMatchObject({ kind: 'conflict' });
    expect((await get('city')).value).toBe('Xi’an');
    await remove('city', 3);
    for (const gone of [() => get('city'), () => replace('city', 1), () => remove('city')])
      await expect(gone()).rejects.toMatchObject({ kind: 'not_found' });
  });

  test('changed by several who saw the same version is changed by one of them', async () => {
    await create('n', 0);
    const outcomes = await Promise.allSettled(Array.from({ length: 6 }, (_, i) => replace('n', i, 1)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect((await get('n')).version).toBe(2);
  });

  test('is one user’s: neither seen, changed nor removed by another of the tenant, or of another', async () => {
    await create('secret', 'mine');
    for (const other of [await rig.addUser(who.tenantId), await rig.newTenant()]) {
      expect((await list({ limit: 10 }, other)).items).toEqual([]);
      for (const touch of [
        () => get('secret', other),
        () => replace('secret', 1, undefined, other),
        () => remove('secret', undefined, other),
      ])
        await expect(touch()).rejects.toMatchObject({ kind: 'not_found' });
      await create('secret', 'theirs', other);
      const rows = await rig.as(other, () => rig.database.tenant((sql) => sql`select value from structured_memories`));
      expect(rows.map(({ value }) => value)).toEqual(['theirs']);
    }
    expect(await get('secret')).toMatchObject({ value: 'mine', version: 1 });
  });

  test('is listed by key, page by page', async () => {
    for (const key of ['b', 'a', '城市', 'c', 'B']) await create(key, key);
    const pages: string[][] = [];
    for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
      const page = await list({ limit: 2, ...(cursor !== undefined && { cursor }) });
      pages.push(page.items.map(({ key }) => key));
      cursor = page.next_cursor ?? undefined;
    }
    expect(pages).toEqual([['B', 'a'], ['b', 'c'], ['城市']]);
    await expect(list({ limit: 2, cursor: '!!!' })).rejects.toMatchObject({ kind: 'invalid_request' });
  });
});

describe('of facts', () => {
  test('none is larger than the limit, to the byte', async () => {
    const text = (bytes: number) => 'x'.repeat(bytes - 2);
    await create('most', text(MOST_VALUE_BYTES));
    for (const write of [() => create('more', text(MOST_VALUE_BYTES + 1)), () => replace('most', '中'.repeat(1_365))])
      await expect(write()).rejects.toMatchObject({ kind: 'invalid_request' });
    await expect(create('none', undefined)).rejects.toMatchObject({ kind: 'invalid_request' });
  });

  test('a user has so many and no more, though they come at once', async () => {
    await rig.as(who, () =>
      rig.database.tenant(
        (sql) => sql`insert into structured_memories (key, value, bytes)
          select 'k' || i, '1', 1 from generate_series(1, ${MOST_FACTS - 3}) i`,
      ),
    );
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => create(`new${i}`, i)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(refused).toEqual(refused.map(() => kind('conflict')));
    // A full memory can still be changed.
    expect(await replace('k1', 'changed')).toMatchObject({ version: 2 });
  });

  test('all together have a bound, which growing ones meet, too', async () => {
    const value = 'x'.repeat(MOST_VALUE_BYTES - 2);
    for (let i = 0; i < MOST_BYTES / MOST_VALUE_BYTES - 1; i += 1) await create(`k${i}`, value);
    await create('small', 1);
    await expect(create('last', value)).rejects.toMatchObject({ kind: 'conflict' });
    await expect(replace('small', value)).resolves.toMatchObject({ version: 2 });
    await expect(create('another', 1)).rejects.toMatchObject({ kind: 'conflict' });
  });
});

describe('an answer', () => {
  test('without a model tells what was noted, where the question asks for it', async () => {
    await create('favourite_colour', 'green');
    await create('team', 'Harbour');
    const turn = await ask('What is my favourite colour?');
    expect(turn).toMatchObject({ status: 'completed', sources: [] });
    expect(turn.text).toContain('favourite colour: green');
    expect(turn.text).not.toContain('Harbour');
    expect((await ask('Who won the chess tournament?')).text).toContain('say nothing about this');
    for (const other of [await rig.addUser(who.tenantId), await rig.newTenant()])
      expect((await ask('What is my favourite colour?', other)).text).not.toContain('green');
  });

  test('by a model is told all of them that fit, between delimiters of their own', async () => {
    await rig.as(who, () => rig.settings.set({ openai_api_key: 'sk-of-somebody-1234567890' }));
    for (let i = 0; i < 15; i += 1) await create(`note${i}`, `${i} `.repeat(1_000));
    await create('favourite_colour', 'green');
    await ask('What is my favourite colour?');
    const messages = (fake.requests[0]?.body['messages'] ?? []) as { content: string }[];
    const prompt = messages.at(-1)?.content ?? '';
    const [, facts = ''] = /<passage-\w+-facts>\n([\s\S]*?)\n<\/passage-\w+-facts>/.exec(prompt) ?? [];
    expect(facts.split('\n')[0]).toBe('- favourite_colour: "green"');
    expect(facts.length).toBeLessThan(6_000);
    expect(messages[0]?.content).toContain('-facts> stands what the user has noted');
  });
});
