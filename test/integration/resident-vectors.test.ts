/** What is searched in a process's own memory is found as the database finds it, whatever others change meanwhile. */
import { afterAll, afterEach, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { SearchFilter } from '../../src/contracts/index.ts';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { confirmDocuments, type ListedDocument, rerankChunks } from '../../src/repositories/vector-residents.ts';
import { exactChunks, type Scored, searchChunks } from '../../src/repositories/vectors.ts';
import { createResidentVectors, type ResidentVectorsOptions } from '../../src/services/resident-vectors.ts';
import { createVectorTiers } from '../../src/services/vector-tiers.ts';
import { toHalfvec } from '../../src/services/vectors.ts';
import { createTestDatabase } from '../support/services.ts';
import { createTopics, loadTenants, type VectorTenant } from '../support/vector-tenants.ts';

const DIMENSIONS = 500;
const db = await createTestDatabase();
const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 6, embedded: false });
const admin = postgres(db.adminUrl, { max: 2, onnotice: () => {} });
const space = await ensureSpace(database, { provider: 'p', model: 'm', dimensions: DIMENSIONS, pipeline: 'x' });
const topics = createTopics(DIMENSIONS, 11, 24);
afterAll(async () => {
  await database.close();
  await admin.end();
  await db.drop();
});
afterEach(async () => {
  await admin`delete from tenants`;
});

type Person = Pick<VectorTenant, 'tenantId' | 'userId'>;
const as = <T>({ tenantId, userId }: Person, fn: () => Promise<T>) =>
  runAs({ tenantId, userId, traceId: newTraceId() }, fn);

/** A process of its own, which nobody tells what another one does. */
function node(own: Partial<ResidentVectorsOptions> = {}) {
  const residents = createResidentVectors({
    database,
    clock: systemClock,
    logger: silentLogger,
    metrics: createMetrics(),
    least: 0,
    ...own,
  });
  if (!residents) throw new Error('this processor has no SIMD for WebAssembly: nothing of this was tested');
  const nearest = (who: Person, vector: Float32Array, limit = 10, filter: SearchFilter = {}) =>
    as(who, () => residents.nearest({ spaceId: space.id, vector, limit, filter }));
  return { residents, nearest };
}

const load = async (sizes: number[]) =>
  (await loadTenants(sizes, { adminUrl: db.adminUrl, spaceId: space.id, topics })) as [VectorTenant, VectorTenant];

const exactly = (who: Person, vector: Float32Array, limit = 10, filter: SearchFilter = {}) =>
  as(who, () =>
    database.tenant((sql) => exactChunks(sql, { spaceId: space.id, embedding: toHalfvec(vector), limit, filter })),
  );

const documentsOf = async ({ tenantId }: Person): Promise<string[]> =>
  (await admin<{ id: string }[]>`select id from documents where tenant_id = ${tenantId} order by id`).map(
    ({ id }) => id,
  );

async function publish(who: Person, vectors: readonly Float32Array[], own = false): Promise<string[]> {
  const id = systemIds.uuid();
  const ids = vectors.map(() => systemIds.uuid());
  const privateTo = own ? who.userId : null;
  await as(who, () =>
    database.tenant(async (sql) => {
      await sql`
        insert into documents (id, visibility, owner_id, title, filename, media_type, size, sha256, source_type, status)
        values (${id}, ${own ? 'private' : 'tenant'}, ${who.userId}, 'notes', 'notes.txt', 'text/plain', 1,
          sha256(${id}::text::bytea), 'upload', 'ready')`;
      await sql`
        insert into chunks (id, document_id, version, ordinal, private_to, text, start_offset, end_offset, tokens, terms, tsv)
        select id, ${id}, 1, row_number() over () - 1, ${privateTo}, 'text', 0, 0, 0, 0, '' from unnest(${ids}::uuid[]) id`;
      await sql`
        insert into chunk_vectors (chunk_id, space_id, document_id, version, private_to, content_hash, embedding)
        select id, ${space.id}, ${id}, 1, ${privateTo}, id::text::bytea, embedding::halfvec
        from unnest(${ids}::uuid[], ${vectors.map(toHalfvec)}::text[]) as v(id, embedding)`;
      await sql`update documents set live_version = 1 where id = ${id}`;
    }),
  );
  return ids;
}

const idsOf = (rows: readonly Scored[] | undefined) => (rows ?? []).map(({ id }) => id);

