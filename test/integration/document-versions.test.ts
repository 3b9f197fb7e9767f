/** A document of a source item keeps its id when its bytes change, and searches see one version of it at every moment. */
import { afterAll, describe, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { EmbeddingProvider } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createBuiltinRerank } from '../../src/llm/builtin-rerank.ts';
import { createDocuments } from '../../src/services/documents.ts';
import { createSearch } from '../../src/services/search.ts';
import { createRig, linesOf, type Rig } from '../support/rig.ts';

type Who = { tenantId: string; userId: string };

const rigs: Rig[] = [];
afterAll(async () => {
  for (const rig of rigs) await rig.close();
});

/** A rig whose embedder notes what it sells, and can be made to fail or to wait. */
async function start(options: { queueMaxDepth?: number } = {}) {
  const builtin = createBuiltinEmbeddings({ dimensions: 64 });
  const sold: string[] = [];
  const state: { before: () => Promise<void> } = { before: async () => undefined };
  const embeddings: EmbeddingProvider = {
    ...builtin,
    maxBatch: 10,
    async embed(texts, how) {
      if (how.purpose === 'document') {
        await state.before();
        sold.push(...texts);
      }
      return builtin.embed(texts, how);
    },
  };
  const rig = await createRig({ embeddings, ...options });
  rigs.push(rig);
  return { rig, sold, state };
}

const item = (name: string, more: Record<string, string> = {}) => ({ source_item: name, ...more });

async function found(rig: Rig, who: Who, query: string): Promise<string[]> {
  const { results } = await rig.as(who, () => rig.search.search({ query, top_k: 50, mode: 'text', filter: {} }));
  return results.map(({ text }) => text);
}

async function contentOf(rig: Rig, who: Who, id: string): Promise<string> {
  return rig.as(who, async () => new Response((await rig.documents.content(id)).stream).text());
}

/** Names of the blobs of a tenant, originals and texts. */
async function blobsOf(rig: Rig, { tenantId }: Who): Promise<string[]> {
  const folders = ['originals', 'texts'].map((kind) => join(rig.folder.path, 'blobs', kind, tenantId));
  const entries = await Promise.all(
    folders.map((path) => readdir(path, { recursive: true, withFileTypes: true }).catch(() => [])),
  );
  return entries
    .flat()
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
}

const originalsOf = async (rig: Rig, who: Who) => (await blobsOf(rig, who)).filter((name) => !/^v\d+$/.test(name));

/** Uploads and makes it ready. */
async function publish(rig: Rig, who: Who, text: string, fields: Record<string, string>) {
  const upload = await rig.upload(who, text, fields);
  expect(await rig.deliver(who, 'ingest', upload.receipt.task_id)).toEqual({ type: 'done' });
  return upload.receipt;
}

