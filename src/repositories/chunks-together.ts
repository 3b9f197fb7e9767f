/** Chunks of several small versions by one statement, whose parameters they are: no table is copied to for a few rows. */
import type { TaskResource } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { halfvecText } from '../kernel/halfvec.ts';
import { tsvectorText } from '../kernel/text/tsvector.ts';
import type { IndexedChunk, WrittenVersion } from './chunks-write.ts';
import { type AttemptProgress, progressed, recordProgresses, type TaskRow, tasksOf } from './tasks.ts';

export interface VersionChunks extends Omit<WrittenVersion, 'spaceId'> {
  readonly chunks: readonly IndexedChunk[];
}

/**
 * Writes chunks and vectors of versions that are not live, into one space, in the caller's transaction, which holds their
 * tasks. Chunks that are there already (of an attempt cut off after its commit) stay as they are.
 */
export async function insertVersions(sql: Sql, spaceId: number, versions: readonly VersionChunks[]): Promise<void> {
  if (versions.some(({ chunks }) => chunks.length > 0)) await sql`${inserted(sql, spaceId, versions)} select 1`;
}

/**
 * The same of attempts at tasks, whose progress it records, and of those only that still own their tasks: these are held for
 * the rest of the transaction, and returned in the order of the attempts. One statement, so that nothing is held before all
 * that it brings is at the server. `spaceId` is null where nothing is to be written.
 */
export async function insertOwnVersions(
  sql: Sql,
  spaceId: number | null,
  attempts: readonly (AttemptProgress & VersionChunks)[],
): Promise<(TaskResource | undefined)[]> {
  if (attempts.every(({ chunks }) => chunks.length === 0)) return recordProgresses(sql, attempts);
  const rows = await sql<TaskRow[]>`${inserted(sql, spaceId, attempts, progressed(sql, attempts))} select * from held`;
  return tasksOf(rows, attempts);
}

/** The beginning of a statement. `held`: rows of the tasks whose documents it is about. */
function inserted(
  sql: Sql,
  spaceId: number | null,
  versions: readonly VersionChunks[],
  held?: ReturnType<typeof progressed>,
) {
  const rows = versions.flatMap(({ chunks, ...of }) => chunks.map((chunk) => ({ of, chunk })));
  const column = <T>(pick: (chunk: IndexedChunk, of: Omit<VersionChunks, 'chunks'>) => T) =>
    rows.map(({ chunk, of }) => pick(chunk, of));
  return sql`
    with ${held ? sql`held as (${held}),` : sql``} batch as materialized (
      select b.document_id, b.version, b.private_to, b.id, ordinal, text, start_offset, end_offset, page,
        array(select jsonb_array_elements_text(headings::jsonb)) as headings, tokens, terms, tsv::tsvector as tsv,
        decode(content_hash, 'hex') as content_hash, embedding::halfvec as embedding
      from unnest(
        ${column((_, of) => of.documentId)}::uuid[], ${column((_, of) => of.version)}::int[],
        ${column((_, of) => of.privateTo)}::uuid[],
        ${column((c) => c.id)}::uuid[], ${column((c) => c.ordinal)}::int[], ${column((c) => c.text)}::text[],
        ${column((c) => c.start)}::int[], ${column((c) => c.end)}::int[], ${column((c) => c.page)}::int[],
        ${column((c) => JSON.stringify(c.headings))}::text[], ${column((c) => c.tokens)}::int[],
        ${column((c) => c.index.length)}::real[], ${column((c) => tsvectorText(c.index))}::text[],
        ${column((c) => Buffer.from(c.contentHash).toString('hex'))}::text[],
        ${column((c) => halfvecText(c.embedding))}::text[]
      ) as b(document_id, version, private_to, id, ordinal, text, start_offset, end_offset, page, headings, tokens, terms,
        tsv, content_hash, embedding)
      ${held ? sql`where b.document_id in (select held.document_id from held)` : sql``}
    ), new_chunks as (
      insert into chunks (id, document_id, version, ordinal, private_to, text, start_offset, end_offset, page, headings,
        tokens, terms, tsv)
      select id, document_id, version, ordinal, private_to, text, start_offset, end_offset, page, headings, tokens, terms,
        tsv
      from batch
      on conflict (tenant_id, document_id, version, ordinal) do nothing
      returning id
    ), new_vectors as (
      insert into chunk_vectors (chunk_id, space_id, document_id, version, private_to, content_hash, embedding)
      select id, ${spaceId}, document_id, version, private_to, content_hash, embedding
      from batch join new_chunks using (id)
    )`;
}
