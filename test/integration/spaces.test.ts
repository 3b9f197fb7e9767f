/** Embedding spaces are built beside, watched, switched to, switched back from and removed, while everybody goes on. */
import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { EmbeddingProvider } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createSpaceBuilder } from '../../src/services/spaces-build.ts';
import { createRig, linesOf, type Rig } from '../support/rig.ts';

type Who = Awaited<ReturnType<Rig['newTenant']>>;

/** Another model: other vectors, of another length, that counts what it sells and can be made to fail or to wait. */
function otherModel(dimensions = 96) {
  const builtin = createBuiltinEmbeddings({ dimensions });
  const sold: string[] = [];
  const state: { before(signal?: AbortSignal): Promise<void> } = { before: async () => {} };
  const provider: EmbeddingProvider = {
    ...builtin,
    model: `other-${dimensions}`,
    maxBatch: 10,
    async embed(texts, options) {
      if (options.purpose === 'document') {
        await state.before(options.signal);
        sold.push(...texts);
      }
      return builtin.embed(texts, options);
    },
  };
  return { provider, sold, state };
}

const rigs: { rig: Rig; sql: postgres.Sql }[] = [];
async function installation(other = otherModel()) {
  const rig = await createRig({ others: [other.provider] });
  const sql = postgres(rig.db.adminUrl, { max: 2, onnotice: () => {} });
  rigs.push({ rig, sql });
  const create = () =>
    rig.spaces.create({ provider: 'builtin', model: other.provider.model, dimensions: 96, shadow_share: 1 });
  async function ingest(who: Who, text: string) {
    const { receipt } = await rig.upload(who, text);
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    return receipt.document_id;
  }
  const find = (who: Who, query: string, mode: 'vector' | 'hybrid' = 'vector') =>
    rig.as(who, () => rig.search.search({ query, top_k: 5, mode, filter: {} }));
  const vectorsIn = async (space: number) => {
    const [row] = await sql<{ n: number }[]>`select count(*)::int as n from chunk_vectors where space_id = ${space}`;
    return row?.n;
  };
  const activeId = async () => (await rig.spaces.current()).id;
  return { rig, sql, other, create, ingest, find, vectorsIn, activeId };
}
afterAll(async () => {
  for (const { rig, sql } of rigs) {
    await sql.end();
    await rig.close();
  }
});

test('a switch and the way back under load fail no search and leave none empty', async () => {
  const { rig, create, ingest, find, activeId, sql } = await installation();
  const [a, b] = [await rig.newTenant(), await rig.newTenant()];
  for (const who of [a, b]) for (const seed of ['apple', 'pear', 'plum']) await ingest(who, linesOf(25, seed));
  const before = await activeId();
  const made = await create();
  expect(made).toMatchObject({ state: 'building', documents: { built: 0, total: 6 }, dimensions: 96 });
  await expect(rig.spaces.activate(made.id)).rejects.toThrow('6 documents');

  let asking = true;
  const counts = { asked: 0, failed: 0, empty: 0 };
  const asker = async (who: Who) => {
    while (asking) {
      const found = await find(who, 'apple 3', counts.asked % 2 === 0 ? 'vector' : 'hybrid').catch(() => undefined);
      counts.asked += 1;
      if (!found) counts.failed += 1;
      else if (found.results.length === 0) counts.empty += 1;
    }
  };
  let uploaded = 0;
  const uploader = async () => {
    while (asking) {
      uploaded += 1;
      await ingest(a, linesOf(3, `late ${uploaded}`));
    }
  };
  const load = Promise.all([asker(a), asker(b), uploader()]);
  await rig.builder.build();
  // Whatever is published meanwhile is in both.
  const active = await rig.spaces.activate(made.id);
  expect(active).toMatchObject({ state: 'active', previous_id: before });
  expect(active.documents.built).toBe(active.documents.total);
  const asOf = counts.asked;
  while (counts.asked < asOf + 10) await Bun.sleep(1);
  const started = performance.now();
  await rig.spaces.rollback(made.id);
  const rollbackMs = performance.now() - started;
  expect(await activeId()).toBe(before);
  while (counts.asked < asOf + 20) await Bun.sleep(1);
  asking = false;
  await load;
  expect(rollbackMs).toBeLessThan(60_000);
  expect(counts).toMatchObject({ failed: 0, empty: 0 });
  expect(uploaded).toBeGreaterThan(1);
  // The way back has lost nothing, and neither has the way forward.
  const lacking = await sql`
    select d.id, e.id as space from documents d cross join embedding_spaces e where not exists (
      select from document_spaces s where s.document_id = d.id and s.space_id = e.id and s.version = d.live_version)`;
  expect(lacking).toHaveLength(0);
  await rig.spaces.activate(made.id);
  expect(await activeId()).toBe(made.id);
}, 60_000);

