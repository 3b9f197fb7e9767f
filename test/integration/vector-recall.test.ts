/** Measuring how well a tenant's codes find, while documents are deleted in the middle of it. */
import { afterAll, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { chunksStillThere } from '../../src/repositories/vector-codes.ts';
import { measureRecall } from '../../src/services/vector-recall.ts';
import { createVectorTiers } from '../../src/services/vector-tiers.ts';
import { createTestDatabase } from '../support/services.ts';
import { createTopics, loadTenants } from '../support/vector-tenants.ts';

const DIMENSIONS = 256;
const db = await createTestDatabase();
const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 4, embedded: false });
const admin = postgres(db.adminUrl, { max: 1, onnotice: () => {} });
const space = await ensureSpace(database, { provider: 'p', model: 'm', dimensions: DIMENSIONS, pipeline: 'x' });
afterAll(async () => {
  await database.close();
  await admin.end();
  await db.drop();
});

async function coded(chunks: number) {
  const topics = createTopics(DIMENSIONS, 7, 24);
  const [who] = await loadTenants([chunks], { adminUrl: db.adminUrl, spaceId: space.id, topics });
  if (!who) throw new Error('there is no tenant');
  const tiers = createVectorTiers({
    database,
    clock: systemClock,
    ids: systemIds,
    random: Math.random,
    logger: silentLogger,
    bounds: { bits: 300, indexed: 100_000 },
  });
  await tiers.settle();
  const as = <T>(fn: () => Promise<T>) =>
    runAs({ tenantId: who.tenantId, userId: who.userId, traceId: newTraceId() }, fn);
  const documents = await admin<
    { id: string }[]
  >`select id from documents where tenant_id = ${who.tenantId} order by id`;
  return { as, documents: documents.map(({ id }) => id) };
}

/** A database in whose life something happens after so many transactions. */
function interrupted(after: number, happen: () => Promise<unknown>): Database {
  let transactions = 0;
  return {
    ...database,
    async tenant(fn) {
      if (transactions++ === after) await happen();
      return database.tenant(fn);
    },
  };
}

test('what is deleted between looking for it and asking the codes is not missed', async () => {
  const { as, documents } = await coded(800);
  const deleted = documents.slice(0, 4);
  let happened = false;
  // One transaction draws the samples, of one document each, and one more looks at all vectors for each of them.
  const meanwhile = interrupted(1 + documents.length, async () => {
    happened = true;
    await admin`delete from documents where id = any(${deleted}::uuid[])`;
  });
  const tier = { tier: 'bits', shard: null, dimensions: DIMENSIONS } as const;
  const options = { chunks: 800, random: () => 0.5, signal: new AbortController().signal };
  const { recall } = await as(() => measureRecall(meanwhile, space.id, tier, options));
  expect(happened).toBe(true);
  expect(recall).toBeGreaterThanOrEqual(0.99);
}, 60_000);

test('of some chunks those are still there that the space finds: not deleted, not of an older version', async () => {
  const { as, documents } = await coded(300);
  const [gone, replaced, kept] = documents as [string, string, string];
  const chunks = await admin<{ id: string; document: string }[]>`
    select id, document_id as document from chunks where document_id = any(${documents}::uuid[])`;
  await admin`delete from documents where id = ${gone}`;
  await admin`delete from document_spaces where document_id = ${replaced}`;
  const ids = chunks.map(({ id }) => id);
  const there = await as(() => database.tenant((sql) => chunksStillThere(sql, space.id, ids)));
  expect([...there].sort()).toEqual(
    chunks
      .filter(({ document }) => document === kept)
      .map(({ id }) => id)
      .sort(),
  );
  expect(there.size).toBe(100);
}, 60_000);
