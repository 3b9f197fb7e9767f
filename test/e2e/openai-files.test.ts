/** Files and vector stores as OpenAI's own client uses them, and what others see of them. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type OpenAI from 'openai';
import { BadRequestError, NotFoundError, PermissionDeniedError, toFile } from 'openai';
import { type OpenAiHub, rejection, startOpenAiHub } from '../support/openai-hub.ts';
import type { Person } from '../support/person.ts';

let hub: OpenAiHub;
let owner: Person;
let client: OpenAI;
/** Of another tenant; of the same tenant, a member and a viewer. */
let stranger: OpenAI;
let colleague: OpenAI;
let viewer: OpenAI;

beforeAll(async () => {
  hub = await startOpenAiHub();
  owner = await hub.register();
  client = hub.clientOf(owner);
  stranger = hub.clientOf(await hub.register());
  colleague = hub.clientOf(await hub.join(owner, 'member'));
  viewer = hub.clientOf(await hub.join(owner, 'viewer'));
}, 120_000);
afterAll(() => hub?.stop(), 60_000);

let count = 0;
/** A file that nothing else says the same as. */
async function upload(text: string, { by = client, visibility = 'tenant' } = {}) {
  count += 1;
  const file = await toFile(Buffer.from(text), `file-${count}.txt`);
  return by.files.create({ file, purpose: 'assistants', visibility } as OpenAI.FileCreateParams);
}

describe('files', () => {
  test('are uploaded, listed, read and deleted', async () => {
    const file = await upload('The kettle is on the blue shelf.');
    expect(file).toMatchObject({ object: 'file', bytes: 32, purpose: 'assistants', filename: `file-${count}.txt` });
    expect(file.id).toStartWith('file-');
    const ready = await client.files.waitForProcessing(file.id, { pollInterval: 50, maxWait: 100_000 });
    expect(ready.status).toBe('processed');
    expect((await owner.call('GET', `/documents/${file.id.slice(5)}`)).body).toMatchObject({ status: 'ready' });
    expect(await (await client.files.content(file.id)).text()).toBe('The kettle is on the blue shelf.');
    const listed: string[] = [];
    for await (const { id } of client.files.list({ purpose: 'assistants', limit: 1 })) listed.push(id);
    expect(listed).toContain(file.id);
    expect((await client.files.list({ purpose: 'user_data' })).data).toEqual([]);
    expect(await client.files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true });
    expect(await rejection(client.files.retrieve(file.id))).toBeInstanceOf(NotFoundError);
  }, 120_000);

  test('of the same bytes are one file', async () => {
    const [first, second] = [await upload('Twice the same.'), await upload('Twice the same.')];
    expect(second.id).toBe(first.id);
  });

  test('that cannot be taken are refused, and nothing of them is kept', async () => {
    const before = (await client.files.list()).data.length;
    const file = await toFile(Buffer.from('Train me.'), 'train.txt');
    const error = await rejection(client.files.create({ file, purpose: 'fine-tune' }));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ param: 'purpose' });
    const program = await toFile(Buffer.from('\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0'), 'program');
    expect(await rejection(client.files.create({ file: program, purpose: 'user_data' }))).toBeInstanceOf(
      BadRequestError,
    );
    const expiring = { file, purpose: 'user_data', expires_after: { anchor: 'created_at', seconds: 3_600 } } as const;
    expect(await rejection(client.files.create(expiring))).toMatchObject({ status: 400, param: 'expires_after' });
    expect((await client.files.list()).data).toHaveLength(before);
  });

  test('are another tenant’s never, and another user’s where they are not private', async () => {
    const shared = await upload('The parasol is in the hall.');
    const secret = await upload('The diary is under the bed.', { by: colleague, visibility: 'private' });
    expect((await colleague.files.retrieve(shared.id)).id).toBe(shared.id);
    for (const [who, id] of [
      [stranger, shared.id],
      [stranger, secret.id],
      [client, secret.id],
      [viewer, secret.id],
    ] as const) {
      for (const attempt of [() => who.files.retrieve(id), () => who.files.content(id)]) {
        expect(await rejection(attempt())).toBeInstanceOf(NotFoundError);
      }
      expect(JSON.stringify((await who.files.list()).data)).not.toContain(secret.id);
    }
    expect(await rejection(stranger.files.delete(shared.id))).toBeInstanceOf(NotFoundError);
    expect(await rejection(client.files.delete(secret.id))).toBeInstanceOf(NotFoundError);
    expect(await rejection(colleague.files.delete(shared.id))).toBeInstanceOf(PermissionDeniedError);
    expect(await rejection(viewer.files.delete(shared.id))).toBeInstanceOf(PermissionDeniedError);
    expect(await rejection(upload('No.', { by: viewer }))).toBeInstanceOf(PermissionDeniedError);
    expect((await colleague.files.retrieve(secret.id)).id).toBe(secret.id);
  });
});

