/**
 * Codes of the tenant's vectors (`vectors.ts` says what for): made, moved and removed a few documents at a time, in the
 * scope of whoever may see them. Each function takes the documents' rows first, shared, and passes over those that
 * somebody is publishing or deleting: so a code is never made for a version that is no longer live, and nobody is waited
 * for in two orders. A statement that was cut off leaves nothing; one that is repeated finds less to do.
 */
import type { Sql } from '../db/database.ts';

export interface Batch {
  documents: number;
  chunks: number;
}

/** Documents of the space whose codes are at `shard` (null: nowhere), as many as have about `mostChunks`, one at least. */
async function due(sql: Sql, spaceId: number, shard: number | null | 'any', mostChunks: number): Promise<string[]> {
  const where =
    shard === 'any' ? sql`s.shard is not null` : shard === null ? sql`s.shard is null` : sql`s.shard = ${shard}`;
  const rows = await sql<{ id: string }[]>`
    select id from (
      select s.document_id as id, sum(s.chunks) over (order by s.document_id) - s.chunks as before
      from (select s.document_id, s.chunks from document_spaces s
        where s.tenant_id = current_setting('app.tenant_id')::uuid and s.space_id = ${spaceId} and ${where}
        order by s.document_id limit 500) s) due
    where before < ${mostChunks}`;
  return rows.map(({ id }) => id);
}

const locked = (sql: Sql, ids: readonly string[]) => sql`
  select d.id from documents d where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = any(${[...ids]}::uuid[])
  order by d.id for share skip locked`;

const none: Batch = { documents: 0, chunks: 0 };

/** Makes codes, in shard 0, for documents that have none. Nothing done: there are none, or all are being changed. */
export async function encodeDocuments(sql: Sql, spaceId: number, mostChunks: number): Promise<Batch> {
  const ids = await due(sql, spaceId, null, mostChunks);
  if (ids.length === 0) return none;
  const [row] = await sql<Batch[]>`
    with locked as materialized (${locked(sql, ids)}),
    marked as (
      update document_spaces s set shard = 0 from locked
      where s.tenant_id = current_setting('app.tenant_id')::uuid and s.document_id = locked.id
        and s.space_id = ${spaceId} and s.shard is null
      returning s.document_id, s.version
    ), made as (
      insert into chunk_codes (document_id, chunk_id, space_id, shard, version, private_to, code)
      select v.document_id, v.chunk_id, v.space_id, 0, v.version, v.private_to, binary_quantize(v.embedding)::bit varying
      from marked m join chunk_vectors v on v.tenant_id = current_setting('app.tenant_id')::uuid
        and v.document_id = m.document_id and v.version = m.version and v.space_id = ${spaceId}
      order by v.document_id, v.chunk_id
      returning 1
    )
    select (select count(*) from marked)::int as documents, (select count(*) from made)::int as chunks`;
  return row ?? none;
}

/** Moves codes from one shard to another. */
export async function moveCodes(
  sql: Sql,
  spaceId: number,
  { from, to, mostChunks }: { from: number; to: number; mostChunks: number },
): Promise<Batch> {
  const ids = await due(sql, spaceId, from, mostChunks);
  if (ids.length === 0) return none;
  const [row] = await sql<Batch[]>`
    with locked as materialized (${locked(sql, ids)}),
    marked as (
      update document_spaces s set shard = ${to} from locked
      where s.tenant_id = current_setting('app.tenant_id')::uuid and s.document_id = locked.id
        and s.space_id = ${spaceId} and s.shard = ${from}
      returning s.document_id
    ), taken as (
      delete from chunk_codes c using marked m
      where c.tenant_id = current_setting('app.tenant_id')::uuid and c.document_id = m.document_id
        and c.space_id = ${spaceId} and c.shard = ${from}
      returning c.document_id, c.chunk_id, c.version, c.private_to, c.code
    ), moved as (
      insert into chunk_codes (document_id, chunk_id, space_id, shard, version, private_to, code)
      select document_id, chunk_id, ${spaceId}::int, ${to}::smallint, version, private_to, code from taken
      returning 1
    )
    select (select count(*) from marked)::int as documents, (select count(*) from moved)::int as chunks`;
  return row ?? none;
}

/** Removes codes wherever they are. */
export async function removeCodes(sql: Sql, spaceId: number, mostChunks: number): Promise<Batch> {
  const ids = await due(sql, spaceId, 'any', mostChunks);
  if (ids.length === 0) return none;
  const [row] = await sql<Batch[]>`
    with locked as materialized (${locked(sql, ids)}),
    marked as (
      update document_spaces s set shard = null from locked
      where s.tenant_id = current_setting('app.tenant_id')::uuid and s.document_id = locked.id
        and s.space_id = ${spaceId} and s.shard is not null
      returning s.document_id
    ), removed as (
      delete from chunk_codes c using marked m
      where c.tenant_id = current_setting('app.tenant_id')::uuid and c.document_id = m.document_id and c.space_id = ${spaceId}
      returning 1
    )
    select (select count(*) from marked)::int as documents, (select count(*) from removed)::int as chunks`;
  return row ?? none;
}

/** Vectors of up to `count` documents, one each, chosen at random, as text. */
export async function sampleVectors(sql: Sql, spaceId: number, count: number): Promise<string[]> {
  const rows = await sql<{ embedding: string }[]>`
    select v.embedding::text as embedding
    from (select s.document_id, s.version from document_spaces s
      where s.tenant_id = current_setting('app.tenant_id')::uuid and s.space_id = ${spaceId}
      order by random() limit ${count}) s
    cross join lateral (
      select embedding from chunk_vectors v
      where v.tenant_id = current_setting('app.tenant_id')::uuid and v.document_id = s.document_id
        and v.version = s.version and v.space_id = ${spaceId}
      order by random() limit 1) v`;
  return rows.map(({ embedding }) => embedding);
}

/** Those of the chunks that can still be found in the space: the others were deleted or replaced meanwhile. */
export async function chunksStillThere(sql: Sql, spaceId: number, chunkIds: readonly string[]): Promise<Set<string>> {
  const rows = await sql<{ id: string }[]>`
    select v.chunk_id as id from chunk_vectors v
    join document_spaces s on s.tenant_id = v.tenant_id and s.space_id = v.space_id
      and s.document_id = v.document_id and s.version = v.version
    where v.tenant_id = current_setting('app.tenant_id')::uuid and v.space_id = ${spaceId}
      and v.chunk_id = any(${[...chunkIds]}::uuid[])`;
  return new Set(rows.map(({ id }) => id));
}
