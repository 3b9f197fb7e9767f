/** Every way of searching vectors answers as looking at each of them does, in every state between them. */
import { afterAll, afterEach, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { listShards } from '../../src/db/spaces-shards.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { exactChunks, nearestChunks, type Scored } from '../../src/repositories/vectors.ts';
import { createVectorTiers } from '../../src/services/vector-tiers.ts';
import { toHalfvec } from '../../src/services/vectors.ts';
import { createTestDatabase } from '../support/services.ts';
import { createTopics, loadTenants, type VectorTenant } from '../support/vector-tenants.ts';

const DIMENSIONS = 512;
const db = await createTestDatabase();
const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 6, embedded: false });
const admin = postgres(db.adminUrl, { max: 2, onnotice: () => {} });
const space = await ensureSpace(database, { provider: 'p', model: 'm', dimensions: DIMENSIONS, pipeline: 'x' });
const topics = createTopics(DIMENSIONS, 7, 24);
const load = (sizes: number[]) => loadTenants(sizes, { adminUrl: db.adminUrl, spaceId: space.id, topics });
afterAll(async () => {
  await database.close();
  await admin.end();
  await db.drop();
});

/** Each test settles tenants of its own alone. */
afterEach(async () => {
  await admin`delete from tenants`;
});

const bounds = { bits: 300, indexed: 1_000 };
const tiers = (own: Partial<Parameters<typeof createVectorTiers>[0]> = {}) =>
  createVectorTiers({
    database,
    clock: systemClock,
    ids: systemIds,
    random: Math.random,
    logger: silentLogger,
    bounds,
    ...own,
  });

const as = <T>({ tenantId, userId }: Pick<VectorTenant, 'tenantId' | 'userId'>, fn: () => Promise<T>) =>
  runAs({ tenantId, userId, traceId: newTraceId() }, fn);
const question = (limit = 10) => ({ spaceId: space.id, embedding: toHalfvec(topics.vector()), limit, filter: {} });

async function tierOf({ tenantId }: VectorTenant) {
  const [row] = await admin<{ tier: string; shard: number | null; candidates: number; recall: number }[]>`
    select tier, shard, candidates, recall from vector_tiers where tenant_id = ${tenantId}`;
  return row;
}

async function codesOf({ tenantId }: VectorTenant) {
  const [row] = await admin<{ scanned: number; sharded: number }[]>`
    select count(*) filter (where shard = 0)::int as scanned, count(*) filter (where shard > 0)::int as sharded
    from chunk_codes where tenant_id = ${tenantId}`;
  return { ...row };
}

interface Answers {
  found: Scored[];
  exact: Scored[];
}

/** Both answers to one question, from one moment where nothing is deleted in between. */
async function ask(who: VectorTenant, limit = 10): Promise<Answers> {
  const query = question(limit);
  return as(who, () =>
    database.tenant(async (sql) => ({
      found: await nearestChunks(sql, query),
      exact: await exactChunks(sql, query),
    })),
  );
}

function recallOf(answers: readonly Answers[]): number {
  let [hits, wanted] = [0, 0];
  for (const { found, exact } of answers) {
    expect(found).toHaveLength(exact.length);
    const ids = new Set(exact.map(({ id }) => id));
    hits += found.filter(({ id }) => ids.has(id)).length;
    wanted += ids.size;
  }
  return hits / wanted;
}

const many = async (who: VectorTenant, times = 15) => {
  const answers: Answers[] = [];
  for (let i = 0; i < times; i++) answers.push(await ask(who));
  return recallOf(answers);
};

async function own(who: VectorTenant): Promise<Set<string>> {
  const rows = await admin<{ id: string }[]>`select id from chunks where tenant_id = ${who.tenantId}`;
  return new Set(rows.map(({ id }) => id));
}

