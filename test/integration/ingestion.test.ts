import { afterAll, describe, expect, test } from 'bun:test';
import type { EmbeddingProvider } from '../../src/contracts/index.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { ProviderFailure, toAppError } from '../../src/llm/provider-failure.ts';
import { createRig, linesOf, type RigOptions } from '../support/rig.ts';

/** An embedder that counts what it sells and can be made to fail or to wait. */
function shop() {
  const builtin = createBuiltinEmbeddings({ dimensions: 64 });
  const sold: string[] = [];
  const state: { before: (texts: readonly string[], signal?: AbortSignal) => Promise<void> } = {
    before: async () => {},
  };
  const provider: EmbeddingProvider = {
    ...builtin,
    maxBatch: 10,
    async embed(texts, options) {
      if (options.purpose === 'document') {
        await state.before(texts, options.signal);
        sold.push(...texts);
      }
      return builtin.embed(texts, options);
    },
  };
  return { provider, sold, state };
}

const rigs: Awaited<ReturnType<typeof createRig>>[] = [];
async function rigWith(options: RigOptions) {
  const rig = await createRig(options);
  rigs.push(rig);
  return rig;
}
afterAll(async () => {
  for (const rig of rigs) await rig.close();
});

/** Everything of a tenant's documents that is stored, counted past row-level security. */
async function rowsOf(rig: Awaited<ReturnType<typeof createRig>>, tenantId: string) {
  const { default: postgres } = await import('postgres');
  const sql = postgres(rig.db.adminUrl, { max: 1 });
  try {
    const [row] = await sql<{ documents: number; tasks: number; chunks: number; vectors: number }[]>`
      select (select count(*)::int from documents where tenant_id = ${tenantId}) as documents,
        (select count(*)::int from tasks where tenant_id = ${tenantId}) as tasks,
        (select count(*)::int from chunks where tenant_id = ${tenantId}) as chunks,
        (select count(*)::int from chunk_vectors where tenant_id = ${tenantId}) as vectors`;
    return { ...row };
  } finally {
    await sql.end();
  }
}

