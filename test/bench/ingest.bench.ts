/**
 * Ingestion from upload to search: 60 documents of 100 KB, 1,536 dimensions, a provider that answers at once
 * (`instant-embeddings.ts`). Chunks a second, from the first byte sent to the moment when every document is ready and a
 * search has found the last one; everything is in it: HTTP, blobs, extraction, chunking, lexemes, embedding over HTTP,
 * writing, publishing, and the queue in between.
 *
 * Beside it, each with the very rows that the pipeline wrote:
 * - raw COPY: binary COPY of the finished rows into tables with the same columns, storage and indexes, but no policies
 *   and no foreign keys, over one connection. Reading the documents, cutting them and buying vectors is no part of it.
 * - best path: the best that the policies allow, the same rows again: COPY to a temporary table, INSERT … SELECT as the
 *   tenant, in one transaction. No pipeline.
 * - LangChain's PGVectorStore (`addVectors`, its own table, no vector index), given texts and vectors: no cutting, no
 *   full-text index, no policies.
 * - the same pipeline with an HNSW index on the vectors' table, of fewer documents (a small graph is the quicker one).
 */
import { join } from 'node:path';
import { PGVectorStore } from '@langchain/community/vectorstores/pgvector';
import { Document } from '@langchain/core/documents';
import { FakeEmbeddings } from '@langchain/core/utils/testing';
import pg from 'pg';
import postgres from 'postgres';
import { createBinaryRows } from '../../src/db/binary-copy.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { startChild } from './support/child.ts';
import { type Installation, startInstallation } from './support/installation.ts';
import { proseOf } from './support/prose.ts';
import { interleave, ratios } from './support/rounds.ts';
import { startServices } from './support/services.ts';
import { registerTenant, type Tenant } from './support/tenants.ts';

const DIMENSIONS = 1_536;
/** `quick`: with `--quick`. */
const DOCUMENTS = { whole: 60, quick: 12 };
const INDEXED_DOCUMENTS = 6;
const DOCUMENT_BYTES = 100_000;
/** Uploads at once, as a client with a few connections sends them. */
const CONNECTIONS = 6;
const POLL_MS = 5;
const PATIENCE_MS = 300_000;
const STAGES = ['extracting', 'chunking', 'embedding', 'publishing'] as const;

async function startProvider() {
  const told = Promise.withResolvers<string>();
  const child = startChild({
    script: join(import.meta.dir, 'instant-embeddings.ts'),
    env: { DIMENSIONS: String(DIMENSIONS) },
    onMessage: (message) => told.resolve((message as { url: string }).url),
  });
  return { child, url: await told.promise };
}

async function uploadAll({ address }: Installation, { token }: Tenant, texts: readonly string[]): Promise<void> {
  const queue = [...texts.entries()];
  const send = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const form = new FormData();
      form.append('file', new Blob([next[1]]), `document-${next[0]}.md`);
      const answer = await fetch(`${address}/api/v1/upload`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        body: form,
      });
      if (answer.status !== 202) throw new Error(`An upload answered ${answer.status}: ${await answer.text()}`);
      await answer.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, send));
}

async function find({ address }: Installation, { token }: Tenant, query: string): Promise<boolean> {
  const answer = await fetch(`${address}/api/v1/search`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, top_k: 3 }),
  });
  const { results } = (await answer.json()) as { results: { text: string }[] };
  return results.some(({ text }) => text.includes(query));
}

interface Side {
  chunks: number;
  seconds: number;
}
const rateOf = ({ chunks, seconds }: Side): number => chunks / seconds;

/** Seconds that each stage has taken in all, of all pipelines together. */
async function stageSeconds({ address }: Installation): Promise<Map<string, number>> {
  const text = await (await fetch(`${address}/metrics`)).text();
  const found = text.matchAll(/^dreamhub_task_seconds_sum\{[^}]*stage="(\w+)"\} ([\d.e+-]+)$/gm);
  return new Map(Array.from(found, ([, stage = '', seconds]) => [stage, Number(seconds)]));
}

