/**
 * Bulk writing of chunks: by COPY and, where the server has none, by one statement; both write the same rows. That the
 * embedded server takes the statement is seen by `e2e/main-path.test.ts`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { newTraceId, runAs, type Scope } from '../../src/kernel/context.ts';
import { encodeHalfvec } from '../../src/kernel/halfvec.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { toTextIndex, tsvectorText } from '../../src/kernel/text/tsvector.ts';
import { type IndexedChunk, insertChunks, knownEmbeddings } from '../../src/repositories/chunks-write.ts';
import { createTestDatabase } from '../support/services.ts';

const DIMENSIONS = 8;
const newScope = (): Scope => ({
  tenantId: systemIds.uuid(),
  userId: systemIds.uuid(),
  traceId: newTraceId(),
});

const TEXTS = [
  'The tests test it: C++, 3.14 and "quotes".',
  "It's Bob's back\\slash, 员工请假应当提前申请。",
  '👩‍👩‍👧‍👦 é \t tabs\nand lines',
  'x'.repeat(20_000),
  '数据库'.repeat(3_000),
];
const chunkOf = (text: string, ordinal: number): IndexedChunk => ({
  id: systemIds.uuid(),
  ordinal,
  text,
  start: ordinal * 7,
  end: ordinal * 7 + text.length,
  page: ordinal % 2 === 0 ? null : ordinal,
  headings: ordinal === 0 ? [] : ['A {"quoted", \\ one}', '手册'],
  tokens: text.length,
  index: toTextIndex(text),
  contentHash: new Bun.CryptoHasher('sha256').update(text).digest(),
  embedding: encodeHalfvec(Float32Array.from({ length: DIMENSIONS }, (_, i) => Math.sin(ordinal * 31 + i))),
});

interface Server {
  database: Database;
  spaceId: number;
}

async function newDocument({ database }: Server, scope: Scope): Promise<string> {
  const id = systemIds.uuid();
  await database.system(async (sql) => {
    await sql`insert into tenants (id, name) values (${scope.tenantId}, ${`bulk ${scope.tenantId}`}) on conflict do nothing`;
  });
  await runAs(scope, () =>
    database.tenant(async (sql) => {
      await sql`
        insert into documents (id, visibility, title, filename, media_type, size, sha256, source_type)
        values (${id}, 'tenant', 'bulk', 'bulk.txt', 'text/plain', 1, sha256(${id}::text::bytea), 'upload')`;
    }),
  );
  return id;
}

const write = (server: Server, documentId: string, chunks: readonly IndexedChunk[], copies: boolean) =>
  server.database.tenant((sql) =>
    insertChunks(sql, { documentId, version: 1, privateTo: null, spaceId: server.spaceId }, chunks, copies),
  );

const rowsOf = ({ database }: Server, documentId: string) =>
  database.tenant(
    (sql) => sql`
      select c.ordinal, c.text, c.start_offset, c.end_offset, c.page, c.headings, c.tokens, c.terms, c.tsv::text as tsv,
        encode(v.content_hash, 'hex') as hash, encode(halfvec_send(v.embedding), 'hex') as embedding, v.version, v.private_to
      from chunks c left join chunk_vectors v on v.tenant_id = c.tenant_id and v.chunk_id = c.id
      where c.tenant_id = current_setting('app.tenant_id')::uuid and c.document_id = ${documentId}
      order by c.ordinal`,
  );

async function expectWritten(server: Server, copies: boolean): Promise<void> {
  const scope = newScope();
  const documentId = await newDocument(server, scope);
  const chunks = TEXTS.map(chunkOf);
  await runAs(scope, async () => {
    await write(server, documentId, chunks.slice(0, 3), copies);
    // The batch of an attempt that was cut off after its commit comes again, with more behind it.
    const again = chunks.map((chunk) => ({ ...chunk, id: systemIds.uuid() }));
    await write(server, documentId, again, copies);
    await write(server, documentId, [], copies);
    const rows = await rowsOf(server, documentId);
    const [texts] = await server.database.tenant(
      (sql) =>
        sql`select array(select t::tsvector::text from unnest(${chunks.map(({ index }) => tsvectorText(index))}::text[]) t) as tsv`,
    );
    expect(rows.map((row) => ({ ...row }))).toEqual(
      chunks.map((chunk, at) => ({
        ordinal: chunk.ordinal,
        text: chunk.text,
        start_offset: chunk.start,
        end_offset: chunk.end,
        page: chunk.page,
        headings: [...chunk.headings],
        tokens: chunk.tokens,
        terms: chunk.index.length,
        tsv: texts?.['tsv'][at],
        hash: Buffer.from(chunk.contentHash).toString('hex'),
        embedding: Buffer.from(chunk.embedding).toString('hex'),
        version: 1,
        private_to: null,
      })),
    );
    const known = await server.database.tenant((sql) =>
      knownEmbeddings(
        sql,
        server.spaceId,
        chunks.map(({ contentHash }) => Buffer.from(contentHash).toString('hex')),
      ),
    );
    for (const { contentHash, embedding } of chunks) {
      expect(Buffer.from(known.get(Buffer.from(contentHash).toString('hex')) ?? [])).toEqual(Buffer.from(embedding));
    }
  });
  // Another tenant has bought nothing, and sees nothing.
  const other = newScope();
  await newDocument(server, other);
  await runAs(other, async () => expect(await rowsOf(server, documentId)).toHaveLength(0));
}

const spaceOf = async (database: Database) =>
  (await ensureSpace(database, { provider: 'test', model: 'bulk', dimensions: DIMENSIONS, pipeline: 'test' })).id;

describe('on a server', () => {
  let server: Server;
  let adminUrl: string;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const db = await createTestDatabase();
    const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 3, embedded: false });
    server = { database, spaceId: await spaceOf(database) };
    adminUrl = db.adminUrl;
    drop = db.drop;
  });
  afterAll(async () => {
    await server.database.close();
    await drop();
  });

  test('COPY writes what was given, once', () => expectWritten(server, true));
  test('and so does one statement', () => expectWritten(server, false));

  test('what was bought is looked up by itself, however little the statistics know of a tenant', async () => {
    const admin = postgres(adminUrl, { max: 1, onnotice: () => {} });
    await admin`analyze chunk_vectors`;
    await admin.end();
    const scope = newScope();
    const documentId = await newDocument(server, scope);
    const chunks = Array.from({ length: 1_500 }, (_, at) => chunkOf(`bought ${at}`, at));
    const hashes = chunks.slice(0, 20).map(({ contentHash }) => Buffer.from(contentHash).toString('hex'));
    await runAs(scope, async () => {
      await write(server, documentId, chunks, true);
      const { known, read } = await server.database.tenant(async (sql) => {
        const found = await knownEmbeddings(sql, server.spaceId, hashes);
        const [rows] = await sql<{ read: number }[]>`
          select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int as read
          from pg_stat_xact_user_tables where relname = ${`chunk_vectors_s${server.spaceId}_0`}`;
        return { known: found, read: rows?.read };
      });
      expect(known.size).toBe(20);
      // What the session has read before may be among it; a walk over the tenant would be all of its chunks.
      expect(read).toBeLessThan(chunks.length / 2);
    });
  });

  test.each([true, false])(
    'what the server refuses is told, and nothing of its batch is kept (COPY: %p)',
    async (copies) => {
      const scope = newScope();
      const documentId = await newDocument(server, scope);
      await runAs(scope, async () => {
        const good = chunkOf('good', 0);
        const nul = { ...chunkOf('bad', 1), text: 'a NUL \0 inside' };
        await expect(write(server, documentId, [good, nul], copies)).rejects.toThrow();
        const short = { ...chunkOf('short', 1), embedding: encodeHalfvec(new Float32Array(DIMENSIONS - 1).fill(0.1)) };
        await expect(write(server, documentId, [good, short], copies)).rejects.toThrow(/check constraint/);
        const infinite = {
          ...chunkOf('infinite', 1),
          embedding: encodeHalfvec(new Float32Array(DIMENSIONS).fill(1e9)),
        };
        await expect(write(server, documentId, [good, infinite], copies)).rejects.toThrow();
        expect(await rowsOf(server, documentId)).toHaveLength(0);
        await write(server, documentId, [good], copies);
        expect(await rowsOf(server, documentId)).toHaveLength(1);
      });
    },
  );

  test('another tenant’s document takes no chunks', async () => {
    const [owner, stranger] = [newScope(), newScope()];
    const documentId = await newDocument(server, owner);
    await newDocument(server, stranger);
    await runAs(stranger, async () => {
      await expect(write(server, documentId, [chunkOf('mine', 0)], true)).rejects.toThrow(/foreign key/);
    });
  });

  test('two batches of one transaction do not mix, whatever tenants they are of', async () => {
    const [mine, theirs] = [newScope(), newScope()];
    const [documentId, other] = [await newDocument(server, mine), await newDocument(server, theirs)];
    await server.database.together(async (shared) => {
      for (const [scope, id, text] of [
        [mine, documentId, 'mine'],
        [theirs, other, 'theirs'],
      ] as const) {
        const target = { documentId: id, version: 1, privateTo: null, spaceId: server.spaceId };
        await shared.within(scope, (sql) => insertChunks(sql, target, [chunkOf(text, 0)], true));
      }
    });
    expect(await runAs(mine, () => rowsOf(server, documentId))).toMatchObject([{ text: 'mine' }]);
    expect(await runAs(theirs, () => rowsOf(server, other))).toMatchObject([{ text: 'theirs' }]);
  });

  test('a server that goes away before a COPY is told as such, and the next batch is written', async () => {
    const scope = newScope();
    const documentId = await newDocument(server, scope);
    const admin = postgres(adminUrl, { max: 1, onnotice: () => {} });
    const spaceId = server.spaceId;
    const cut = runAs(scope, () =>
      server.database.tenant(async (sql) => {
        const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
        await admin`select pg_terminate_backend(${row?.pid ?? 0}, 5000)`;
        await insertChunks(sql, { documentId, version: 1, privateTo: null, spaceId }, [chunkOf('lost', 0)], true);
      }),
    );
    await expect(cut).rejects.toMatchObject({ kind: 'unavailable' });
    await admin.end();
    await runAs(scope, async () => {
      await write(server, documentId, [chunkOf('after', 0)], true);
      expect(await rowsOf(server, documentId)).toHaveLength(1);
    });
  });
});