describe('a changed file of the same item', () => {
  test('replaces the old version when it is published, and not before', async () => {
    const { rig, sold } = await start();
    const who = await rig.newTenant();
    const old = `${linesOf(20)}\nThe keeper drinks tea.`;
    const first = await publish(rig, who, old, item('wiki/1', { title: 'Old' }));
    sold.length = 0;

    const next = `${linesOf(20)}\nThe keeper drinks coffee.`;
    const fields = item('wiki/1', { title: 'New', metadata: '{"year":2}' });
    const { receipt, created } = await rig.upload(who, next, fields);
    expect({ created, id: receipt.document_id }).toEqual({ created: true, id: first.document_id });
    const get = () => rig.as(who, () => rig.documents.get(first.document_id));
    expect(await get()).toMatchObject({ status: 'ready', title: 'Old', version: 1, size: old.length });
    expect(await found(rig, who, 'keeper drinks')).toEqual(['The keeper drinks tea.']);
    expect(await contentOf(rig, who, first.document_id)).toBe(old);

    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    expect(await get()).toMatchObject({
      status: 'ready',
      title: 'New',
      version: 2,
      size: next.length,
      metadata: { year: 2 },
      source_item: 'wiki/1',
      task_id: receipt.task_id,
    });
    expect(await found(rig, who, 'keeper drinks')).toEqual(['The keeper drinks coffee.']);
    expect(await contentOf(rig, who, first.document_id)).toBe(next);
    expect(await rig.as(who, async () => new Response(await rig.documents.text(first.document_id)).text())).toBe(next);
    // What did not change was not bought again, and nothing of the old version is left but the text that answers may cite.
    expect(sold).toEqual(['The keeper drinks coffee.']);
    expect(await originalsOf(rig, who)).toHaveLength(1);
    expect((await blobsOf(rig, who)).filter((name) => /^v\d+$/.test(name)).sort()).toEqual(['v1', 'v2']);
    expect(await rig.outstanding(who)).toBe(0);

    await rig.as(who, () => rig.documents.remove(first.document_id));
    expect(await blobsOf(rig, who)).toEqual([]);
  });

  test('that is published while its bytes are asked for gives the new ones, with their own name and size', async () => {
    const { rig } = await start();
    const who = await rig.newTenant();
    const [old, next] = [linesOf(3, 'old'), linesOf(30, 'next')];
    const { document_id: id } = await publish(rig, who, old, item('wiki/8', { title: 'Old' }));
    const { receipt } = await rig.upload(who, next, item('wiki/8', { title: 'New' }));
    let reads = 0;
    const documents = createDocuments({
      ...rig,
      announcer: { append: async () => true, log: async () => true, hint: async () => undefined },
      logger: silentLogger,
      blobs: {
        ...rig.blobs,
        async read(key, range) {
          reads += 1;
          if (reads === 1) await rig.deliver(who, 'ingest', receipt.task_id);
          return rig.blobs.read(key, range);
        },
      },
    });
    const content = await rig.as(who, () => documents.content(id));
    expect([await new Response(content.stream).text(), content.size, reads]).toEqual([next, next.length, 2]);
  });

  test('that is published between the parts of a search or of a list leaves neither empty', async () => {
    const { rig } = await start();
    const who = await rig.newTenant();
    const { document_id: id } = await publish(rig, who, 'zebra one\nzebra two', item('wiki/9'));
    /** A database that publishes the next version once a read has found something to do with this one. */
    const disturbed = async (text: string) => {
      let next: string | undefined = (await rig.upload(who, text, item('wiki/9'))).receipt.task_id;
      const disturb = async <T>(value: T): Promise<T> => {
        const isLook = typeof value === 'object' && value !== null && ('hits' in value || 'live_version' in value);
        if (next === undefined || !isLook) return value;
        const task = next;
        next = undefined;
        await rig.deliver(who, 'ingest', task);
        return value;
      };
      const database: typeof rig.database = {
        ...rig.database,
        read: async (fn) => disturb(await rig.database.read(fn)),
        tenant: async (fn) => disturb(await rig.database.tenant(fn)),
      };
      return { ...rig, database, isOver: () => next === undefined };
    };
    const quiet = { announcer: { append: async () => true, log: async () => true, hint: async () => undefined } };

    const searched = await disturbed('zebra three');
    const reranking = { reranker: createBuiltinRerank(), byDefault: false };
    const search = createSearch({
      ...searched,
      vectors: { nearest: async () => ({ hits: [], weight: 0, wordless: 0 }) },
      clock: systemClock,
      logger: silentLogger,
      reranking,
    });
    const question = { query: 'zebra', top_k: 10, mode: 'text' as const, filter: {} };
    const { results } = await rig.as(who, () => search.search(question));
    expect([results.map(({ text }) => text), searched.isOver()]).toEqual([['zebra three'], true]);

    const listed = await disturbed('zebra four\nzebra five');
    const documents = createDocuments({ ...listed, ...quiet, logger: silentLogger });
    const { items } = await rig.as(who, () => documents.chunks(id, { limit: 10 }));
    expect([items.map(({ text }) => text), listed.isOver()]).toEqual([['zebra four', 'zebra five'], true]);
  });

  test('that fails leaves the old version live, says why, and can be tried again', async () => {
    const { rig, state } = await start();
    const who = await rig.newTenant();
    const first = await publish(rig, who, 'The keeper drinks tea.', item('a'));
    const { receipt } = await rig.upload(who, '\n\n', item('a'));
    expect((await rig.deliver(who, 'ingest', receipt.task_id)).type).toBe('failed');
    const get = () => rig.as(who, () => rig.documents.get(first.document_id));
    expect(await get()).toMatchObject({ status: 'ready', version: 1, error: { code: 'empty' } });
    expect(await found(rig, who, 'keeper')).toEqual(['The keeper drinks tea.']);

    state.before = async () => {
      throw new AppError('internal', 'no');
    };
    const again = await rig.upload(who, 'The keeper drinks water.', item('a'));
    for (let tries = 0; tries < 3; tries++) await rig.deliver(who, 'ingest', again.receipt.task_id);
    expect(await rig.as(who, () => rig.tasks.get(again.receipt.task_id))).toMatchObject({ status: 'dead' });
    expect(await found(rig, who, 'keeper')).toEqual(['The keeper drinks tea.']);
    state.before = async () => undefined;
    await rig.as(who, () => rig.tasks.retry(again.receipt.task_id));
    expect(await get()).toMatchObject({ status: 'ready', version: 1, error: null });
    expect(await rig.deliver(who, 'ingest', again.receipt.task_id)).toEqual({ type: 'done' });
    expect(await found(rig, who, 'keeper')).toEqual(['The keeper drinks water.']);
    expect(await get()).toMatchObject({ status: 'ready', error: null });
  });

  test('is tried again, not doubled, when the same bytes come once more', async () => {
    const { rig, state } = await start();
    const who = await rig.newTenant();
    const first = await publish(rig, who, 'The keeper drinks tea.', item('a'));
    state.before = async () => {
      throw new AppError('internal', 'no');
    };
    const failed = await rig.upload(who, 'The keeper drinks milk.', item('a'));
    const same = await rig.upload(who, 'The keeper drinks milk.', item('a'));
    expect(same.receipt).toEqual({ ...failed.receipt, duplicate: true });
    for (let tries = 0; tries < 3; tries++) await rig.deliver(who, 'ingest', failed.receipt.task_id);
    state.before = async () => undefined;
    const retried = await rig.upload(who, 'The keeper drinks milk.', item('a'));
    expect(retried.receipt).toMatchObject({ document_id: first.document_id, duplicate: false });
    expect(await rig.deliver(who, 'ingest', retried.receipt.task_id)).toEqual({ type: 'done' });
    expect(await contentOf(rig, who, first.document_id)).toBe('The keeper drinks milk.');
    const back = await publish(rig, who, 'The keeper drinks tea.', item('a'));
    expect(back).toMatchObject({ document_id: first.document_id, duplicate: false });
    expect(await found(rig, who, 'keeper')).toEqual(['The keeper drinks tea.']);
  });

  test('takes the place of one that is still being built, even in the middle of its work', async () => {
    const { rig, state } = await start();
    const who = await rig.newTenant();
    await publish(rig, who, 'The keeper drinks tea.', item('a'));
    const [frozen, thaw] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let batches = 0;
    state.before = async () => {
      batches += 1;
      if (batches !== 2) return;
      frozen.resolve();
      await thaw.promise;
    };
    const slow = await rig.upload(who, linesOf(30, 'slow'), item('a'));
    const running = rig.deliver(who, 'ingest', slow.receipt.task_id);
    await frozen.promise;
    const newest = await rig.upload(who, 'The keeper drinks rum.', item('a'));
    expect(await rig.outstanding(who)).toBe(1);
    expect(await rig.as(who, () => rig.tasks.get(slow.receipt.task_id))).toMatchObject({ status: 'cancelled' });
    expect(await rig.deliver(who, 'ingest', newest.receipt.task_id)).toEqual({ type: 'done' });
    thaw.resolve();
    expect((await running).type).not.toBe('done');
    expect(await found(rig, who, 'slow')).toEqual([]);
    expect(await found(rig, who, 'keeper')).toEqual(['The keeper drinks rum.']);
    expect(await rig.outstanding(who)).toBe(0);
    expect(await originalsOf(rig, who)).toHaveLength(1);
    const [left] = await rig.as(who, () =>
      rig.database.tenant((sql) => sql`select count(*)::int as chunks from chunks`),
    );
    expect(left?.['chunks']).toBe(1);
  });

  test('before anything was published is what the document is', async () => {
    const { rig } = await start();
    const who = await rig.newTenant();
    const first = await rig.upload(who, 'one', item('a', { title: 'One' }));
    const second = await rig.upload(who, 'two', item('a', { title: 'Two' }));
    expect(second.receipt.document_id).toBe(first.receipt.document_id);
    expect(await rig.as(who, () => rig.documents.get(first.receipt.document_id))).toMatchObject({
      title: 'Two',
      status: 'queued',
      version: null,
    });
    expect(await contentOf(rig, who, first.receipt.document_id)).toBe('two');
    expect(await blobsOf(rig, who)).toHaveLength(1);
    expect(await rig.deliver(who, 'ingest', first.receipt.task_id)).not.toEqual({ type: 'done' });
    expect(await rig.deliver(who, 'ingest', second.receipt.task_id)).toEqual({ type: 'done' });
    expect(await found(rig, who, 'two')).toEqual(['two']);
  });

  test('is refused by a full queue without harm to what is there', async () => {
    const { rig } = await start({ queueMaxDepth: 1 });
    const who = await rig.newTenant();
    const first = await publish(rig, who, 'The keeper drinks tea.', item('a'));
    await rig.upload(who, 'in the way');
    await expect(rig.upload(who, 'The keeper drinks gin.', item('a'))).rejects.toMatchObject({ kind: 'queue_full' });
    expect(await rig.as(who, () => rig.documents.get(first.document_id))).toMatchObject({
      status: 'ready',
      error: null,
    });
    expect(await contentOf(rig, who, first.document_id)).toBe('The keeper drinks tea.');
    expect(await rig.outstanding(who)).toBe(1);
  });
});