test('tenants are searched by what fits their size, and find the same', async () => {
  const [small, middle, large] = (await load([100, 990, 2_400])) as [VectorTenant, VectorTenant, VectorTenant];
  expect(await many(small)).toBe(1);
  expect(await tiers().settle()).toBe(2);
  expect(await tierOf(small)).toBeUndefined();
  expect(await tierOf(middle)).toMatchObject({ tier: 'bits', shard: null });
  expect(await tierOf(large)).toMatchObject({ tier: 'indexed' });
  expect(await codesOf(middle)).toEqual({ scanned: 990, sharded: 0 });
  expect(await codesOf(large)).toEqual({ scanned: 0, sharded: 2_400 });
  for (const who of [small, middle, large]) {
    expect(await many(who)).toBeGreaterThanOrEqual(0.97);
    const mine = await own(who);
    const { found } = await ask(who, 200);
    expect(found).toHaveLength(Math.min(200, who.chunks));
    expect(found.filter(({ id }) => !mine.has(id))).toEqual([]);
    expect(found.map(({ score }) => score)).toEqual(found.map(({ score }) => score).toSorted((a, b) => b - a));
  }
  // A second round finds nothing to do.
  expect(await tiers().settle()).toBe(0);
}, 120_000);

test('a large tenant’s graph is walked for it, and for nobody else', async () => {
  const [small, large] = (await load([120, 1_500])) as [VectorTenant, VectorTenant];
  await tiers().settle();
  const shard = (await tierOf(large))?.shard;
  const walks = (who: VectorTenant) =>
    as(who, () =>
      database.tenant(async (sql) => {
        // Counts of this connection that are not reported yet: those of earlier transactions are among them.
        const scans = async () => {
          const [row] = await sql<{ scans: number }[]>`
            select coalesce(sum(pg_stat_get_xact_numscans(indexrelid)), 0)::int as scans from pg_index
            where indexrelid = to_regclass(${`chunk_codes_s${space.id}_${shard}_graph`})`;
          return row?.scans ?? 0;
        };
        const before = await scans();
        await nearestChunks(sql, question());
        return (await scans()) - before;
      }),
    );
  expect(await walks(large)).toBeGreaterThan(0);
  expect(await walks(small)).toBe(0);
  // Nor could the planner: no graph is in a partition that two tenants' rows are in.
  const shared = await admin`
    select 1 from pg_index i join pg_class c on c.oid = i.indrelid join pg_am on true join pg_class x on x.oid = i.indexrelid
    where x.relam = pg_am.oid and pg_am.amname in ('hnsw', 'ivfflat') and not exists (
      select from pg_constraint k where k.conrelid = c.oid and k.contype = 'c' and k.conname like '%_tenant')`;
  expect(shared).toHaveLength(0);
}, 120_000);

