/** How the database finds what a space still lacks, among the vectors of a tenant with thousands of them. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { chunksWithoutVector } from '../../src/repositories/spaces-documents.ts';
import { planOf } from '../support/plans.ts';
import { createTestDatabase } from '../support/services.ts';
import { createTopics, loadTenants, type VectorTenant } from '../support/vector-tenants.ts';

const CHUNKS = 6_000;
const DOCUMENT_CHUNKS = 100;
const LACKING = 30;
const db = await createTestDatabase();
const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 2, embedded: false });
const admin = postgres(db.adminUrl, { max: 1, onnotice: () => {} });
const space = await ensureSpace(database, { provider: 'p', model: 'm', dimensions: 8, pipeline: 'x' });

let who: VectorTenant;
let document: { documentId: string; version: number; spaceId: number };
/** Chunks of the document without a vector, in reading order. */
let lacking: string[];

beforeAll(async () => {
  const loaded = await loadTenants([CHUNKS], {
    adminUrl: db.adminUrl,
    spaceId: space.id,
    topics: createTopics(8, 7),
  });
  [who] = loaded as [VectorTenant];
  const rows = await admin<{ id: string; document: string }[]>`
    select id, document_id as document from chunks
    where document_id = (select document_id from chunks where tenant_id = ${who.tenantId} order by id limit 1)
    order by ordinal`;
  lacking = rows.slice(-LACKING).map(({ id }) => id);
  document = { documentId: rows[0]?.document ?? '', version: 1, spaceId: space.id };
  await admin`delete from chunk_vectors where chunk_id = any(${lacking}::uuid[])`;
});
afterAll(async () => {
  await database.close();
  await admin.end();
  await db.drop();
});

const inScope = <T>(fn: Parameters<typeof database.tenant<T>>[0]) =>
  runAs({ tenantId: who.tenantId, userId: who.userId, traceId: newTraceId() }, () => database.tenant(fn));

describe('the chunks of a version that have no vector', () => {
  test('come in reading order, as many as are asked for', async () => {
    const some = await inScope((sql) => chunksWithoutVector(sql, document, 10));
    expect(some.map(({ id }) => id)).toEqual(lacking.slice(0, 10));
    expect(await inScope((sql) => chunksWithoutVector(sql, document, 100))).toHaveLength(LACKING);
  });

  // As after a restore or a large upload, and as a while later.
  test.each(['before the tables were looked at', 'once they were'])('are found by indexes, %s', async (when) => {
    if (when === 'once they were') await admin`analyze chunks, chunk_vectors`;
    else
      await admin`delete from pg_statistic where starelid in ('chunks'::regclass, ${`chunk_vectors_s${space.id}_0`}::regclass)`;
    const steps = await inScope((sql) => planOf(sql, (explaining) => chunksWithoutVector(explaining, document, 10)));
    expect(steps.filter(({ kind }) => kind === 'Seq Scan')).toEqual([]);
    const indexes = steps.flatMap(({ index }) => index ?? []);
    expect(indexes.some((index) => index.startsWith('chunks'))).toBe(true);
    expect(indexes.some((index) => index.startsWith('chunk_vectors'))).toBe(true);
    // Of the document alone, and each once: not all of the tenant's, and not the document's once a chunk.
    for (const { rows } of steps) expect(rows).toBeLessThanOrEqual(2 * DOCUMENT_CHUNKS);
  });
});