describe('identity', () => {
  test('is the item, the owner if private, and the bytes where there is no item', async () => {
    const { rig } = await start();
    const alice = await rig.newTenant();
    const bob = await rig.addUser(alice.tenantId);
    const stranger = await rig.newTenant();
    const ids = new Set<string>();
    const add = async (who: Who, fields: Record<string, string>) => {
      const { receipt } = await rig.upload(who, 'the same bytes', fields);
      expect([fields, receipt.duplicate]).toEqual([fields, false]);
      ids.add(receipt.document_id);
    };
    await add(alice, {});
    await add(alice, item('a'));
    await add(alice, { external_id: 'b' });
    await add(alice, item('a', { visibility: 'private' }));
    await add(bob, item('a', { visibility: 'private' }));
    await add(bob, item('a', { source_type: 'wiki' }));
    await add(stranger, item('a'));
    expect(ids.size).toBe(7);
    expect((await rig.upload(bob, 'the same bytes', item('a'))).receipt.duplicate).toBe(true);
    expect((await rig.upload(alice, 'the same bytes', { source_item: 'b' })).receipt.duplicate).toBe(true);
  });

  test('keeps one user’s private file from shadowing another’s', async () => {
    const { rig } = await start();
    const alice = await rig.newTenant();
    const bob = await rig.addUser(alice.tenantId);
    const mine = item('diary', { visibility: 'private' });
    await publish(rig, alice, 'Alice drinks tea.', mine);
    await publish(rig, bob, 'Bob drinks beer.', mine);
    await publish(rig, bob, 'Bob drinks water.', mine);
    await publish(rig, bob, 'Everybody drinks.', item('diary'));
    const [forAlice, forBob] = [await found(rig, alice, 'drinks'), await found(rig, bob, 'drinks')];
    expect(forAlice.toSorted()).toEqual(['Alice drinks tea.', 'Everybody drinks.']);
    expect(forBob.toSorted()).toEqual(['Bob drinks water.', 'Everybody drinks.']);
  });

  test('refuses an item that no index could hold', async () => {
    const { rig } = await start();
    const who = await rig.newTenant();
    await expect(rig.upload(who, 'x', item('数'.repeat(700)))).rejects.toMatchObject({ kind: 'invalid_request' });
    expect((await rig.upload(who, 'x', item('数'.repeat(600)))).created).toBe(true);
  });
});

