/**
 * Versions that another pipeline cuts beside the live ones, in the tenant's scope. States of one: begun (its row has no
 * number of chunks; chunks are written a batch at a time) → finished → shown by a cut (`recordWhole`) → gone, with the
 * version it stands beside or with the last space of its cut. Whoever publishes deletes its row: so whoever holds the row
 * writes for a document that has not changed.
 */
import type { Chunking } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import type { Space } from '../db/spaces.ts';
import { deleteVersion } from './chunks.ts';
import { keepTexts } from './document-texts.ts';

export interface VersionChoice {
  live: number;
  /** The version that the space's cut shows. */
  shown: number | null;
  /** A version that the space's pipeline cut of the same bytes: the live one, or one beside it. */
  finished: number | null;
  /** One that it has begun. */
  begun: number | null;
  /** The pipeline cannot read it. */
  givenUp: boolean;
}

/** Undefined for a document that is gone. */
export async function readChoice(
  sql: Sql,
  documentId: string,
  { id, pipeline, cut }: Pick<Space, 'id' | 'pipeline' | 'cut'>,
): Promise<VersionChoice | undefined> {
  const [row] = await sql<VersionChoice[]>`
    select d.live_version as live, l.version as shown,
      (select max(v.version) from document_versions v
        where v.tenant_id = d.tenant_id and v.document_id = d.id and v.pipeline = ${pipeline} and v.chunks is not null
          and d.live_version in (v.version, v.beside)) as finished,
      (select max(v.version) from document_versions v
        where v.tenant_id = d.tenant_id and v.document_id = d.id and v.pipeline = ${pipeline} and v.chunks is null
          and v.beside = d.live_version) as begun,
      coalesce(f.given_up, false) as "givenUp"
    from documents d
    left join lexical_documents l on l.tenant_id = d.tenant_id and l.document_id = d.id and l.cut = ${cut}
    left join space_failures f on f.tenant_id = d.tenant_id and f.document_id = d.id and f.space_id = ${id}
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${documentId} and d.live_version is not null`;
  return row;
}

export interface BegunVersion {
  version: number;
  /** As its uploader asked for; null: as everybody's. */
  wish: Chunking | null;
}

/** Takes a number for a version beside the live one; undefined where another one is live by now. */
export async function beginVersion(
  sql: Sql,
  documentId: string,
  { live, pipeline }: { live: number; pipeline: string },
): Promise<BegunVersion | undefined> {
  const [taken] = await sql<{ version: number }[]>`
    update documents set last_version = last_version + 1
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${documentId} and live_version = ${live}
    returning last_version as version`;
  if (!taken) return undefined;
  const [row] = await sql<BegunVersion[]>`
    insert into document_versions (document_id, version, private_to, pipeline, beside, wish)
    select d.id, ${taken.version}, d.private_to, ${pipeline}, ${live}, coalesce(v.wish, t.chunking)
    from documents d
    left join document_versions v on v.tenant_id = d.tenant_id and v.document_id = d.id and v.version = ${live}
    left join lateral (
      select chunking from tasks t
      where t.tenant_id = d.tenant_id and t.document_id = d.id and t.document_version = ${live} and v.version is null
      limit 1
    ) t on true
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${documentId}
    returning version, wish`;
  return row;
}

/** Holds a begun version until the transaction ends; undefined where it was overtaken by a publication. */
export async function holdVersion(sql: Sql, documentId: string, version: number): Promise<BegunVersion | undefined> {
  const [row] = await sql<BegunVersion[]>`
    select version, wish from document_versions
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version = ${version}
      and chunks is null
    for update`;
  return row;
}

/** False where it was overtaken. */
export async function finishVersion(
  sql: Sql,
  documentId: string,
  { version, ...made }: { version: number; pages: number | null; chunks: number; chunking: Chunking },
): Promise<boolean> {
  const rows = await sql`
    update document_versions set pages = ${made.pages}::int, chunks = ${made.chunks}, chunking = ${sql.json(made.chunking)}
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version = ${version}
    returning 1`;
  return rows.length > 0;
}