describe('a document', () => {
  test('is searchable once its task has succeeded, and its place in the queue is free', async () => {
    const rig = await rigWith({});
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, 'The lighthouse keeper drinks tea.\nThe harbour master drinks coffee.');
    expect(await rig.outstanding(who)).toBe(1);
    const find = () =>
      rig.as(who, () => rig.search.search({ query: 'who drinks tea', top_k: 5, mode: 'hybrid', filter: {} }));
    expect((await find()).results).toEqual([]);

    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    const [best] = (await find()).results;
    const text = await rig.as(who, async () => new Response(await rig.documents.text(receipt.document_id)).text());
    expect(best?.text).toBe('The lighthouse keeper drinks tea.');
    expect(text.slice(best?.start, best?.end)).toBe(best?.text ?? '');
    expect(await rig.as(who, () => rig.documents.get(receipt.document_id))).toMatchObject({
      status: 'ready',
      chunks: 2,
    });
    expect(await rig.as(who, () => rig.tasks.get(receipt.task_id))).toMatchObject({ status: 'succeeded', progress: 1 });
    expect(await rig.outstanding(who)).toBe(0);
  });

  test('that the provider refuses in the middle goes on at the next batch and buys nothing twice', async () => {
    const { provider, sold, state } = shop();
    const rig = await rigWith({ embeddings: provider });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(45));
    let batches = 0;
    state.before = async () => {
      batches += 1;
      if (batches === 3) throw new AppError('provider_unavailable', 'Too many requests.', { retryAfterMs: 90_000 });
    };
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toMatchObject({ type: 'retry', afterMs: 90_000 });
    expect(await rig.as(who, () => rig.tasks.get(receipt.task_id))).toMatchObject({
      status: 'queued',
      chunks_done: 20,
      retry_count: 0,
      error: { code: 'provider_unavailable' },
    });
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    expect(sold).toHaveLength(45);
    expect(new Set(sold).size).toBe(45);
    expect(await rowsOf(rig, who.tenantId)).toEqual({ documents: 1, tasks: 1, chunks: 45, vectors: 45 });
  });

  test('that another attempt has taken over cannot be written by the one that was thought dead', async () => {
    const { provider, sold, state } = shop();
    const rig = await rigWith({ embeddings: provider });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(30));
    const frozen = Promise.withResolvers<void>();
    const thaw = Promise.withResolvers<void>();
    let batches = 0;
    state.before = async () => {
      batches += 1;
      if (batches !== 2) return;
      frozen.resolve();
      await thaw.promise;
    };
    const zombie = rig.deliver(who, 'ingest', receipt.task_id);
    await frozen.promise;
    // As when its process stands still: the lease ends although the attempt lives.
    await rig.as(who, () =>
      rig.database.tenant((sql) => sql`update tasks set leased_until = now() - interval '1 second'`),
    );
    const { createTenantActors } = await import('../../src/workers/tenants.ts');
    const elsewhere = createTenantActors({
      ...rig.machines,
      logger: (await import('../../src/kernel/logger.ts')).silentLogger,
    });
    const job = {
      v: 1,
      lane: 'ingest' as const,
      tenantId: who.tenantId,
      userId: who.userId,
      id: receipt.task_id,
      traceparent: '',
    };
    expect(await elsewhere.run({ job, entryId: '0-2', deliveries: 2 })).toEqual({ type: 'done' });
    thaw.resolve();
    expect((await zombie).type).toBe('superseded');
    expect(await rowsOf(rig, who.tenantId)).toEqual({ documents: 1, tasks: 1, chunks: 30, vectors: 30 });
    expect(sold.length).toBeLessThanOrEqual(40);
    expect(await rig.outstanding(who)).toBe(0);
  });

  test('of one batch is written by the transaction that publishes it, or not at all', async () => {
    const { provider, state } = shop();
    const rig = await rigWith({ embeddings: provider });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(5));
    const stages: unknown[] = [];
    state.before = async () => {
      stages.push((await rig.as(who, () => rig.tasks.get(receipt.task_id))).stage);
      // Somebody else begins while this one buys.
      if (stages.length === 1) {
        await rig.as(who, () =>
          rig.database.tenant((sql) => sql`update tasks set attempt = attempt + 1, leased_until = now()`),
        );
      }
    };
    expect((await rig.deliver(who, 'ingest', receipt.task_id)).type).toBe('superseded');
    expect(await rowsOf(rig, who.tenantId)).toEqual({ documents: 1, tasks: 1, chunks: 0, vectors: 0 });
    expect(await rig.outstanding(who)).toBe(1);
    const task = () => rig.as(who, () => rig.tasks.get(receipt.task_id));
    expect(await task()).toMatchObject({ status: 'running', chunks_done: 0 });

    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    expect(await rowsOf(rig, who.tenantId)).toEqual({ documents: 1, tasks: 1, chunks: 5, vectors: 5 });
    expect(await task()).toMatchObject({ status: 'succeeded', stage: 'done', chunks_done: 5, chunks_total: 5 });
    expect(stages).toEqual(['embedding', 'embedding']);
    expect(await rig.outstanding(who)).toBe(0);
  });

  test('whose attempts run out is dead, is told why, and lives again when asked to', async () => {
    const { provider, state } = shop();
    const rig = await rigWith({ embeddings: provider, maxAttempts: 2 });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(3));
    state.before = async () => {
      throw new AppError('provider_unavailable', 'The provider is down.');
    };
    expect((await rig.deliver(who, 'ingest', receipt.task_id)).type).toBe('retry');
    expect((await rig.deliver(who, 'ingest', receipt.task_id)).type).toBe('failed');
    const dead = await rig.as(who, () => rig.tasks.get(receipt.task_id));
    expect(dead).toMatchObject({
      status: 'dead',
      error: { code: 'provider_unavailable', message: 'The provider is down.' },
    });
    expect(await rig.as(who, () => rig.documents.get(receipt.document_id))).toMatchObject({ status: 'failed' });
    expect(await rig.outstanding(who)).toBe(0);

    state.before = async () => {};
    expect(await rig.as(who, () => rig.tasks.retry(receipt.task_id))).toMatchObject({ status: 'queued' });
    expect(await rig.outstanding(who)).toBe(1);
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    expect(await rig.outstanding(who)).toBe(0);
    const log = await rig.as(who, () => rig.tasks.log(receipt.task_id, { limit: 50 }));
    expect(log.items.map(({ level }) => level)).toContain('error');
  });

  test('that the provider refuses says so, to whoever asks for its task', async () => {
    const { provider, state } = shop();
    const rig = await rigWith({ embeddings: provider, maxAttempts: 2 });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(3));
    state.before = async () => {
      throw toAppError(
        new ProviderFailure('bad_request', 'The model provider refuses this request.', { status: '400' }),
      );
    };
    expect((await rig.deliver(who, 'ingest', receipt.task_id)).type).toBe('retry');
    expect((await rig.deliver(who, 'ingest', receipt.task_id)).type).toBe('failed');
    expect(await rig.as(who, () => rig.tasks.get(receipt.task_id))).toMatchObject({
      status: 'dead',
      error: { code: 'provider_unavailable', message: 'The model provider refuses this request.' },
    });
  });

  test('that failed is tried again when its bytes are uploaded again', async () => {
    const { provider, state } = shop();
    const rig = await rigWith({ embeddings: provider, maxAttempts: 1 });
    const who = await rig.newTenant();
    const first = await rig.upload(who, linesOf(3));
    state.before = async () => {
      throw new AppError('provider_unavailable', 'The provider is down.');
    };
    await rig.deliver(who, 'ingest', first.receipt.task_id);
    state.before = async () => {};
    const again = await rig.upload(who, linesOf(3));
    expect(again).toMatchObject({
      created: true,
      receipt: { document_id: first.receipt.document_id, duplicate: false },
    });
    expect(again.receipt.task_id).not.toBe(first.receipt.task_id);
    expect(await rig.deliver(who, 'ingest', again.receipt.task_id)).toEqual({ type: 'done' });
    expect(await rig.as(who, () => rig.documents.get(first.receipt.document_id))).toMatchObject({
      status: 'ready',
      chunks: 3,
    });
  });

  test('that is cancelled while it waits or runs leaves its place free and can be uploaded again', async () => {
    const { provider, state } = shop();
    const rig = await rigWith({ embeddings: provider });
    const who = await rig.newTenant();
    const waiting = await rig.upload(who, linesOf(2, 'waiting'));
    expect(await rig.as(who, () => rig.tasks.cancel(waiting.receipt.task_id))).toMatchObject({ status: 'cancelled' });
    expect(await rig.deliver(who, 'ingest', waiting.receipt.task_id)).toEqual({ type: 'superseded' });

    const running = await rig.upload(who, linesOf(25, 'running'));
    const reached = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<void>();
    let batches = 0;
    state.before = (_texts, signal) => {
      batches += 1;
      if (batches === 1) return Promise.resolve();
      return new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          aborted.resolve();
          reject(signal.reason);
        });
        reached.resolve();
      });
    };
    const outcome = rig.deliver(who, 'ingest', running.receipt.task_id);
    await reached.promise;
    await rig.as(who, () => rig.tasks.cancel(running.receipt.task_id));
    rig.tenants.cancel(who.tenantId, running.receipt.task_id);
    expect(await outcome).toEqual({ type: 'cancelled' });
    await aborted.promise;
    expect(await rig.outstanding(who)).toBe(0);
    expect(await rowsOf(rig, who.tenantId)).toMatchObject({ chunks: 0, vectors: 0 });
    state.before = async () => {};
    const again = await rig.upload(who, linesOf(25, 'running'));
    expect(again.created).toBe(true);
    expect(await rig.deliver(who, 'ingest', again.receipt.task_id)).toEqual({ type: 'done' });
  });

  test('that is deleted while it is being read leaves nothing behind', async () => {
    const { provider, state } = shop();
    const rig = await rigWith({ embeddings: provider });
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(25));
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    let batches = 0;
    state.before = async () => {
      batches += 1;
      if (batches !== 2) return;
      reached.resolve();
      await goOn.promise;
    };
    const outcome = rig.deliver(who, 'ingest', receipt.task_id);
    await reached.promise;
    await rig.as(who, () => rig.documents.remove(receipt.document_id));
    goOn.resolve();
    expect((await outcome).type).toBe('superseded');
    expect(await rowsOf(rig, who.tenantId)).toEqual({ documents: 0, tasks: 0, chunks: 0, vectors: 0 });
    expect(await rig.outstanding(who)).toBe(0);
    const { readdir } = await import('node:fs/promises');
    const files = await readdir(rig.folder.path, { recursive: true, withFileTypes: true });
    expect(files.filter((entry) => entry.isFile()).map(({ name }) => name)).toEqual([]);
  });
});