test('what is sent again with its key is done once', async () => {
  const headers = { 'idempotency-key': crypto.randomUUID() };
  const make = (name: string) => client.vectorStores.create({ name }, { headers });
  expect((await make('Once')).id).toBe((await make('Once')).id);
  const error = await rejection(make('Another'));
  expect(error).toBeInstanceOf(BadRequestError);
  expect(error).toMatchObject({ type: 'invalid_request_error' });
  const asked = { 'idempotency-key': crypto.randomUUID() };
  const ask = async () => {
    const body = { model: 'x', messages: [{ role: 'user' as const, content: 'Hello there?' }], stream: true as const };
    for await (const { object } of await client.chat.completions.create(body, { headers: asked })) {
      expect(object).toBe('chat.completion.chunk');
    }
  };
  await ask();
  expect(await rejection(ask())).toMatchObject({ status: 409, code: 'conflict' });
});

describe('a vector store', () => {
  test('is made, found, renamed and deleted, and its files stay', async () => {
    const file = await upload('The spare key hangs in the shed.');
    const store = await client.vectorStores.create({ name: 'Keys', file_ids: [file.id], metadata: { room: '7' } });
    expect(store).toMatchObject({ object: 'vector_store', name: 'Keys', metadata: { room: '7' } });
    expect(store.file_counts.total).toBe(1);
    expect(store.usage_bytes).toBe(file.bytes);
    const other = await client.vectorStores.create({ name: 'Other' });
    const inOrder = async (order: 'asc' | 'desc') => {
      const ids: string[] = [];
      for await (const { id } of client.vectorStores.list({ limit: 1, order })) ids.push(id);
      return ids.filter((id) => id === store.id || id === other.id);
    };
    expect(await inOrder('asc')).toEqual([store.id, other.id]);
    expect(await inOrder('desc')).toEqual([other.id, store.id]);
    expect((await client.vectorStores.update(store.id, { name: 'Locks' })).name).toBe('Locks');
    expect(await client.vectorStores.retrieve(store.id)).toMatchObject({ name: 'Locks', metadata: { room: '7' } });
    expect(await client.vectorStores.delete(store.id)).toMatchObject({ id: store.id, deleted: true });
    expect(await rejection(client.vectorStores.retrieve(store.id))).toBeInstanceOf(NotFoundError);
    expect((await client.files.retrieve(file.id)).id).toBe(file.id);
  });

  test('takes files and finds what they say, by what is attached to them', async () => {
    const store = await client.vectorStores.create({ name: 'Recipes' });
    const outside = await upload('Recipe for pancakes: flour from the mill, and honey.');
    const [sweet, salty] = [
      await upload('Recipe for pancakes: flour, milk and sugar.'),
      await upload('Recipe for pancakes: flour, cheese and salt.'),
    ];
    const added = await client.vectorStores.files.createAndPoll(
      store.id,
      { file_id: sweet.id, attributes: { taste: 'sweet', rank: 1 } },
      { pollIntervalMs: 50 },
    );
    expect(added).toMatchObject({
      id: sweet.id,
      status: 'completed',
      attributes: { taste: 'sweet', rank: 1 },
      last_error: null,
    });
    const batch = await client.vectorStores.fileBatches.createAndPoll(
      store.id,
      { file_ids: [salty.id], attributes: { taste: 'salty', rank: 2 } },
      { pollIntervalMs: 50 },
    );
    expect(batch).toMatchObject({ status: 'completed', file_counts: { completed: 1, failed: 0, total: 1 } });
    const inBatch = await client.vectorStores.fileBatches.listFiles(batch.id, { vector_store_id: store.id });
    expect(inBatch.data.map(({ id }) => id)).toEqual([salty.id]);

    const find = async (params: Partial<OpenAI.VectorStoreSearchParams> = {}) =>
      (await client.vectorStores.search(store.id, { query: 'recipe for pancakes with flour', ...params })).data;
    const all = await find();
    expect(all.map(({ file_id }) => file_id).sort()).toEqual([sweet.id, salty.id].sort());
    expect(JSON.stringify(all)).not.toContain(outside.id);
    expect(all[0]?.content[0]?.text).toContain('Recipe for pancakes');
    const filtered = async (filters: OpenAI.VectorStoreSearchParams['filters']) =>
      (await find(filters === undefined ? {} : { filters })).map(({ file_id }) => file_id);
    expect(await filtered({ type: 'eq', key: 'taste', value: 'sweet' })).toEqual([sweet.id]);
    expect(await filtered({ type: 'gt', key: 'rank', value: 1 })).toEqual([salty.id]);
    const either = [
      { type: 'eq', key: 'taste', value: 'sweet' },
      { type: 'eq', key: 'rank', value: 2 },
    ] as const;
    expect(await filtered({ type: 'or', filters: [...either] })).toHaveLength(2);
    expect(await filtered({ type: 'and', filters: [...either] })).toEqual([]);
    expect(await find({ max_num_results: 1 })).toHaveLength(1);
    expect(await find({ ranking_options: { score_threshold: 1 } })).toHaveLength(1);
    const bad = { type: 'like', key: 'taste', value: 's%' } as never;
    expect(await rejection(find({ filters: bad }))).toMatchObject({ status: 400, param: 'filters' });

    await client.vectorStores.files.update(sweet.id, { vector_store_id: store.id, attributes: { taste: 'none' } });
    expect(await filtered({ type: 'eq', key: 'taste', value: 'sweet' })).toEqual([]);
    await client.vectorStores.files.delete(salty.id, { vector_store_id: store.id });
    expect((await find()).map(({ file_id }) => file_id)).toEqual([sweet.id]);
    expect((await client.vectorStores.files.list(store.id, { filter: 'completed' })).data.map(({ id }) => id)).toEqual([
      sweet.id,
    ]);
    await client.files.delete(sweet.id);
    expect(await find()).toEqual([]);
    expect((await client.vectorStores.files.list(store.id)).data).toEqual([]);
  }, 120_000);

  test('says which of its files could not be read', async () => {
    const store = await client.vectorStores.create({ name: 'Broken' });
    const file = await toFile(Buffer.from('%PDF-1.7\nbroken'), 'broken.pdf');
    const { id } = await client.files.create({ file, purpose: 'assistants' });
    const added = await client.vectorStores.files.createAndPoll(store.id, { file_id: id }, { pollIntervalMs: 50 });
    expect(added).toMatchObject({ status: 'failed', last_error: { code: 'invalid_file' } });
    expect((await client.vectorStores.retrieve(store.id)).file_counts).toMatchObject({ failed: 1, total: 1 });
  }, 120_000);

  test('shows nobody what is not theirs to see', async () => {
    const store = await client.vectorStores.create({ name: 'Shared' });
    const secret = await upload('The treasure lies below the old oak.', { by: colleague, visibility: 'private' });
    await colleague.vectorStores.files.createAndPoll(store.id, { file_id: secret.id }, { pollIntervalMs: 50 });
    const query = 'where does the treasure lie below the oak';
    expect((await colleague.vectorStores.search(store.id, { query })).data).toHaveLength(1);
    expect((await client.vectorStores.search(store.id, { query })).data).toEqual([]);
    expect((await client.vectorStores.retrieve(store.id)).file_counts.total).toBe(0);
    expect((await client.vectorStores.files.list(store.id)).data).toEqual([]);
    const name = { vector_store_id: store.id };
    expect(await rejection(client.vectorStores.files.retrieve(secret.id, name))).toBeInstanceOf(NotFoundError);
    // Nor may anybody put in what they do not see.
    const mine = await client.vectorStores.create({ name: 'Mine' });
    expect(await rejection(client.vectorStores.files.create(mine.id, { file_id: secret.id }))).toBeInstanceOf(
      NotFoundError,
    );
    const shared = await upload('Nothing to see.');
    const both = { file_ids: [shared.id, secret.id] };
    expect(await rejection(client.vectorStores.fileBatches.create(mine.id, both))).toBeInstanceOf(NotFoundError);
    expect((await client.vectorStores.files.list(mine.id)).data).toEqual([]);

    for (const attempt of [
      () => stranger.vectorStores.retrieve(store.id),
      () => stranger.vectorStores.update(store.id, { name: 'x' }),
      () => stranger.vectorStores.delete(store.id),
      () => stranger.vectorStores.search(store.id, { query }),
      () => stranger.vectorStores.files.list(store.id),
      () => stranger.vectorStores.files.create(store.id, { file_id: shared.id }),
    ]) {
      expect(await rejection(attempt())).toBeInstanceOf(NotFoundError);
    }
    expect((await stranger.vectorStores.list()).data).toEqual([]);
    for (const attempt of [
      () => colleague.vectorStores.delete(store.id),
      () => viewer.vectorStores.create({ name: 'x' }),
    ]) {
      expect(await rejection(attempt())).toBeInstanceOf(PermissionDeniedError);
    }
    expect((await viewer.vectorStores.search(store.id, { query })).data).toEqual([]);
  }, 120_000);
});