describe('while rows move', () => {
  test('every search finds as many rows as there are, up and down', async () => {
    const [who] = (await load([1_600])) as [VectorTenant];
    let moving = true;
    const answers: Answers[] = [];
    const searching = (async () => {
      while (moving) answers.push(await ask(who));
    })();
    await tiers().settle();
    expect((await tierOf(who))?.tier).toBe('indexed');
    await tiers({ bounds: { bits: 300, indexed: 1e9 } }).settle();
    expect(await codesOf(who)).toEqual({ scanned: 1_600, sharded: 0 });
    expect(await tierOf(who)).toMatchObject({ tier: 'bits', shard: null });
    await tiers({ bounds: { bits: 1e9, indexed: 1e9 } }).settle();
    moving = false;
    await searching;
    expect(await tierOf(who)).toBeUndefined();
    expect(await codesOf(who)).toEqual({ scanned: 0, sharded: 0 });
    expect(answers.length).toBeGreaterThan(10);
    expect(recallOf(answers)).toBeGreaterThanOrEqual(0.97);
    expect((await listShards(database)).length).toBe(
      (await admin`select 1 from vector_tiers where shard is not null`).length,
    );
  }, 120_000);

  test('what is published is found at once, and what is deleted is not', async () => {
    const [who] = (await load([900])) as [VectorTenant];
    await tiers().settle();
    const [newest] = (await admin<{ id: string }[]>`
      select document_id as id from document_spaces where tenant_id = ${who.tenantId} limit 1`) as unknown as [
      { id: string },
    ];
    const [chunk] = (await admin<{ id: string; embedding: string }[]>`
      select chunk_id as id, embedding::text as embedding from chunk_vectors
      where tenant_id = ${who.tenantId} and document_id = ${newest.id} limit 1`) as unknown as [
      { id: string; embedding: string },
    ];
    const find = () =>
      as(who, () =>
        database.tenant((sql) =>
          nearestChunks(sql, { spaceId: space.id, embedding: chunk.embedding, limit: 3, filter: {} }),
        ),
      );
    expect((await find())[0]?.id).toBe(chunk.id);
    // A new version of the document: its codes go with the old one, its vectors are found without any.
    await as(who, () =>
      database.tenant(async (sql) => {
        await sql`
          insert into chunks (id, document_id, version, ordinal, text, start_offset, end_offset, tokens, terms, tsv)
          select gen_random_uuid(), document_id, 2, ordinal, text, 0, 0, 0, 0, '' from chunks where document_id = ${newest.id}`;
        await sql`
          insert into chunk_vectors (chunk_id, space_id, document_id, version, content_hash, embedding)
          select id, ${space.id}, document_id, 2, '\\x00', ${chunk.embedding}::halfvec from chunks
          where document_id = ${newest.id} and version = 2`;
        await sql`update documents set live_version = 2, last_version = 2 where id = ${newest.id}`;
        await sql`delete from chunks where document_id = ${newest.id} and version = 1`;
      }),
    );
    expect(await codesOf(who)).toMatchObject({ scanned: 800 });
    const now = await find();
    expect(now).toHaveLength(3);
    expect(now[0]?.id).not.toBe(chunk.id);
    expect(now[0]?.score).toBeGreaterThan(0.99);
    await tiers().settle();
    expect(await codesOf(who)).toMatchObject({ scanned: 900 });
    expect((await find())[0]?.score).toBeGreaterThan(0.99);
    await as(who, () => database.tenant((sql) => sql`delete from documents where id = ${newest.id}`));
    expect((await find())[0]?.score).toBeLessThan(0.99);
    expect(await codesOf(who)).toMatchObject({ scanned: 800 });
    expect(await many(who)).toBeGreaterThanOrEqual(0.97);
  }, 120_000);

  test('deletions and publications neither fail nor leave codes behind', async () => {
    const [who] = (await load([2_000])) as [VectorTenant];
    const documents = await admin<{ id: string }[]>`
      select id from documents where tenant_id = ${who.tenantId} order by random()`;
    const gone = documents.slice(0, 8);
    const deleting = (async () => {
      for (const { id } of gone) {
        await as(who, () => database.tenant((sql) => sql`delete from documents where id = ${id}`));
      }
    })();
    await Promise.all([tiers().settle(), deleting]);
    await tiers().settle();
    const { scanned = 0, sharded = 0 } = await codesOf(who);
    expect(scanned + sharded).toBe(1_200);
    const orphans = await admin`
      select 1 from chunk_codes c where c.tenant_id = ${who.tenantId} and not exists (
        select from chunk_vectors v where v.tenant_id = c.tenant_id and v.chunk_id = c.chunk_id and v.space_id = c.space_id)`;
    expect(orphans).toHaveLength(0);
    expect(await many(who)).toBeGreaterThanOrEqual(0.97);
  }, 120_000);

  test('a worker that is cut off is gone on with by the next, after its lease', async () => {
    const [who] = (await load([1_700])) as [VectorTenant];
    const cut = new AbortController();
    const dying = tiers().settle(cut.signal);
    while ((await codesOf(who)).scanned === 0) await Bun.sleep(1);
    cut.abort(new Error('killed'));
    await dying.catch(() => undefined);
    // A killed process gives nothing back.
    await admin`update vector_tiers set holder = ${systemIds.uuid()}, leased_until = now() + interval '1 hour'
      where tenant_id = ${who.tenantId}`;
    expect(await many(who, 3)).toBeGreaterThanOrEqual(0.97);
    expect(await tiers().settle()).toBe(0);
    await admin`update vector_tiers set leased_until = now() - interval '1 second' where tenant_id = ${who.tenantId}`;
    expect(await tiers().settle()).toBe(1);
    expect(await tierOf(who)).toMatchObject({ tier: 'indexed' });
    expect(await codesOf(who)).toEqual({ scanned: 0, sharded: 1_700 });
  }, 120_000);

  test('an index whose build was cut off is built again', async () => {
    const [who] = (await load([1_300])) as [VectorTenant];
    const failing = tiers({
      database: {
        ...database,
        maintain: async (statements) => {
          await database.maintain?.(statements);
          // As a build leaves it that did not come to its end.
          await admin`update pg_index set indisvalid = false where indexrelid = (
            select indexrelid from pg_index join pg_class c on c.oid = indexrelid
            where c.relname = ${`chunk_codes_s${space.id}_${(await tierOf(who))?.shard}_graph`})`;
          throw new Error('the server went away');
        },
      },
    });
    await failing.settle();
    expect(await tierOf(who)).toMatchObject({ tier: 'bits' });
    expect(await many(who, 5)).toBeGreaterThanOrEqual(0.97);
    await tiers().settle();
    expect(await tierOf(who)).toMatchObject({ tier: 'indexed' });
  }, 120_000);
});