describe('admission', () => {
  test('makes one document of fifty identical uploads at once', async () => {
    const rig = await rigWith({ queueMaxDepth: 5 });
    const who = await rig.newTenant();
    const all = await Promise.all(Array.from({ length: 50 }, () => rig.upload(who, 'the same bytes')));
    expect(all.filter(({ created }) => created)).toHaveLength(1);
    expect(all.filter(({ receipt }) => receipt.duplicate)).toHaveLength(49);
    expect(new Set(all.map(({ receipt }) => receipt.document_id)).size).toBe(1);
    expect(new Set(all.map(({ receipt }) => receipt.task_id)).size).toBe(1);
    expect(await rig.outstanding(who)).toBe(1);
  });

  test('is exact under concurrent uploads, and keeps nothing of what it refuses', async () => {
    const rig = await rigWith({ queueMaxDepth: 7 });
    const who = await rig.newTenant();
    const all = await Promise.allSettled(Array.from({ length: 60 }, (_, i) => rig.upload(who, `document ${i % 40}`)));
    const accepted = all.filter((one) => one.status === 'fulfilled' && one.value.created);
    expect(accepted).toHaveLength(7);
    for (const one of all) {
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ kind: 'queue_full' });
    }
    expect(await rig.outstanding(who)).toBe(7);
    expect(await rowsOf(rig, who.tenantId)).toMatchObject({ documents: 7, tasks: 7 });
    const { readdir } = await import('node:fs/promises');
    const files = await readdir(rig.folder.path, { recursive: true, withFileTypes: true });
    expect(files.filter((entry) => entry.isFile())).toHaveLength(7);
    // The same bytes again are answered with their document although the queue is full.
    const [first] = accepted;
    const index = first ? all.indexOf(first) : -1;
    expect((await rig.upload(who, `document ${index % 40}`)).receipt.duplicate).toBe(true);
  });
});

