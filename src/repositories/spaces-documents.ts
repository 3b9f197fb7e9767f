/** One document's vectors in a space that is built beside, and one question's shadow read: in the tenant's scope. */
import type { Sql } from '../db/database.ts';
import { halfvecText } from '../kernel/halfvec.ts';

export interface UnembeddedChunk {
  id: string;
  text: string;
  headings: string[];
}

export interface DocumentVersion {
  documentId: string;
  version: number;
  spaceId: number;
}

/**
 * The next chunks of a version that have no vector in the space, in reading order. The vectors are read at once: a
 * join walks all of the tenant's once a chunk where statistics are older than its rows.
 */
export async function chunksWithoutVector(
  sql: Sql,
  { documentId, version, spaceId }: DocumentVersion,
  limit: number,
): Promise<UnembeddedChunk[]> {
  return sql<UnembeddedChunk[]>`
    select c.id, c.text, c.headings from chunks c
    where c.tenant_id = current_setting('app.tenant_id')::uuid and c.document_id = ${documentId} and c.version = ${version}
      and c.id not in (
        select v.chunk_id from chunk_vectors v
        where v.tenant_id = current_setting('app.tenant_id')::uuid and v.document_id = ${documentId}
          and v.version = ${version} and v.space_id = ${spaceId}
      )
    order by c.ordinal limit ${limit}`;
}

export interface NewVector {
  chunkId: string;
  contentHash: Uint8Array;
  /** `encodeHalfvec` of it. */
  embedding: Uint8Array;
}

/**
 * Writes vectors of chunks that are still there: a chunk that was deleted since has none, and one that somebody else has
 * written stays.
 */
export async function insertVectors(
  sql: Sql,
  { documentId, version, spaceId }: DocumentVersion,
  vectors: readonly NewVector[],
): Promise<void> {
  await sql`
    insert into chunk_vectors (chunk_id, space_id, document_id, version, private_to, content_hash, embedding)
    select c.id, ${spaceId}, c.document_id, c.version, c.private_to, decode(b.hash, 'hex'), b.embedding::halfvec
    from unnest(${vectors.map(({ chunkId }) => chunkId)}::uuid[],
      ${vectors.map(({ contentHash }) => Buffer.from(contentHash).toString('hex'))}::text[],
      ${vectors.map(({ embedding }) => halfvecText(embedding))}::text[]) as b(id, hash, embedding)
    join chunks c on c.tenant_id = current_setting('app.tenant_id')::uuid and c.id = b.id
      and c.document_id = ${documentId} and c.version = ${version}
    on conflict do nothing`;
}

/**
 * Records that a version is whole in the space, and that the space's cut shows it; false where it is not whole, or `live`
 * is not the live one any more. The document's row is held meanwhile, so a publication comes before or after.
 */
export async function recordWhole(
  sql: Sql,
  { documentId, version, spaceId, live }: DocumentVersion & { live: number },
): Promise<boolean> {
  const rows = await sql`
    with held as materialized (
      select d.id, d.private_to from documents d
      where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${documentId} and d.live_version = ${live}
      for share
    ), whole as (
    insert into document_spaces (document_id, space_id, version, private_to, chunks)
    select held.id, ${spaceId}::int, ${version}::int, held.private_to, counted.vectors
    from held cross join lateral (
      select count(*)::int as chunks, count(v.chunk_id)::int as vectors from chunks c
      left join chunk_vectors v on v.tenant_id = c.tenant_id and v.chunk_id = c.id and v.space_id = ${spaceId}
      where c.tenant_id = current_setting('app.tenant_id')::uuid and c.document_id = held.id and c.version = ${version}
    ) counted
    where counted.chunks = counted.vectors and counted.chunks > 0
    on conflict (tenant_id, document_id, space_id) do nothing
    returning document_id, version, private_to, chunks
    ), indexed as (
      insert into lexical_documents as l (document_id, version, private_to, chunks, cut)
      select whole.document_id, whole.version, whole.private_to, whole.chunks, e.cut
      from whole join embedding_spaces e on e.id = ${spaceId} and e.state <> 'retired'
      on conflict (tenant_id, document_id, cut) do update
        set version = excluded.version, private_to = excluded.private_to, chunks = excluded.chunks, segment_id = null
        where l.version <> excluded.version
    )
    select 1 from whole`;
  return rows.length > 0;
}

/** Adds one comparison, or one that failed, to what is told of a space. */
export async function addShadow(
  sql: Sql,
  spaceId: number,
  seen: { overlap: number; agreement: number } | undefined,
): Promise<void> {
  const { overlap, agreement } = seen ?? { overlap: 0, agreement: 0 };
  await sql`
    insert into space_shadows as s (space_id, compared, overlap, agreement, failed)
    values (${spaceId}, ${seen ? 1 : 0}, ${overlap}, ${agreement}, ${seen ? 0 : 1})
    on conflict (tenant_id, space_id) do update set compared = s.compared + excluded.compared,
      overlap = s.overlap + excluded.overlap, agreement = s.agreement + excluded.agreement, failed = s.failed + excluded.failed`;
}

export interface ChunkPlace {
  id: string;
  documentId: string;
  start: number;
  end: number;
}

/** Where these chunks stand in their texts, those that are still there. */
export async function readPlaces(sql: Sql, ids: readonly string[]): Promise<ChunkPlace[]> {
  return sql<ChunkPlace[]>`
    select id, document_id as "documentId", start_offset as start, end_offset as "end" from chunks
    where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${[...ids]}::uuid[])`;
}
