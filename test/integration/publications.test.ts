/** Small documents that begin and are published in company: several of a scope by a statement, each fenced for itself. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { withinScopes } from '../../src/db/group-commit.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { newTraceId, runAs, type Scope } from '../../src/kernel/context.ts';
import { encodeHalfvec } from '../../src/kernel/halfvec.ts';
import { toTextIndex } from '../../src/kernel/text/tsvector.ts';
import { insertOwnVersions } from '../../src/repositories/chunks-together.ts';
import { publishFirstVersions } from '../../src/repositories/publications.ts';
import { openDocuments } from '../../src/repositories/task-attempts.ts';
import { createTestDatabase, type TestDatabase } from '../support/services.ts';

interface Document {
  /** Of document and task. */
  readonly id: string;
  readonly scope: Scope;
}

const ATTEMPT = 1;
const DIMENSIONS = 8;

let server: TestDatabase;
let database: Database;
let admin: postgres.Sql;
let spaceId: number;
/** Two tenants, the first of which has two users: each with two private documents that run. */
let documents: Document[];

beforeAll(async () => {
  server = await createTestDatabase();
  database = createDatabase({ url: server.url, max: 4, embedded: false });
  admin = postgres(server.adminUrl, { max: 2, onnotice: () => undefined });
  spaceId = (await ensureSpace(database, { provider: 'p', model: 'm', dimensions: DIMENSIONS, pipeline: 'x' })).id;
});

afterAll(async () => {
  await database.close();
  await admin.end();
  await server.drop();
});

beforeEach(async () => {
  const tenants = [Bun.randomUUIDv7(), Bun.randomUUIDv7()];
  for (const id of tenants) await admin`insert into tenants (id, name) values (${id}, ${id})`;
  const scopes = [tenants[0], tenants[0], tenants[1]].map(
    (tenantId = ''): Scope => ({ tenantId, userId: Bun.randomUUIDv7(), traceId: newTraceId() }),
  );
  documents = scopes.flatMap((scope) => [0, 1].map(() => ({ id: Bun.randomUUIDv7(), scope })));
  for (const { id, scope } of documents) {
    const { tenantId, userId } = scope;
    await admin`
      insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type)
      values (${tenantId}, ${id}, ${userId}, 'private', ${id}, '', 'text/plain', 10, sha256(${id}::text::bytea), 'upload')`;
    await admin`
      insert into tasks (tenant_id, id, kind, document_id, user_id, private_to, document_version, size, status, attempt)
      values (${tenantId}, ${id}, 'ingest', ${id}, ${userId}, ${userId}, 1, 10, 'running', ${ATTEMPT})`;
  }
});

const begunOf = ({ id }: Document) => ({ id, attempt: ATTEMPT, document_id: id, document_version: 1 });

const versionOf = ({ id, scope }: Document, attempt = ATTEMPT) => ({
  id,
  attempt,
  update: { stage: 'publishing', progress: 0.9, chunksDone: 1, chunksTotal: 1 },
  documentId: id,
  version: 1,
  privateTo: scope.userId,
  chunks: [
    {
      id: Bun.randomUUIDv7(),
      ordinal: 0,
      text: `the text of ${id}`,
      start: 0,
      end: 9,
      page: null,
      headings: ['A {"quoted", \\ one}'],
      tokens: 2,
      index: toTextIndex(`the text of ${id}`),
      contentHash: new Bun.CryptoHasher('sha256').update(id).digest(),
      embedding: encodeHalfvec(Float32Array.from({ length: DIMENSIONS }, (_, i) => i / 10)),
    },
  ],
});

const publicationOf = ({ id }: Document) => ({
  taskId: id,
  attempt: ATTEMPT,
  pages: null,
  chunks: 1,
  chunking: { strategy: 'fixed' as const, chunk_tokens: 200, chunk_overlap: 0 },
  wish: null,
  event: { document_id: id, task_id: id, title: id, pages: null, chunks: 1 },
  message: `${id} is there.`,
});

/** As attempts are published: all scopes by one transaction. */
const publish = (members: readonly Document[], attemptOf: (document: Document) => number = () => ATTEMPT) =>
  database.together((shared) =>
    withinScopes(
      shared,
      members.map((item) => ({ item, scope: item.scope })),
      async (sql, own) => {
        const tasks = await insertOwnVersions(
          sql,
          spaceId,
          own.map((document) => versionOf(document, attemptOf(document))),
        );
        const held = own.filter((_, place) => tasks[place]);
        if (held.length > 0) await publishFirstVersions(sql, 'pipeline', held.map(publicationOf));
        return tasks;
      },
    ),
  );