describe('at once', () => {
  test('uploads of one item make one document, of the bytes of one of them, and count exactly', async () => {
    const { rig } = await start();
    const who = await rig.newTenant();
    const first = await publish(rig, who, 'version zero', item('a'));
    for (let round = 0; round < 3; round++) {
      const texts = Array.from({ length: 8 }, (_, i) => `version ${round} ${i}`);
      const uploads = await Promise.all(texts.map((text) => rig.upload(who, text, item('a'))));
      expect(new Set(uploads.map(({ receipt }) => receipt.document_id))).toEqual(new Set([first.document_id]));
      expect(await rig.outstanding(who)).toBe(1);
      // Whatever order workers take them in, some while others upload.
      const late = rig.upload(who, `late ${round}`, item('a'));
      const outcomes = await Promise.all(
        uploads.map(({ receipt }) => rig.deliver(who, 'ingest', receipt.task_id).catch(() => undefined)),
      );
      const last = await late;
      await rig.deliver(who, 'ingest', last.receipt.task_id);
      expect(outcomes.filter((outcome) => outcome?.type === 'done').length).toBeLessThanOrEqual(1);
      expect(await contentOf(rig, who, first.document_id)).toBe(`late ${round}`);
      expect(await rig.as(who, async () => new Response(await rig.documents.text(first.document_id)).text())).toBe(
        `late ${round}`,
      );
      expect(await found(rig, who, 'version')).toEqual([]);
      expect(await rig.outstanding(who)).toBe(0);
    }
    expect((await rig.as(who, () => rig.documents.list({ limit: 10 }))).items).toHaveLength(1);
    expect(await originalsOf(rig, who)).toHaveLength(1);
  });

  test('uploads, publishing, retries and deleting end in one of their orders, without a deadlock', async () => {
    const { rig } = await start();
    const who = await rig.newTenant();
    for (let round = 0; round < 4; round++) {
      const name = `item ${round}`;
      const { receipt } = await rig.upload(who, 'first', item(name));
      const results = await Promise.allSettled([
        rig.deliver(who, 'ingest', receipt.task_id),
        rig.upload(who, 'second', item(name)),
        rig.upload(who, 'third', item(name)),
        rig.as(who, () => rig.tasks.cancel(receipt.task_id)),
        rig.as(who, () => rig.documents.remove(receipt.document_id)),
        rig.as(who, () => rig.tasks.retry(receipt.task_id)),
      ]);
      for (const result of results) {
        if (result.status === 'fulfilled') continue;
        expect(result.reason).toBeInstanceOf(AppError);
        expect(['conflict', 'not_found']).toContain((result.reason as AppError).kind);
      }
      for (const { id } of (await rig.as(who, () => rig.tasks.list({ limit: 50, status: 'queued' }))).items) {
        await rig.deliver(who, 'ingest', id);
      }
      const { items } = await rig.as(who, () => rig.documents.list({ limit: 50 }));
      expect(items.length).toBeLessThanOrEqual(1);
      expect(await rig.outstanding(who)).toBe(0);
      for (const { id } of items) await rig.as(who, () => rig.documents.remove(id));
      expect(await originalsOf(rig, who)).toEqual([]);
    }
  });
});