describe('a private document', () => {
  test('exists for its owner alone, and is never somebody else’s duplicate', async () => {
    const rig = await rigWith({});
    const owner = await rig.newTenant();
    const colleague = await rig.addUser(owner.tenantId);
    const text = 'The vault code is marmalade.';
    const mine = await rig.upload(owner, text, { visibility: 'private' });
    await rig.deliver(owner, 'ingest', mine.receipt.task_id);
    const find = (who: typeof owner) =>
      rig.as(who, () => rig.search.search({ query: 'vault code', top_k: 5, mode: 'hybrid', filter: {} }));
    expect((await find(owner)).results).toHaveLength(1);
    expect((await find(colleague)).results).toEqual([]);
    for (const read of [
      () => rig.documents.get(mine.receipt.document_id),
      async () => new Response(await rig.documents.text(mine.receipt.document_id)).text(),
      () => rig.documents.chunks(mine.receipt.document_id, { limit: 5 }),
      () => rig.documents.remove(mine.receipt.document_id),
      () => rig.tasks.get(mine.receipt.task_id),
      () => rig.tasks.log(mine.receipt.task_id, { limit: 5 }),
    ]) {
      await expect(rig.as(colleague, async () => read())).rejects.toMatchObject({ kind: 'not_found' });
    }
    const theirs = await rig.upload(colleague, text, { visibility: 'private' });
    expect(theirs.created).toBe(true);
    const everybodys = await rig.upload(colleague, text);
    expect(everybodys.created).toBe(true);
    expect((await rig.upload(owner, text)).receipt.duplicate).toBe(true);
  });
});

test('a repository call outside every scope throws', async () => {
  const rig = await rigWith({});
  await expect(rig.documents.list({ limit: 5 })).rejects.toThrow('scope');
});