/** Forgets a version that nobody is shown, with its chunks. */
export async function dropVersion(sql: Sql, documentId: string, version: number): Promise<void> {
  await deleteVersion(sql, documentId, version);
  await sql`
    delete from document_versions
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version = ${version}`;
}

export interface Failure {
  documentId: string;
  spaceId: number;
  code: string;
  /** For people. */
  message: string;
}

/** Counts a failure; at `mostAttempts` the document is given up: true then. */
export async function recordFailure(
  sql: Sql,
  { documentId, spaceId, code, message }: Failure,
  mostAttempts: number,
): Promise<boolean> {
  const [row] = await sql<{ given_up: boolean }[]>`
    insert into space_failures as f (document_id, space_id, private_to, given_up, code, message)
    select d.id, ${spaceId}, d.private_to, ${mostAttempts <= 1}, ${code}, ${message} from documents d
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${documentId}
    on conflict (tenant_id, document_id, space_id) do update set attempts = f.attempts + 1,
      given_up = f.given_up or f.attempts + 1 >= ${mostAttempts}, code = excluded.code, message = excluded.message,
      failed_at = now()
    returning given_up`;
  return row?.given_up ?? false;
}

/** A document that was read after all has not failed. */
export async function forgetFailure(sql: Sql, documentId: string, spaceId: number): Promise<void> {
  await sql`
    delete from space_failures
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and space_id = ${spaceId}`;
}

/**
 * Takes a document out of a cut that no space uses any more, and its version with it if no other cut shows that. Where it
 * was the live one, what searches have seen since the switch becomes it. A text that searches have shown is kept for the
 * answers that cite it. Returns the version whose text nobody was ever shown.
 */
export async function leaveCut(sql: Sql, documentId: string, cut: number): Promise<number | undefined> {
  await sql`select set_config('app.clearing', 'on', true)`;
  const [row] = await sql<
    { version: number | null; live: number; active: number | null; shared: boolean; seen: boolean }[]
  >`
    select l.version, d.live_version as live, a.version as active, exists (
        select from embedding_spaces e where e.cut = ${cut} and e.activated_at is not null) as seen, exists (
        select from lexical_documents o
        where o.tenant_id = d.tenant_id and o.document_id = d.id and o.cut <> ${cut} and o.version = l.version) as shared
    from documents d
    left join lexical_documents l on l.tenant_id = d.tenant_id and l.document_id = d.id and l.cut = ${cut}
    left join lexical_documents a on a.tenant_id = d.tenant_id and a.document_id = d.id
      and a.cut = (select e.cut from embedding_spaces e where e.state = 'active')
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${documentId}
    for update of d`;
  if (!row || row.version === null) return undefined;
  const { version, live, active, shared, seen } = row;
  await sql`
    delete from lexical_documents
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and cut = ${cut}`;
  if (shared) return undefined;
  if (version !== live) {
    await dropVersion(sql, documentId, version);
    if (!seen) return version;
    await keepTexts(sql, documentId, [version]);
    return undefined;
  }
  // A live version that nothing else shows stays: there is none to take its place.
  if (active === null) return undefined;
  await sql`
    update documents d set live_version = v.version, pages = v.pages, chunks = v.chunks, chunking = v.chunking
    from document_versions v
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${documentId}
      and v.tenant_id = d.tenant_id and v.document_id = d.id and v.version = ${active}`;
  await dropVersion(sql, documentId, version);
  await keepTexts(sql, documentId, [version]);
  return undefined;
}

/** Removes an audience's segments of a cut. */
export async function dropSegmentsOfCut(sql: Sql, cut: number): Promise<void> {
  await sql`
    delete from lexical_segments where tenant_id = current_setting('app.tenant_id')::uuid and cut = ${cut}`;
}
