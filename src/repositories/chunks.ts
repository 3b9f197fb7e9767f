import type { ChunkResource } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

/** A chunk with its vector, as one batch of a version writes them. */
export interface IndexedChunk {
  id: string;
  ordinal: number;
  text: string;
  start: number;
  end: number;
  page: number | null;
  headings: string[];
  tokens: number;
  /** Length in words, two Chinese characters to a word: what BM25 normalises by. */
  terms: number;
  /** Text form of the tsvector. */
  tsv: string;
  /** SHA-256 of the embedded text, 64 hex digits. */
  contentHash: string;
  /** Text form of the halfvec, `[0.1,…]`. */
  embedding: string;
}

/**
 * Writes a batch of a version that is not live. Bulk by `unnest`, which works under row-level security and on the
 * embedded server alike; chunks that are there already (the batch of an attempt that was cut off after its commit) stay.
 */
export async function insertChunks(
  sql: Sql,
  version: { documentId: string; version: number; privateTo: string | null; spaceId: number },
  chunks: readonly IndexedChunk[],
): Promise<void> {
  const column = <T>(pick: (chunk: IndexedChunk) => T) => chunks.map(pick);
  await sql`
    with batch as (
      select * from unnest(
        ${column((c) => c.id)}::uuid[], ${column((c) => c.ordinal)}::int[], ${column((c) => c.text)}::text[],
        ${column((c) => c.start)}::int[], ${column((c) => c.end)}::int[], ${column((c) => c.page)}::int[],
        ${column((c) => JSON.stringify(c.headings))}::text[], ${column((c) => c.tokens)}::int[],
        ${column((c) => c.terms)}::real[], ${column((c) => c.tsv)}::text[], ${column((c) => c.contentHash)}::text[],
        ${column((c) => c.embedding)}::text[]
      ) as b(id, ordinal, text, start_offset, end_offset, page, headings, tokens, terms, tsv, content_hash, embedding)
    ), new_chunks as (
      insert into chunks (id, document_id, version, ordinal, private_to, text, start_offset, end_offset, page, headings,
        tokens, terms, tsv)
      select id, ${version.documentId}, ${version.version}, ordinal, ${version.privateTo}, text, start_offset, end_offset,
        page, array(select jsonb_array_elements_text(headings::jsonb)), tokens, terms, tsv::tsvector
      from batch order by ordinal
      on conflict (tenant_id, document_id, version, ordinal) do nothing
      returning id
    )
    insert into chunk_vectors (chunk_id, space_id, document_id, version, private_to, content_hash, embedding)
    select id, ${version.spaceId}, ${version.documentId}, ${version.version}, ${version.privateTo},
      decode(content_hash, 'hex'), embedding::halfvec
    from batch join new_chunks using (id)`;
}

/** What an earlier attempt has written of a version: the number of chunks and the text of the last one. */
export async function writtenChunks(
  sql: Sql,
  documentId: string,
  version: number,
): Promise<{ count: number; lastText: string | null }> {
  const [row] = await sql<{ ordinal: number; text: string }[]>`
    select ordinal, text from chunks
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version = ${version}
    order by ordinal desc limit 1`;
  return row ? { count: row.ordinal + 1, lastText: row.text } : { count: 0, lastText: null };
}

/** Deletes the rows of a version; their vectors go with them. */
export async function deleteVersion(sql: Sql, documentId: string, version: number): Promise<void> {
  await sql`
    delete from chunks
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version = ${version}`;
}

/** Deletes every version but the live one. */
export async function deleteOtherVersions(sql: Sql, documentId: string, live: number): Promise<void> {
  await sql`
    delete from chunks
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version <> ${live}`;
}

/** Vectors of this tenant for texts that were embedded before: content hash (hex) → text form of the halfvec. */
export async function knownEmbeddings(
  sql: Sql,
  spaceId: number,
  hashes: readonly string[],
): Promise<Map<string, string>> {
  const rows = await sql<{ hash: string; embedding: string }[]>`
    select distinct on (content_hash) encode(content_hash, 'hex') as hash, embedding::text as embedding
    from chunk_vectors
    where tenant_id = current_setting('app.tenant_id')::uuid and space_id = ${spaceId}
      and content_hash = any(array(select decode(h, 'hex') from unnest(${[...hashes]}::text[]) h))`;
  return new Map(rows.map((row) => [row.hash, row.embedding]));
}

/** Chunks of the live version in reading order. */
export async function listChunks(
  sql: Sql,
  documentId: string,
  page: { limit: number; after: number },
): Promise<ChunkResource[]> {
  return sql<ChunkResource[]>`
    select c.id, c.ordinal, c.page, c.start_offset as start, c.end_offset as "end", c.headings, c.text, c.tokens
    from chunks c join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id and d.live_version = c.version
    where c.tenant_id = current_setting('app.tenant_id')::uuid and c.document_id = ${documentId} and c.ordinal > ${page.after}
    order by c.ordinal limit ${page.limit}`;
}