function expectSame(found: readonly Scored[] | undefined, exact: readonly Scored[]): void {
  expect(idsOf(found)).toEqual(idsOf(exact));
  for (const [i, { score }] of (found ?? []).entries()) expect(score).toBeCloseTo(exact[i]?.score ?? Number.NaN, 5);
}

/** Codes for all; one bit tells these topics apart well. */
const settle = () =>
  createVectorTiers({
    database,
    clock: systemClock,
    ids: systemIds,
    random: Math.random,
    logger: silentLogger,
    bounds: { bits: 300, indexed: 1e9 },
  }).settle();

describe.each(['vectors', 'codes'] as const)('by %s', (kind) => {
  /** Two tenants that write about the same. */
  async function tenants(): Promise<[VectorTenant, VectorTenant]> {
    const both = await load([900, 400]);
    if (kind === 'codes') expect(await settle()).toBe(2);
    return both;
  }

  /** What codes do not find is no fault of this. */
  async function expectFound(found: readonly Scored[] | undefined, exact: readonly Scored[]): Promise<void> {
    if (kind === 'vectors') return expectSame(found, exact);
    expect(found).toHaveLength(exact.length);
    const ids = new Set(idsOf(exact));
    expect(idsOf(found).filter((id) => ids.has(id)).length).toBeGreaterThanOrEqual(exact.length - 1);
  }

  test('finds what looking at every vector finds, for each tenant its own', async () => {
    const [one, other] = await tenants();
    const { nearest, residents } = node();
    for (const who of [one, other]) {
      for (let i = 0; i < 8; i++) {
        const vector = topics.vector();
        await expectFound(await nearest(who, vector), await exactly(who, vector));
      }
    }
    expect(residents.size).toBeGreaterThan(0);
    const vector = topics.vector();
    expect(await nearest(one, vector, 2_000)).toHaveLength(900);
    expect(await nearest({ tenantId: systemIds.uuid(), userId: one.userId }, vector)).toEqual([]);
  });

  test('shows nothing that was deleted and misses nothing that was published, on a node that heard of neither', async () => {
    const [who] = await tenants();
    const nodes = [node(), node()];
    const vector = topics.vector();
    for (let round = 0; round < 5; round++) {
      for (const { nearest } of nodes) await expectFound(await nearest(who, vector), await exactly(who, vector));
      const [best] = await exactly(who, vector);
      await admin`delete from documents d using chunks c where c.id = ${best?.id ?? ''} and d.id = c.document_id`;
      for (const { nearest } of nodes) {
        const found = await nearest(who, vector);
        expect(idsOf(found)).not.toContain(best?.id ?? '');
        await expectFound(found, await exactly(who, vector));
      }
      const [twin] = await publish(who, [vector]);
      for (const { nearest } of nodes) expect(idsOf(await nearest(who, vector))[0]).toBe(twin ?? '');
    }
  });

  test('shows private documents to their owner alone', async () => {
    const [owner] = await tenants();
    const colleague = { tenantId: owner.tenantId, userId: systemIds.uuid() };
    const vector = topics.vector();
    const { nearest } = node();
    await expectFound(await nearest(colleague, vector), await exactly(colleague, vector));
    const secret = await publish(owner, [vector, vector], true);
    for (const limit of [10, 2_000]) {
      expect(
        idsOf(await nearest(owner, vector, limit))
          .slice(0, 2)
          .sort(),
      ).toEqual([...secret].sort());
      const seen = idsOf(await nearest(colleague, vector, limit));
      expect(seen).toHaveLength(Math.min(limit, 900));
      expect(seen.filter((id) => secret.includes(id))).toEqual([]);
    }
    await expectFound(await nearest(owner, vector), await exactly(owner, vector));
  });

  test('keeps to filters', async () => {
    const [who] = await tenants();
    const { nearest } = node();
    const [first, second] = await documentsOf(who);
    const vector = topics.vector();
    for (const filter of [{ document_ids: [first ?? '', second ?? ''] }, { document_ids: [first ?? ''] }]) {
      const found = await nearest(who, vector, 150, filter);
      expect(found).toHaveLength(filter.document_ids.length * 100 > 150 ? 150 : 100);
      await expectFound((found ?? []).slice(0, 10), await exactly(who, vector, 10, filter));
    }
    expect(await nearest(who, vector, 10, { document_ids: [] })).toEqual([]);
    expect(await nearest(who, vector, 10, { source_type: 'mail' })).toEqual([]);
    expect(await nearest(who, vector, 10, { source_type: 'upload' })).toHaveLength(10);
  });
});

