/** Chunks and their vectors: written a batch at a time under a version that is not live, read of the live one. */
import type { ChunkResource } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

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

/** On which page the chunks of a version begin, first of each page, in reading order; empty where there are no pages. */
export async function listPageStarts(
  sql: Sql,
  documentId: string,
  version: number,
): Promise<{ page: number; start: number }[]> {
  return sql<{ page: number; start: number }[]>`
    select page, min(start_offset) as start from chunks
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version = ${version}
      and page is not null
    group by page order by start`;
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

/** Chunks of a version in reading order. */
export async function listChunks(
  sql: Sql,
  { documentId, version }: { documentId: string; version: number },
  page: { limit: number; after: number },
): Promise<ChunkResource[]> {
  return sql<ChunkResource[]>`
    select c.id, c.ordinal, c.page, c.start_offset as start, c.end_offset as "end", c.headings, c.text, c.tokens
    from chunks c
    where c.tenant_id = current_setting('app.tenant_id')::uuid and c.document_id = ${documentId} and c.version = ${version}
      and c.ordinal > ${page.after}
    order by c.ordinal limit ${page.limit}`;
}
