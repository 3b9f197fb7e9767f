/**
 * Bulk writing of chunks. A COPY into a table with policies is refused, whoever asks; so a batch is copied in binary form
 * to a temporary table of the transaction, and an INSERT … SELECT brings it under the policies. The embedded server
 * cannot COPY: there the batch is one statement's parameters.
 */

import type { Chunk } from '../contracts/index.ts';
import { type BinaryRows, createBinaryRows } from '../db/binary-copy.ts';
import { copyIn } from '../db/copy-in.ts';
import type { Sql } from '../db/database.ts';
import { type TextIndex, tsvectorBytes } from '../kernel/text/tsvector.ts';
import { insertVersions } from './chunks-together.ts';

/** A chunk with its vector, as one batch of a version writes them. */
export interface IndexedChunk extends Chunk {
  id: string;
  /** Its length in words is what BM25 normalises by. */
  index: TextIndex;
  /** SHA-256 of the embedded text. */
  contentHash: Uint8Array;
  /** `encodeHalfvec` of it. */
  embedding: Uint8Array;
}

export interface WrittenVersion {
  documentId: string;
  version: number;
  privateTo: string | null;
  spaceId: number;
}

/** Where every batch ends: chunks that are there already (of an attempt cut off after its commit) stay as they are. */
const insertBatch = (sql: Sql, batch: string, { documentId, version, privateTo, spaceId }: WrittenVersion) => sql`
  with new_chunks as (
    insert into chunks (id, document_id, version, ordinal, private_to, text, start_offset, end_offset, page, headings,
      tokens, terms, tsv)
    select id, ${documentId}, ${version}, ordinal, ${privateTo}, text, start_offset, end_offset, page, headings, tokens,
      terms, tsv
    from ${sql(batch)}
    on conflict (tenant_id, document_id, version, ordinal) do nothing
    returning id
  )
  insert into chunk_vectors (chunk_id, space_id, document_id, version, private_to, content_hash, embedding)
  select id, ${spaceId}, ${documentId}, ${version}, ${privateTo}, content_hash, embedding
  from ${sql(batch)} join new_chunks using (id)`;

/**
 * Writes a batch of a version that is not live, in the caller's transaction; false where `hold` says that it is not to be
 * written. `copies`: the server can COPY. `hold` takes the locks that the write needs, once the rows are at the server: in
 * the middle of a COPY no limit ends a transaction whose process stands still, so nothing is held by then.
 */
export async function insertChunks(
  sql: Sql,
  version: WrittenVersion,
  chunks: readonly IndexedChunk[],
  copies: boolean,
  hold: () => Promise<boolean> = async () => true,
): Promise<boolean> {
  const batch = copies && chunks.length > 0 ? await copyBatch(sql, chunks) : undefined;
  if (!(await hold())) return false;
  if (batch !== undefined) await insertBatch(sql, batch, version);
  else await insertVersions(sql, version.spaceId, [{ ...version, chunks }]);
  return true;
}

function copyBatch(sql: Sql, chunks: readonly IndexedChunk[]): Promise<string> {
  return copyIn(
    sql,
    {
      name: 'batch',
      columns: `id uuid, ordinal int, text text, start_offset int, end_offset int, page int, headings text[], tokens int,
        terms real, tsv tsvector, content_hash bytea, embedding halfvec`,
    },
    encode(chunks),
  );
}

function encode(chunks: readonly IndexedChunk[]): Uint8Array {
  const rows = createBinaryRows();
  for (const chunk of chunks) encodeRow(rows, chunk);
  return rows.end();
}

function encodeRow(rows: BinaryRows, chunk: IndexedChunk): void {
  rows.row(12);
  rows.uuid(chunk.id);
  rows.int4(chunk.ordinal);
  rows.text(chunk.text);
  rows.int4(chunk.start);
  rows.int4(chunk.end);
  if (chunk.page === null) rows.null();
  else rows.int4(chunk.page);
  rows.textArray(chunk.headings);
  rows.int4(chunk.tokens);
  rows.float4(chunk.index.length);
  rows.bytes(tsvectorBytes(chunk.index));
  rows.bytes(chunk.contentHash);
  rows.bytes(chunk.embedding);
}

/**
 * Vectors of this tenant for texts that were embedded before: content hash (hex) → `encodeHalfvec` of the vector. Leaves
 * `enable_sort` off for the rest of the caller's transaction.
 *
 * Every hash must be one step into `chunk_vectors_hash`. By statistics from before a tenant began to load, a walk over all
 * of its vectors along the primary key costs as little, and each batch would take longer than the one before it. So rows
 * are asked for in the index's order, which a walk could give only by a sort.
 */
export async function knownEmbeddings(
  sql: Sql,
  spaceId: number,
  hashes: readonly string[],
): Promise<Map<string, Uint8Array>> {
  await sql`set local enable_sort = off`;
  const rows = await sql<{ hash: string; embedding: Uint8Array }[]>`
    select h.hash, halfvec_send(known.embedding) as embedding
    from unnest(${[...hashes]}::text[]) as h(hash)
    cross join lateral (
      select embedding from chunk_vectors
      where tenant_id = current_setting('app.tenant_id')::uuid and space_id = ${spaceId}
        and content_hash >= decode(h.hash, 'hex') and content_hash <= decode(h.hash, 'hex')
      order by content_hash limit 1
    ) known`;
  return new Map(rows.map((row) => [row.hash, row.embedding]));
}