test('confirms of documents only those that the asking user may find now', async () => {
  const [one, other] = await load([200, 100]);
  const colleague = { tenantId: one.tenantId, userId: systemIds.uuid() };
  const documents = async (id: string) =>
    (await admin<{ id: string; version: number }[]>`
    select document_id as id, version from chunk_vectors where chunk_id = ${id}`) as unknown as ListedDocument[];
  const [shared] = await exactly(one, topics.vector());
  const [secret] = await publish(one, [topics.vector()], true);
  const open = await documents(shared?.id ?? '');
  const both = [...open, ...(await documents(secret ?? ''))];
  expect(both).toHaveLength(2);
  const confirmed = (who: Person, which: readonly ListedDocument[], spaceId = space.id) =>
    as(who, () => confirmDocuments(database.call, spaceId, which));
  const generation = await confirmed(one, both);
  expect(generation).toBeGreaterThan(0);
  expect(await confirmed(one, both.toReversed())).toBe(generation);
  expect(await confirmed(colleague, open)).toBe(generation);
  expect(await confirmed(colleague, both)).toBeUndefined();
  expect(await confirmed(other, open)).toBeUndefined();
  expect(await confirmed({ ...one, tenantId: other.tenantId }, both)).toBeUndefined();
  expect(await confirmed(one, open, space.id + 1)).toBeUndefined();
  expect(await confirmed(one, [{ ...(open[0] as ListedDocument), version: 2 }])).toBeUndefined();
  expect(await confirmed(other, [])).toBeGreaterThan(0);
  // Chunks likewise, whoever names them.
  const chunks = [shared?.id ?? '', secret ?? ''];
  const question = { spaceId: space.id, embedding: toHalfvec(topics.vector()), limit: 10 };
  const shown = async (who: Person) =>
    idsOf((await as(who, () => rerankChunks(database.call, question, chunks))).rows).toSorted();
  expect(await shown(one)).toEqual(chunks.toSorted());
  expect(await shown(colleague)).toEqual([chunks[0] ?? '']);
  expect(await shown(other)).toEqual([]);
  await admin`delete from documents where id = ${open[0]?.id ?? ''}`;
  expect(await confirmed(one, open)).toBeUndefined();
  expect(await shown(one)).toEqual([secret ?? '']);
});

test('reads a change once, whoever asks at that moment, and of a colleague only what is theirs', async () => {
  const [who] = await load([300]);
  const everybody = [who, ...Array.from({ length: 4 }, () => ({ tenantId: who.tenantId, userId: systemIds.uuid() }))];
  let transactions = 0;
  const counted: Database = {
    ...database,
    tenant: (fn) => {
      transactions += 1;
      return database.tenant(fn);
    },
  };
  const { nearest } = node({ database: counted });
  const vector = topics.vector();
  const ask = () => Promise.all(everybody.flatMap((one) => [nearest(one, vector), nearest(one, vector)]));
  for (const found of await ask()) expectSame(found, await exactly(who, vector));
  // A list and its rows, and a list of each colleague's own.
  expect(transactions).toBeLessThanOrEqual(2 + 4);
  const [twin] = await publish(who, [vector]);
  transactions = 0;
  for (const found of await ask()) expect(idsOf(found)[0]).toBe(twin ?? '');
  expect(transactions).toBeLessThanOrEqual(2 + 4);
  transactions = 0;
  await ask();
  expect(transactions).toBe(0);
});

test('begins anew where a document goes while it is read', async () => {
  const [who] = await load([400]);
  const vector = topics.vector();
  let listed = false;
  const slow: Database = {
    ...database,
    tenant: async (fn) => {
      const result = await database.tenant(fn);
      if (!listed) {
        listed = true;
        const [id] = await documentsOf(who);
        await admin`delete from documents where id = ${id ?? ''}`;
      }
      return result;
    },
  };
  const { nearest } = node({ database: slow });
  expectSame(await nearest(who, vector, 400), await exactly(who, vector, 400));
  expect(listed).toBe(true);
});