describe('building', () => {
  test('that is killed in the middle is gone on with, and buys nothing twice', async () => {
    const { rig, create, ingest, other, vectorsIn, find } = await installation();
    const who = await rig.newTenant();
    for (const seed of ['one', 'two', 'three']) await ingest(who, linesOf(45, seed));
    const { id } = await create();
    const cut = new AbortController();
    let batches = 0;
    other.state.before = async () => {
      batches += 1;
      if (batches === 8) cut.abort(new Error('killed'));
      cut.signal.throwIfAborted();
    };
    await expect(rig.builder.build(cut.signal)).rejects.toThrow('killed');
    // A document and two batches of the next: each batch that was bought is there.
    expect(await vectorsIn(id)).toBe(other.sold.length);
    expect(other.sold.length).toBe(65);
    other.state.before = async () => {};
    // Another process, which knows nothing of the first.
    const builder = createSpaceBuilder({
      database: rig.database,
      spaces: rig.spaces,
      ...rig.reading,
      clock: systemClock,
      ids: systemIds,
      logger: silentLogger,
      metrics: createMetrics(),
    });
    expect(await builder.build()).toBe(2);
    expect(other.sold).toHaveLength(135);
    expect(new Set(other.sold).size).toBe(135);
    await rig.spaces.activate(id);
    expect((await find(who, linesOf(45, 'two').split('\n')[7] ?? '')).results[0]?.text).toStartWith('two 7 ');
  }, 30_000);

  test('is done by one process at a time', async () => {
    const { rig, create, ingest, other } = await installation();
    const who = await rig.newTenant();
    await ingest(who, linesOf(20));
    await create();
    const [frozen, thaw] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    other.state.before = async () => {
      frozen.resolve();
      await thaw.promise;
    };
    const first = rig.builder.build();
    await frozen.promise;
    const second = createSpaceBuilder({
      database: rig.database,
      spaces: rig.spaces,
      ...rig.reading,
      clock: systemClock,
      ids: systemIds,
      logger: silentLogger,
      metrics: createMetrics(),
    });
    expect(await second.build()).toBe(0);
    thaw.resolve();
    expect(await first).toBe(1);
    expect(other.sold).toHaveLength(20);
  }, 30_000);

  test('finds private documents in their owner’s scope, and shows them to nobody else', async () => {
    const { rig, create, activeId, find } = await installation();
    const owner = await rig.newTenant();
    const colleague = await rig.addUser(owner.tenantId);
    const { receipt } = await rig.upload(owner, 'The diary says nothing of tea.', { visibility: 'private' });
    await rig.deliver(owner, 'ingest', receipt.task_id);
    const { id } = await create();
    expect(await rig.builder.build()).toBe(1);
    await rig.spaces.activate(id);
    expect(await activeId()).toBe(id);
    expect((await find(owner, 'diary tea')).results).toHaveLength(1);
    expect((await find(colleague, 'diary tea')).results).toEqual([]);
  }, 30_000);

  test('that meets a document which is deleted or published anew goes on', async () => {
    const { rig, create, ingest, other, sql } = await installation();
    const who = await rig.newTenant();
    const gone = await ingest(who, linesOf(15, 'gone'));
    await ingest(who, linesOf(15, 'stays'));
    const { id } = await create();
    other.state.before = async () => {
      other.state.before = async () => {};
      await rig.as(who, () => rig.documents.remove(gone));
    };
    expect(await rig.builder.build()).toBe(1);
    expect(await rig.spaces.activate(id)).toMatchObject({ documents: { built: 1, total: 1 } });
    expect(await sql`select 1 from chunk_vectors where document_id = ${gone}`).toHaveLength(0);
  }, 30_000);
});