test('a private document is found by its owner alone, however its tenant is searched', async () => {
  const [who] = (await load([1_400])) as [VectorTenant];
  const [stranger, owner] = [systemIds.uuid(), who.userId];
  // All but a few: most of what the graph says is then out of the stranger's sight.
  await admin.unsafe(`
    update documents set visibility = 'private' where tenant_id = '${who.tenantId}' and id not in (
      select id from documents where tenant_id = '${who.tenantId}' order by id limit 1);
    update chunks c set private_to = d.private_to from documents d where d.tenant_id = c.tenant_id and d.id = c.document_id and d.tenant_id = '${who.tenantId}';
    update chunk_vectors c set private_to = d.private_to from documents d where d.tenant_id = c.tenant_id and d.id = c.document_id and d.tenant_id = '${who.tenantId}';
    update document_spaces c set private_to = d.private_to from documents d where d.tenant_id = c.tenant_id and d.id = c.document_id and d.tenant_id = '${who.tenantId}'`);
  await tiers().settle();
  expect(await tierOf(who)).toMatchObject({ tier: 'indexed' });
  expect(await codesOf(who)).toEqual({ scanned: 0, sharded: 1_400 });
  const visible = await admin<{ id: string }[]>`
    select id from chunks where tenant_id = ${who.tenantId} and private_to is null`;
  expect(visible).toHaveLength(100);
  const seen = new Set(visible.map(({ id }) => id));
  const { found, exact } = await ask({ ...who, userId: stranger }, 50);
  expect(found).toHaveLength(50);
  expect(found.map(({ id }) => id)).toEqual(exact.map(({ id }) => id));
  expect(found.filter(({ id }) => !seen.has(id))).toEqual([]);
  expect(await many({ ...who, userId: owner }, 5)).toBeGreaterThanOrEqual(0.97);
}, 120_000);

test('a filter finds all that fits it, whether it leaves little or much', async () => {
  const [who] = (await load([2_600])) as [VectorTenant];
  await tiers().settle();
  await admin`update documents set source_type = 'web' where tenant_id = ${who.tenantId} and id in (
    select id from documents where tenant_id = ${who.tenantId} order by id limit 25)`;
  const [one] = (await admin<{ id: string }[]>`
    select id from documents where tenant_id = ${who.tenantId} order by id desc limit 1`) as unknown as [
    { id: string },
  ];
  for (const filter of [{ document_ids: [one.id] }, { source_type: 'web' }, { source_type: 'mail' }]) {
    const query = { ...question(20), filter };
    const [found, exact] = await as(who, () =>
      database.tenant(async (sql) => [await nearestChunks(sql, query), await exactChunks(sql, query)]),
    );
    expect(found).toHaveLength(exact?.length ?? -1);
    expect(recallOf([{ found: found ?? [], exact: exact ?? [] }]) || 1).toBeGreaterThanOrEqual(0.9);
  }
}, 120_000);

test('vectors that codes cannot tell apart stay searched exactly', async () => {
  const own = { dimensions: DIMENSIONS, vector: () => topics.vector().map((value) => Math.abs(value)) };
  const [who] = (await loadTenants([900], { adminUrl: db.adminUrl, spaceId: space.id, topics: own })) as [VectorTenant];
  expect(await tiers().settle()).toBe(1);
  expect(await tierOf(who)).toMatchObject({ tier: 'exact' });
  expect(await codesOf(who)).toEqual({ scanned: 0, sharded: 0 });
  // It is not tried again with every round.
  expect(await tiers().settle()).toBe(0);
}, 120_000);

test('a shard whose tenant is gone goes too', async () => {
  const [who] = (await load([1_400])) as [VectorTenant];
  await tiers().settle();
  const shard = (await tierOf(who))?.shard ?? -1;
  const there = async () => (await listShards(database)).some((one) => one.shard === shard);
  expect(await there()).toBe(true);
  await admin`delete from tenants where id = ${who.tenantId}`;
  await tiers().settle();
  expect(await there()).toBe(false);
}, 120_000);