export const benchmark: Benchmark = {
  name: 'ingest',
  about: `${DOCUMENTS.whole} documents of ${DOCUMENT_BYTES / 1_000} KB from upload to search, beside ways to load their rows alone`,

  async run({ rounds, quick, progress }) {
    const size = quick ? DOCUMENTS.quick : DOCUMENTS.whole;
    await using services = await startServices();
    const { child, url } = await startProvider();
    await using _provider = child;
    await using installation = await startInstallation({
      ...services.env,
      EMBEDDING_BASE_URL: url,
      EMBEDDING_API_KEYS: 'instant',
      EMBEDDING_MODEL: 'instant',
      EMBEDDING_DIMENSIONS: String(DIMENSIONS),
    });
    const admin = postgres(services.database.adminUrl, { max: 1, onnotice: () => {} });
    let seed = 0;
    let last: Tenant | undefined;

    async function pipeline(documents: number): Promise<Side> {
      seed += 1_000;
      const tenant = await registerTenant(installation.address, `ingest-${crypto.randomUUID().slice(0, 8)}`);
      const texts = Array.from({ length: documents }, (_, i) => proseOf(seed + i, DOCUMENT_BYTES, `mark${seed + i}x`));
      const started = performance.now();
      await uploadAll(installation, tenant, texts);
      for (let ready = 0; ready < documents; ) {
        const [row] = await admin<{ ready: number; failed: number }[]>`
          select count(*) filter (where status = 'ready')::int as ready, count(*) filter (where status = 'failed')::int as failed
          from documents where tenant_id = ${tenant.tenantId}`;
        ready = row?.ready ?? 0;
        if (row?.failed) throw new Error('A document failed.');
        if (performance.now() - started > PATIENCE_MS) throw new Error(`Only ${ready} documents are ready.`);
        if (ready < documents) await Bun.sleep(POLL_MS);
      }
      if (!(await find(installation, tenant, `mark${seed + documents - 1}x`)))
        throw new Error('The last is not found.');
      const seconds = (performance.now() - started) / 1_000;
      const [row] = await admin<{ chunks: number }[]>`
        select count(*)::int as chunks from chunks where tenant_id = ${tenant.tenantId}`;
      last = tenant;
      return { chunks: row?.chunks ?? 0, seconds };
    }

    progress('warming up');
    await pipeline(Math.ceil(size / 4));
    const space = await admin<{ id: number }[]>`select id from embedding_spaces where state = 'active'`;
    const vectors = `chunk_vectors_s${space[0]?.id}_0`;
    const before = await stageSeconds(installation);
    const tables = await openPeers(services.database, vectors);

    progress('the pipeline, and its rows by other ways');
    const sides = await interleave(rounds, {
      ours: async () => {
        const side = await pipeline(size);
        if (!last) throw new Error('there is no tenant');
        return { side, peers: await tables.load(last) };
      },
    });
    const after = await stageSeconds(installation);

    progress('the pipeline into a live HNSW index');
    await admin.unsafe(
      `create index bench_hnsw on ${vectors} using hnsw ((embedding::halfvec(${DIMENSIONS})) halfvec_cosine_ops)`,
    );
    const indexed: Side[] = [];
    for (let round = 0; round < Math.min(rounds, 2); round++) indexed.push(await pipeline(INDEXED_DOCUMENTS));
    await tables.close();
    await admin.end();

    const ours = sides.ours.map(({ side }) => rateOf(side));
    const of = (name: keyof Peers) => sides.ours.map(({ peers }) => rateOf(peers[name]));
    const spent = STAGES.map((stage) => (after.get(stage) ?? 0) - (before.get(stage) ?? 0));
    const all = spent.reduce((sum, one) => sum + one, 0);
    const beside = (label: string, peer: number[], atLeast: number): Row => ({
      label,
      unit: 'ratio',
      values: ratios(ours, peer),
      target: { atLeast },
    });
    return [
      { label: 'from upload to search', unit: 'chunks/s', values: ours },
      { label: 'raw COPY of the rows', unit: 'chunks/s', values: of('raw') },
      { label: 'the best path that the policies allow', unit: 'chunks/s', values: of('best') },
      { label: 'LangChain PGVectorStore', unit: 'chunks/s', values: of('langchain') },
      { label: 'from upload to search, with a live HNSW index', unit: 'chunks/s', values: indexed.map(rateOf) },
      beside('beside raw COPY', of('raw'), 0.4),
      beside('beside the best path', of('best'), 0.8),
      beside('beside LangChain', of('langchain'), 7),
      beside(
        'beside the live HNSW index',
        sides.ours.map((_, i) => rateOf(indexed[i % indexed.length] ?? { chunks: 0, seconds: 1 })),
        25,
      ),
      ...STAGES.map(
        (stage, i): Row => ({ label: `share of ${stage}`, unit: 'ratio', values: [(spent[i] ?? 0) / all] }),
      ),
    ];
  },
};

interface Peers {
  raw: Side;
  best: Side;
  langchain: Side;
}

/** Columns, and what sends their types. */
type Fields = Readonly<Record<string, string>>;
const CHUNK_FIELDS: Fields = {
  tenant_id: 'uuid_send',
  id: 'uuid_send',
  document_id: 'uuid_send',
  version: 'int4send',
  ordinal: 'int4send',
  private_to: 'uuid_send',
  text: 'textsend',
  start_offset: 'int4send',
  end_offset: 'int4send',
  page: 'int4send',
  headings: 'array_send',
  tokens: 'int4send',
  terms: 'float4send',
  tsv: 'tsvectorsend',
};
const VECTOR_FIELDS: Fields = {
  tenant_id: 'uuid_send',
  chunk_id: 'uuid_send',
  space_id: 'int4send',
  shard: 'int2send',
  document_id: 'uuid_send',
  version: 'int4send',
  private_to: 'uuid_send',
  content_hash: 'byteasend',
  embedding: 'halfvec_send',
};
const CHUNKS = Object.keys(CHUNK_FIELDS).join(', ');
const VECTORS = Object.keys(VECTOR_FIELDS).join(', ');

