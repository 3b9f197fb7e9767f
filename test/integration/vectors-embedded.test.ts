/** The embedded database searches by codes and switches spaces as a server does; only graphs are not built there. */
import { afterAll, expect, test } from 'bun:test';
import { createDatabase } from '../../src/db/database.ts';
import { startEmbeddedDatabase } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { createChunker } from '../../src/ingest/chunker.ts';
import { createSandboxedExtractor } from '../../src/ingest/sandbox.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger as logger } from '../../src/kernel/logger.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createPrices } from '../../src/llm/prices.ts';
import { exactChunks, nearestChunks } from '../../src/repositories/vectors.ts';
import { createResidentVectors } from '../../src/services/resident-vectors.ts';
import { createSpaces } from '../../src/services/spaces.ts';
import { createSpaceBuilder } from '../../src/services/spaces-build.ts';
import { createUsageMeter } from '../../src/services/usage-meter.ts';
import { createVectorTiers } from '../../src/services/vector-tiers.ts';
import { toHalfvec } from '../../src/services/vectors.ts';
import { createDiskBlobStore } from '../../src/storage/disk-blob-store.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { createTopics } from '../support/vector-tenants.ts';

const folder = await temporaryFolder();
const embedded = await startEmbeddedDatabase({ dataDir: folder.path, logger });
await migrate({ url: embedded.url, embedded: true, logger });
const database = createDatabase({ url: embedded.url, max: 2, embedded: true });
afterAll(async () => {
  await database.close();
  await embedded.stop();
  await folder.remove();
});

const who = { tenantId: systemIds.uuid(), userId: systemIds.uuid() };
const as = <T>(fn: () => Promise<T>) => runAs({ ...who, traceId: newTraceId() }, fn);
const DIMENSIONS = 512;
const [DOCUMENTS, CHUNKS] = [18, 50];

test('vectors are searched by codes, and a space is built beside and switched to', async () => {
  const space = await ensureSpace(database, { provider: 'p', model: 'm', dimensions: DIMENSIONS, pipeline: 'x' });
  const topics = createTopics(DIMENSIONS, 5, 24);
  await database.system((sql) => sql`insert into tenants (id, name) values (${who.tenantId}, 'tenant')`);
  for (let document = 0; document < DOCUMENTS; document++) {
    const id = systemIds.uuid();
    const ids = Array.from({ length: CHUNKS }, () => systemIds.uuid());
    await as(() =>
      database.tenant(async (sql) => {
        await sql`
          insert into documents (id, visibility, title, filename, media_type, size, sha256, source_type, status)
          values (${id}, 'tenant', 'notes', 'notes.txt', 'text/plain', 1, sha256(${id}::text::bytea), 'upload', 'ready')`;
        await sql`
          insert into chunks (id, document_id, version, ordinal, text, start_offset, end_offset, tokens, terms, tsv)
          select id, ${id}, 1, row_number() over () - 1, 'text ' || id, 0, 0, 0, 0, '' from unnest(${ids}::uuid[]) id`;
        await sql`
          insert into chunk_vectors (chunk_id, space_id, document_id, version, content_hash, embedding)
          select id, ${space.id}, ${id}, 1, id::text::bytea, embedding::halfvec
          from unnest(${ids}::uuid[], ${ids.map(() => toHalfvec(topics.vector()))}::text[]) as v(id, embedding)`;
        await sql`update documents set live_version = 1 where id = ${id}`;
      }),
    );
  }
  const residents = createResidentVectors({ database, clock: systemClock, logger, metrics: createMetrics() });
  /** In this process, whether or not it was asked before. */
  const resident = (vector: Float32Array) =>
    as(async () => residents?.nearest({ spaceId: space.id, vector, limit: 10, filter: {} }));
  const before = topics.vector();
  const all = { spaceId: space.id, embedding: toHalfvec(before), limit: 10, filter: {} };
  const nearestOfAll = await as(() => database.tenant((sql) => exactChunks(sql, all)));
  expect((await resident(before))?.map(({ id }) => id)).toEqual(nearestOfAll.map(({ id }) => id));

  const tiers = createVectorTiers({
    database,
    clock: systemClock,
    ids: systemIds,
    random: Math.random,
    logger,
    bounds: { bits: 300, indexed: 300 },
  });
  expect(await tiers.settle()).toBe(1);
  const [row] = await database.system((sql) => sql<{ tier: string }[]>`select tier from vector_tiers`);
  expect(row?.tier).toBe('bits');
  let [hits, wanted] = [0, 0];
  for (let i = 0; i < 10; i++) {
    const vector = topics.vector();
    const query = { spaceId: space.id, embedding: toHalfvec(vector), limit: 10, filter: {} };
    const [found, exact] = await as(() =>
      database.tenant(async (sql) => [await nearestChunks(sql, query), await exactChunks(sql, query)]),
    );
    const ids = new Set(exact?.map(({ id }) => id));
    expect(found).toHaveLength(10);
    expect(await resident(vector)).toHaveLength(10);
    hits += found?.filter(({ id }) => ids.has(id)).length ?? 0;
    wanted += ids.size;
  }
  expect(hits / wanted).toBeGreaterThanOrEqual(0.95);

  const embeddings = createBuiltinEmbeddings({ dimensions: 64 });
  const spaces = createSpaces({
    database,
    open: async ({ model }) => (model === embeddings.model ? embeddings : undefined),
    pipeline: 'x',
    clock: systemClock,
    logger,
  });
  const next = await spaces.create({ provider: 'builtin', model: embeddings.model, dimensions: 64 });
  const builder = createSpaceBuilder({
    database,
    spaces,
    pipeline: 'x',
    blobs: createDiskBlobStore({ root: folder.path }),
    extractor: createSandboxedExtractor({ logger }),
    chunker: createChunker(),
    clock: systemClock,
    ids: systemIds,
    logger,
    metrics: createMetrics(),
    meter: createUsageMeter({ prices: createPrices() }),
  });
  expect(await builder.build()).toBe(DOCUMENTS);
  expect(await spaces.activate(next.id)).toMatchObject({ state: 'active', chunks: DOCUMENTS * CHUNKS });
  await spaces.rollback(next.id);
  await spaces.activate(next.id);
  await spaces.retire(space.id);
  await builder.tidy();
  const left = await database.system((sql) => sql`select 1 from document_spaces where space_id = ${space.id}`);
  expect(left).toHaveLength(0);
}, 120_000);