test('a space that comes up while a small document is embedded is written before it is published', async () => {
  const mine = otherModel(64);
  const other = otherModel();
  const rig = await createRig({ embeddings: mine.provider, others: [other.provider] });
  const sql = postgres(rig.db.adminUrl, { max: 1, onnotice: () => {} });
  rigs.push({ rig, sql });
  const who = await rig.newTenant();
  const { receipt } = await rig.upload(who, linesOf(4));
  const seen: unknown[] = [];
  mine.state.before = async () => {
    await rig.spaces.create({ provider: 'builtin', model: other.provider.model, dimensions: 96, shadow_share: 0 });
    await rig.spaces.written();
  };
  other.state.before = async () => {
    const rows = await sql`select live_version from documents where id = ${receipt.document_id}`;
    seen.push(rows[0]?.['live_version']);
  };
  expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
  expect(seen).toEqual([null]);
  const counts = await sql<{ n: number }[]>`select count(*)::int as n from chunk_vectors group by space_id`;
  expect(counts.map(({ n }) => n)).toEqual([4, 4]);
});

test('a space whose provider is away keeps no document from being published', async () => {
  const { rig, create, ingest, other, find } = await installation();
  const who = await rig.newTenant();
  const { id } = await create();
  other.state.before = async () => {
    throw new AppError('provider_unavailable', 'Away.');
  };
  await ingest(who, linesOf(5, 'kept'));
  expect((await find(who, 'kept 3')).results.length).toBeGreaterThan(0);
  await expect(rig.spaces.activate(id)).rejects.toThrow('1 documents');
  other.state.before = async () => {};
  expect(await rig.builder.build()).toBe(1);
  expect(await rig.spaces.activate(id)).toMatchObject({ state: 'active' });
}, 30_000);

test('shadow reads tell how much the two agree, to each tenant of its own questions', async () => {
  const { rig, create, ingest, find } = await installation();
  const [who, other] = [await rig.newTenant(), await rig.newTenant()];
  await ingest(who, linesOf(30));
  const { id } = await create();
  await rig.builder.build();
  rig.spaces.forget();
  for (let i = 0; i < 3; i++) await find(who, `line ${i}`);
  await rig.shadows.idle();
  const of = async (reach: Parameters<typeof rig.spaces.list>[0]) =>
    (await rig.spaces.list(reach)).items.find((space) => space.id === id);
  const all = await of({ kind: 'installation' });
  expect(all?.shadow).toMatchObject({ compared: 3, failed: 0 });
  expect(all?.shadow.overlap).toBeGreaterThan(0);
  expect(all?.shadow.overlap).toBeLessThanOrEqual(1);
  expect(all?.shadow.agreement).toBeGreaterThan(0);
  expect((await of({ kind: 'tenant', tenantId: who.tenantId }))?.shadow.compared).toBe(3);
  expect(await of({ kind: 'tenant', tenantId: other.tenantId })).toMatchObject({
    shadow: { compared: 0, overlap: null },
    documents: { built: 0, total: 0 },
  });
}, 30_000);

test('a space that was left becomes read-only, then its rows go, and nobody notices', async () => {
  const { rig, create, ingest, find, sql, vectorsIn } = await installation();
  const who = await rig.newTenant();
  await ingest(who, linesOf(20));
  const { id } = await create();
  await rig.builder.build();
  const { previous_id: left } = await rig.spaces.activate(id);
  if (left === null) throw new Error('there was no space before');
  const state = async () =>
    (await rig.spaces.list({ kind: 'installation' })).items.find((one) => one.id === left)?.state;
  await expect(rig.spaces.retire(id)).rejects.toThrow('active');
  const later = async (hours: number) => {
    await sql`update embedding_spaces set changed_at = changed_at - ${hours} * interval '1 hour' where id = ${left}`;
    await rig.builder.tidy();
  };
  await later(23);
  expect(await state()).toBe('standby');
  await later(2);
  expect(await state()).toBe('read_only');
  rig.spaces.forget();
  await ingest(who, linesOf(3, 'later'));
  expect(await vectorsIn(left)).toBe(20);
  await expect(rig.spaces.rollback(id)).rejects.toThrow('state');
  await later(8 * 24);
  expect(await state()).toBe('retired');
  expect(await sql`select 1 from pg_class where relname like ${`chunk_%_s${left}%`}`).toHaveLength(0);
  expect(await sql`select 1 from document_spaces where space_id = ${left}`).toHaveLength(0);
  expect((await find(who, 'later 1')).results.length).toBeGreaterThan(0);
  // The same model again is another space.
  const again = await rig.spaces.create({ provider: 'builtin', model: 'dreamhub-hash-v1', dimensions: 64 });
  expect(again.id).not.toBe(left);
  expect(again.state).toBe('building');
}, 30_000);
