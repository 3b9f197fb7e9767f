/**
 * Ingestion from accepted to found: 60 documents of 100 KB, 1,536 dimensions, a provider that answers at once
 * (`instant-embeddings.ts`). A server and a worker, as processes of their own. The worker stands still (SIGSTOP) while the
 * uploads are accepted; then it goes on, and the clock runs until every document is ready and a search has found the last
 * one. Chunks a second of that time: extraction, chunking, lexemes, embedding over HTTP, writing, publishing, announcing,
 * and the queue in between are in it; receiving the uploads is not.
 *
 * What a load puts off is not in it either, and is not had for nothing: once a tenant is quiet, the worker writes segments
 * of the text index (0.12 ms of PostgreSQL's processor time a chunk) and makes codes for vector search. Before the peers
 * are measured that is waited for, and then the worker stands still, so that it takes nothing from them.
 *
 * Beside it, each with the very rows that the pipeline wrote:
 * - raw COPY: binary COPY of the finished rows into tables with the same columns, storage and indexes, but no policies
 *   and no foreign keys, over one connection. Reading the documents, cutting them and buying vectors is no part of it.
 * - best path: the best that the policies allow, the same rows again: COPY to a temporary table, INSERT … SELECT as the
 *   tenant, in one transaction. No pipeline.
 * - LangChain from text to rows (`ingest-langchain.ts`): the same documents, cut, embedded by the same provider over HTTP and
 *   written; chunks a second are DreamHub's number of chunks over its time, so the ratio is that of documents a second.
 * - LangChain's PGVectorStore alone (`addVectors`, its own table, no vector index), given DreamHub's texts and vectors: no
 *   cutting, no provider, no full-text index, no policies.
 * - the same pipeline with an HNSW index on the vectors' table, which holds 10,000 vectors of another tenant already (random
 *   directions, pgvector's default parameters): fewer documents, because each vector must find its place in the graph. A
 *   graph of an installation in use is larger, and slower.
 */