/** Tables for the peers, and the rows of a tenant by each way. */
async function openPeers({ adminUrl }: { adminUrl: string }, vectors: string) {
  const sql = postgres(adminUrl, { max: 1, onnotice: () => {} });
  const pool = new pg.Pool({ connectionString: adminUrl, max: 4 });
  // `like` copies columns, defaults, storage, checks and indexes; foreign keys and policies it does not.
  await sql.unsafe(`
    create table bench_chunks (like chunks including all);
    create table bench_vectors (like ${vectors} including all)`);
  const store = await PGVectorStore.initialize(new FakeEmbeddings(), {
    pool,
    tableName: 'bench_langchain',
    dimensions: DIMENSIONS,
  });

  /** As a binary COPY: each field is asked for in the form in which its type is sent. */
  async function read(fields: Fields, table: string, { tenantId }: Tenant): Promise<Uint8Array> {
    const sent = Object.entries(fields).map(([name, send]) => `${send}(${name}) as ${name}`);
    const rows = await sql.unsafe<Record<string, Uint8Array | null>[]>(
      `select ${sent.join(', ')} from ${table} where tenant_id = '${tenantId}'
       order by document_id, ${table === 'chunks' ? 'ordinal' : 'chunk_id'}`,
    );
    const copied = createBinaryRows();
    for (const row of rows) {
      copied.row(sent.length);
      for (const value of Object.values(row)) {
        if (value === null) copied.null();
        else copied.bytes(value);
      }
    }
    return copied.end();
  }
  async function copy(on: postgres.Sql | postgres.TransactionSql, into: string, rows: Uint8Array): Promise<void> {
    const writer = await on.unsafe(`copy ${into} from stdin with (format binary)`).simple().writable();
    await new Promise<void>((resolve, reject) => {
      writer.on('error', reject);
      writer.end(rows, (error?: Error | null) => (error ? reject(error) : resolve()));
    });
  }

  async function timed(chunks: number, work: () => Promise<unknown>): Promise<Side> {
    const started = performance.now();
    await work();
    return { chunks, seconds: (performance.now() - started) / 1_000 };
  }

  async function load(tenant: Tenant): Promise<Peers> {
    const [texts, embeddings] = [
      await read(CHUNK_FIELDS, 'chunks', tenant),
      await read(VECTOR_FIELDS, 'chunk_vectors', tenant),
    ];
    const given = await sql<{ text: string; embedding: string }[]>`
      select c.text, v.embedding::text as embedding from chunks c join chunk_vectors v on v.tenant_id = c.tenant_id and v.chunk_id = c.id
      where c.tenant_id = ${tenant.tenantId}`;
    const count = given.length;
    const langchain = await timed(count, () =>
      store.addVectors(
        given.map(({ embedding }) => JSON.parse(embedding) as number[]),
        given.map(({ text }) => new Document({ pageContent: text, metadata: {} })),
      ),
    );
    const raw = await timed(count, async () => {
      await copy(sql, `bench_chunks (${CHUNKS})`, texts);
      await copy(sql, `bench_vectors (${VECTORS})`, embeddings);
    });
    // Their places are taken by the rows of the pipeline: those go first, and nothing else of the document.
    await sql`delete from chunks where tenant_id = ${tenant.tenantId}`;
    const best = await timed(count, () =>
      sql.begin(async (tx) => {
        await tx`select set_config('role', 'dreamhub_tenant', true), set_config('app.tenant_id', ${tenant.tenantId}, true),
          set_config('app.user_id', ${tenant.userId}, true)`;
        await tx.unsafe(`
          create temporary table new_chunks (like chunks) with (toast_tuple_target = 8160) on commit drop;
          create temporary table new_vectors (like chunk_vectors) with (toast_tuple_target = 8160) on commit drop`);
        await copy(tx, `new_chunks (${CHUNKS})`, texts);
        await copy(tx, `new_vectors (${VECTORS})`, embeddings);
        await tx.unsafe(`insert into chunks (${CHUNKS}) select ${CHUNKS} from new_chunks`);
        await tx.unsafe(`insert into chunk_vectors (${VECTORS}) select ${VECTORS} from new_vectors`);
      }),
    );
    await sql`truncate bench_chunks, bench_vectors`;
    await pool.query('truncate bench_langchain');
    return { raw, best, langchain };
  }

  return {
    load,
    async close() {
      await store.end();
      await sql.end();
    },
  };
}