/** What is there of each document: its status, its chunk and vector, its place in both indexes, its event, its log. */
const found = async () => {
  const rows = await admin<{ id: string; made: string }[]>`
    select d.id, concat_ws(' ', d.status, d.live_version, c.text = 'the text of ' || d.id, c.private_to = d.owner_id,
      v.private_to = d.owner_id, s.chunks, s.private_to = d.owner_id, l.chunks, n.pipeline, o.data ->> 'title' = d.title,
      case when g.message like '% is there.' then 't' end, t.stage) as made
    from documents d join tasks t using (tenant_id, id)
      left join chunks c on c.tenant_id = d.tenant_id and c.document_id = d.id
      left join chunk_vectors v on v.tenant_id = d.tenant_id and v.chunk_id = c.id
      left join document_spaces s on s.tenant_id = d.tenant_id and s.document_id = d.id
      left join lexical_documents l on l.tenant_id = d.tenant_id and l.document_id = d.id
      left join document_versions n on n.tenant_id = d.tenant_id and n.document_id = d.id
      left join outbox o on o.tenant_id = d.tenant_id and o.data ->> 'document_id' = d.id::text
      left join task_logs g on g.tenant_id = d.tenant_id and g.task_id = d.id
    where d.id = any(${documents.map(({ id }) => id)}::uuid[])`;
  return documents.map(({ id }) => rows.filter((row) => row.id === id).map(({ made }) => made));
};

const WHOLE = ['ready 1 t t t 1 t 1 pipeline t t publishing'];
const NOTHING = ['queued'];

describe('documents of several scopes', () => {
  test('are published by one transaction, each whole and each its owner’s', async () => {
    const tasks = await publish(documents);
    expect(tasks.map((task) => task?.id)).toEqual(documents.map(({ id }) => id));
    expect(await found()).toEqual(documents.map(() => WHOLE));
    const counted = await admin<{ generation: number }[]>`
      select generation::int from corpus_generations where tenant_id = any(${documents.map(({ scope }) => scope.tenantId)}::uuid[])`;
    expect(counted).toHaveLength(2);
  });

  test('of which one is another attempt’s by now leave that one as it was', async () => {
    const [fenced] = documents;
    await admin`update tasks set attempt = 2 where id = ${fenced?.id ?? ''}`;
    const tasks = await publish(documents);
    expect(tasks.map((task) => task !== undefined)).toEqual(documents.map((document) => document !== fenced));
    expect(await found()).toEqual(documents.map((document) => (document === fenced ? NOTHING : WHOLE)));
  });

  test('are not another user’s or tenant’s to write', async () => {
    const [victim, , neighbour, , stranger] = documents;
    for (const thief of [neighbour, stranger]) {
      if (!victim || !thief) throw new Error('there are six documents');
      const stolen = { ...victim, scope: thief.scope };
      expect(await publish([stolen, thief])).toEqual([undefined, expect.objectContaining({ id: thief.id })]);
      const read = await runAs(thief.scope, () =>
        database.tenant((sql) => openDocuments(sql, [victim, thief].map(begunOf))),
      );
      expect(read.map((work) => work?.id)).toEqual([undefined, thief.id]);
    }
    expect((await found())[0]).toEqual(NOTHING);
  });

  test('are opened in company, and their tasks’ logs say so', async () => {
    const opened = await database.together((shared) =>
      withinScopes(
        shared,
        documents.map((document) => ({ item: begunOf(document), scope: document.scope })),
        openDocuments,
      ),
    );
    expect(opened.map((work) => [work?.id, work?.private_to])).toEqual(
      documents.map(({ id, scope }) => [id, scope.userId]),
    );
    const logged = await admin<{ task_id: string }[]>`
      select task_id from task_logs where message = 'Attempt 1 began.' and task_id = any(${documents.map(({ id }) => id)}::uuid[])`;
    expect(logged.map(({ task_id }) => task_id).sort()).toEqual(documents.map(({ id }) => id).sort());
    expect((await found()).flat()).toEqual(documents.map(() => 'processing'));
  });
});