import { join } from 'node:path';
import { PGVectorStore } from '@langchain/community/vectorstores/pgvector';
import { Document } from '@langchain/core/documents';
import { FakeEmbeddings } from '@langchain/core/utils/testing';
import pg from 'pg';
import postgres from 'postgres';
import { createBinaryRows } from '../../src/db/binary-copy.ts';
import { encodeHalfvec } from '../../src/kernel/halfvec.ts';
import { openLangchain } from './ingest-langchain.ts';
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
/** Vectors that the live index holds before. */
const INDEXED_VECTORS = { whole: 10_000, quick: 1_000 };
const DOCUMENT_BYTES = 100_000;
/** Chunks below which no segment is written for a tenant (`lexical-compactor.ts`). */
const LOOSE = 256;
const SETTLE_POLL_MS = 100;
/** Uploads at once, as a client with a few connections sends them. */
const CONNECTIONS = 6;
const POLL_MS = 10;
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
  about: `${DOCUMENTS.whole} documents of ${DOCUMENT_BYTES / 1_000} KB from accepted to found, beside ways to load their rows alone`,

  async run({ rounds, quick, progress }) {
    const size = quick ? DOCUMENTS.quick : DOCUMENTS.whole;
    await using services = await startServices();
    const { child, url } = await startProvider();
    await using _provider = child;
    const env = {
      ...services.env,
      EMBEDDING_BASE_URL: url,
      EMBEDDING_API_KEYS: 'instant',
      EMBEDDING_MODEL: 'instant',
      EMBEDDING_DIMENSIONS: String(DIMENSIONS),
    };
    await using installation = await startInstallation({ ...env, DREAMHUB_ROLE: 'server' });
    await using worker = await startInstallation({ ...env, DREAMHUB_ROLE: 'worker' });
    const standStill = () => void process.kill(worker.pid, 'SIGSTOP');
    const goOn = () => void process.kill(worker.pid, 'SIGCONT');
    const admin = postgres(services.database.adminUrl, { max: 1, onnotice: () => {} });
    let seed = 0;
    let last: { tenant: Tenant; texts: readonly string[] } | undefined;

    async function pipeline(documents: number): Promise<Side> {
      seed += 1_000;
      const tenant = await registerTenant(installation.address, `ingest-${crypto.randomUUID().slice(0, 8)}`);
      const texts = Array.from({ length: documents }, (_, i) => proseOf(seed + i, DOCUMENT_BYTES, `mark${seed + i}x`));
      standStill();
      try {
        await uploadAll(installation, tenant, texts);
      } finally {
        goOn();
      }
      const started = performance.now();
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
      last = { tenant, texts };
      return { chunks: row?.chunks ?? 0, seconds };
    }

    /** What the load put off: segments, and codes of the vectors. */
    async function settled({ tenantId }: Tenant): Promise<void> {
      const until = performance.now() + PATIENCE_MS;
      for (;;) {
        const [row] = await admin<{ loose: number }[]>`
          select coalesce(sum(chunks) filter (where segment_id is null), 0)::int as loose from lexical_documents
          where tenant_id = ${tenantId}`;
        if ((row?.loose ?? 0) < LOOSE) return;
        if (performance.now() > until) throw new Error('The text index is not written.');
        await Bun.sleep(SETTLE_POLL_MS);
      }
    }

    progress('warming up');
    await pipeline(size);
    const space = await admin<{ id: number }[]>`select id from embedding_spaces where state = 'active'`;
    const vectors = `chunk_vectors_s${space[0]?.id}_0`;
    const before = await stageSeconds(worker);
    const tables = await openPeers(services.database, vectors);
    const langchain = await openLangchain({
      databaseUrl: services.database.adminUrl,
      embeddingsUrl: url,
      dimensions: DIMENSIONS,
    });
    await langchain.load(last ? last.texts : [], (work) => work());

    progress('the pipeline, and its rows by other ways');
    const sides = await interleave(rounds, {
      ours: async () => {
        const side = await pipeline(size);
        if (!last) throw new Error('there is no tenant');
        const { tenant, texts } = last;
        await settled(tenant);
        standStill();
        try {
          const whole: Side = { chunks: side.chunks, seconds: 0 };
          await langchain.load(texts, async (work) => {
            whole.seconds = (await timed(side.chunks, work)).seconds;
          });
          return { side, peers: { ...(await tables.load(tenant)), whole } };
        } finally {
          goOn();
        }
      },
    });
    const after = await stageSeconds(worker);

    progress('the pipeline into a live HNSW index');
    await tables.fill(quick ? INDEXED_VECTORS.quick : INDEXED_VECTORS.whole);
    await admin.unsafe(`set maintenance_work_mem = '512MB'`);
    await admin.unsafe(
      `create index bench_hnsw on ${vectors} using hnsw ((embedding::halfvec(${DIMENSIONS})) halfvec_cosine_ops)`,
    );
    const indexed: Side[] = [];
    for (let round = 0; round < Math.min(rounds, 2); round++) indexed.push(await pipeline(INDEXED_DOCUMENTS));
    await Promise.all([tables.close(), langchain.close()]);
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
      { label: 'from accepted to found', unit: 'chunks/s', values: ours },
      { label: 'raw COPY of the rows', unit: 'chunks/s', values: of('raw') },
      { label: 'the best path that the policies allow', unit: 'chunks/s', values: of('best') },
      { label: 'LangChain from text to rows', unit: 'chunks/s', values: of('whole') },
      { label: 'PGVectorStore alone, given the vectors', unit: 'chunks/s', values: of('langchain') },
      { label: 'from accepted to found, with a live HNSW index', unit: 'chunks/s', values: indexed.map(rateOf) },
      beside('beside raw COPY', of('raw'), 0.4),
      beside('beside the best path', of('best'), 0.8),
      beside('beside LangChain from text to rows', of('whole'), 7),
      beside('beside PGVectorStore alone', of('langchain'), 7),
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
  /** LangChain from text to rows. */
  whole: Side;
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

async function timed(chunks: number, work: () => Promise<unknown>): Promise<Side> {
  const started = performance.now();
  await work();
  return { chunks, seconds: (performance.now() - started) / 1_000 };
}

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

  async function load(tenant: Tenant): Promise<Omit<Peers, 'whole'>> {
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

  /** Vectors of a tenant of nobody's, without the chunks that they would be of. */
  async function fill(count: number): Promise<void> {
    const rows = createBinaryRows();
    const [space] = await sql<{ id: number }[]>`select id from embedding_spaces where state = 'active'`;
    const tenantId = crypto.randomUUID();
    const documentId = crypto.randomUUID();
    const int2 = new Uint8Array(2);
    for (let i = 0; i < count; i++) {
      const vector = Float32Array.from({ length: DIMENSIONS }, () => Math.random() + Math.random() - 1);
      const norm = Math.hypot(...vector);
      rows.row(Object.keys(VECTOR_FIELDS).length);
      for (const id of [tenantId, crypto.randomUUID()]) rows.uuid(id);
      rows.int4(space?.id ?? 0);
      rows.bytes(int2);
      rows.uuid(documentId);
      rows.int4(1);
      rows.null();
      rows.bytes(crypto.getRandomValues(new Uint8Array(32)));
      rows.bytes(encodeHalfvec(vector.map((value) => value / norm)));
    }
    await sql.begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      await copy(tx, `${vectors} (${VECTORS})`, rows.end());
    });
  }

  return {
    load,
    fill,
    async close() {
      await store.end();
      await sql.end();
    },
  };
}