test('answers by the corpus of one moment while others publish and delete', async () => {
  const [who] = await load([600]);
  const nodes = [node(), node()];
  const vector = topics.vector();
  const deleted = new Set<string>();
  let published: string[] = [];
  let over = false;
  const changing = (async () => {
    for (let i = 0; i < 25; i++) {
      const before = published;
      published = await publish(who, [vector]);
      for (const id of before) {
        await admin`delete from documents d using chunks c where c.id = ${id} and d.id = c.document_id`;
        deleted.add(id);
      }
    }
    over = true;
  })();
  const asking = nodes.map(async ({ nearest }) => {
    let answers = 0;
    while (!over) {
      const [gone, there] = [new Set(deleted), published];
      const found = idsOf(await nearest(who, vector, 5));
      expect(found.filter((id) => gone.has(id))).toEqual([]);
      if (found.length > 0 && there === published) expect(found).toContain(there[0] ?? found[0] ?? '');
      if (found.length > 0) answers += 1;
    }
    return answers;
  });
  const [, ...answers] = await Promise.all([changing, ...asking]);
  for (const count of answers) expect(count).toBeGreaterThan(0);
  for (const { nearest } of nodes) expectSame(await nearest(who, vector, 5), await exactly(who, vector, 5));
}, 60_000);

test('keeps no more than it may, and leaves the rest to the database', async () => {
  const [one, other] = await load([300, 300]);
  const capacity = 900_000;
  const { nearest, residents } = node({ capacity });
  const vector = topics.vector();
  for (const who of [one, other, one]) {
    expectSame(await nearest(who, vector), await exactly(who, vector));
    expect(residents.size).toBeLessThanOrEqual(capacity);
    expect(residents.size).toBeGreaterThan(300 * DIMENSIONS * 2);
  }
  const narrow = node({ capacity: 300_000 });
  expect(await narrow.nearest(one, vector)).toBeUndefined();
  expect(narrow.residents.size).toBe(0);
});

test('keeps a tenant that the database was asked about and that is large enough, and no small one', async () => {
  const [large, small] = await load([300, 20]);
  const { nearest, residents } = node({ least: 128 * 1_024 });
  const vector = topics.vector();
  const search = async (who: Person) => {
    expect(await nearest(who, vector)).toBeUndefined();
    await as(who, async () => {
      const query = { spaceId: space.id, embedding: toHalfvec(vector), limit: 10, filter: {} };
      const { rows, ...about } = await database.tenant((sql) => searchChunks(sql, query));
      expect(rows).toHaveLength(10);
      residents.searched(space.id, about);
    });
    await residents.idle();
  };
  await search(small);
  expect(residents.size).toBe(0);
  expect(await nearest(small, vector)).toBeUndefined();
  await search(large);
  expectSame(await nearest(large, vector), await exactly(large, vector));
});

test('believes a number for a minute only: a database that was restored gives numbers out again', async () => {
  const [who] = await load([300]);
  let now = 1_000_000;
  const clock: Clock = { ...systemClock, now: () => now };
  const { nearest } = node({ clock });
  const vector = topics.vector();
  const before = await nearest(who, vector);
  const [row] = await admin<{ generation: number }[]>`
    select generation::int from corpus_generations where tenant_id = ${who.tenantId}`;
  const [id] = await publish(who, [vector]);
  await admin`update corpus_generations set generation = ${row?.generation ?? 0} where tenant_id = ${who.tenantId}`;
  expectSame(await nearest(who, vector), before ?? []);
  now += 60_000;
  expect(idsOf(await nearest(who, vector))[0]).toBe(id ?? '');
});

test('counts a document that becomes whole in the active space as a change', async () => {
  const [who] = await load([300]);
  const generation = async () => {
    const [row] = await admin<{ generation: number }[]>`
      select generation::int from corpus_generations where tenant_id = ${who.tenantId}`;
    return row?.generation ?? 0;
  };
  const { nearest } = node();
  const vector = topics.vector();
  const [document] = await documentsOf(who);
  const whole = await admin`delete from document_spaces where document_id = ${document ?? ''} returning *`;
  await admin`update corpus_generations set generation = generation + 1 where tenant_id = ${who.tenantId}`;
  expect(await nearest(who, vector, 300)).toHaveLength(200);
  const before = await generation();
  await admin`insert into document_spaces ${admin(whole)}`;
  expect(await generation()).toBe(before + 1);
  expectSame(await nearest(who, vector, 300), await exactly(who, vector, 300));
});

test('a publication is counted once', async () => {
  const [who] = await load([100]);
  const generation = async () => {
    const [row] = await admin<{ generation: number }[]>`
      select generation::int from corpus_generations where tenant_id = ${who.tenantId}`;
    return row?.generation ?? 0;
  };
  const before = await generation();
  await publish(who, [topics.vector()]);
  expect(await generation()).toBe(before + 1);
});
