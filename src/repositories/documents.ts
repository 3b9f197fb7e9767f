import type { DocumentResource, DocumentStatus } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

type DocumentRow = Omit<DocumentResource, 'created_at' | 'error'> & {
  created_at: Date;
  error_code: string | null;
  error_message: string | null;
};

/**
 * Documents `d` with their version `s` that searches see where that is not the live one: it was cut beside it by another
 * pipeline, whose space is active now (`sql/0150_pipeline_versions.sql`).
 */
export const documentsAsShown = (sql: Sql) => sql`documents d left join lateral (
    select v.version, v.pages, v.chunks, v.chunking
    from embedding_spaces e
    join lexical_documents l on l.tenant_id = d.tenant_id and l.document_id = d.id and l.cut = e.cut
    join document_versions v on v.tenant_id = l.tenant_id and v.document_id = l.document_id and v.version = l.version
    where e.state = 'active' and l.version <> d.live_version
  ) s on true`;

const columns = (sql: Sql) => sql`
  d.id, d.owner_id, d.title, d.filename, d.media_type, d.size, encode(d.sha256, 'hex') as sha256, d.source_type,
  d.visibility, d.source_id, d.source_item, d.parent_id, coalesce(s.version, d.live_version) as version, d.metadata, d.status,
  case when s.version is null then d.pages else s.pages end as pages, coalesce(s.chunks, d.chunks) as chunks,
  coalesce(s.chunking, d.chunking) as chunking, d.task_id, d.error_code, d.error_message, d.created_at`;

function toResource({ error_code, error_message, created_at, ...row }: DocumentRow): DocumentResource {
  return {
    ...row,
    error: error_code === null ? null : { code: error_code, message: error_message ?? '' },
    created_at: created_at.toISOString(),
  };
}

export async function getDocument(sql: Sql, id: string): Promise<DocumentResource | undefined> {
  const [row] = await sql<DocumentRow[]>`
    select ${columns(sql)} from ${documentsAsShown(sql)}
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${id}`;
  return row && toResource(row);
}

export interface DocumentQuery {
  status?: string | undefined;
  source_type?: string | undefined;
  /** Part of title or filename, in any case. */
  q?: string | undefined;
  limit: number;
  /** Id of the last document of the page before. */
  after?: string | undefined;
}

/** Newest first. */
export async function listDocuments(sql: Sql, query: DocumentQuery): Promise<DocumentResource[]> {
  const like = query.q === undefined ? undefined : `%${query.q.replace(/[\\%_]/g, '\\$&')}%`;
  const rows = await sql<DocumentRow[]>`
    select ${columns(sql)} from ${documentsAsShown(sql)}
    where d.tenant_id = current_setting('app.tenant_id')::uuid
      ${query.status === undefined ? sql`` : sql`and d.status = ${query.status}`}
      ${query.source_type === undefined ? sql`` : sql`and d.source_type = ${query.source_type}`}
      ${like === undefined ? sql`` : sql`and (d.title ilike ${like} or d.filename ilike ${like})`}
      ${query.after === undefined ? sql`` : sql`and d.id < ${query.after}`}
    order by d.id desc limit ${query.limit}`;
  return rows.map(toResource);
}

/** What ingestion needs to know of a document. */
export interface DocumentWork {
  id: string;
  title: string;
  filename: string;
  media_type: string;
  live_version: number | null;
  private_to: string | null;
  /** Names the blob of its bytes. */
  original: string;
}

/** As it is or, where it is a version with bytes of its own, as it becomes when `version` is published. */
export async function getDocumentWork(sql: Sql, id: string, version?: number): Promise<DocumentWork | undefined> {
  const [row] = await sql<DocumentWork[]>`
    select d.id, coalesce(r.title, d.title) as title, coalesce(r.filename, d.filename) as filename,
      coalesce(r.media_type, d.media_type) as media_type, d.live_version, d.private_to,
      coalesce(r.original_id, d.original_id, d.id) as original
    from documents d left join document_revisions r
      on r.tenant_id = d.tenant_id and r.document_id = d.id and r.version = ${version ?? null}
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${id}`;
  return row;
}

/** Whose it is; undefined where it is not there for the ambient user. */
export async function getOwner(sql: Sql, id: string): Promise<string | undefined> {
  const [row] = await sql<{ owner_id: string }[]>`
    select owner_id from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row?.owner_id;
}

/** The bytes that searches show: the blob that they are in, and what is said of them, in one look. */
export interface OriginalFile {
  original: string;
  filename: string;
  media_type: string;
  size: number;
  status: DocumentStatus;
}

export async function getOriginal(sql: Sql, id: string): Promise<OriginalFile | undefined> {
  const [row] = await sql<OriginalFile[]>`
    select coalesce(original_id, id) as original, filename, media_type, size, status from documents
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row;
}

export async function setDocumentStatus(
  sql: Sql,
  id: string,
  status: DocumentStatus,
  error: { code: string; message: string } | null = null,
): Promise<void> {
  // A document with a live version stays ready while a newer one is being built, and when that one fails.
  await sql`
    update documents set status = case when live_version is not null then status else ${status} end,
      error_code = ${error?.code ?? null}, error_message = ${error?.message ?? null}, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

/**
 * Makes a document wait for its task again; false where a newer task has taken its place, which builds another version:
 * two at work at once would each delete what the other one writes.
 */
export async function requeueDocument(sql: Sql, id: string, taskId: string): Promise<boolean> {
  const rows = await sql`
    update documents set status = case when live_version is null then 'queued' else status end, error_code = null,
      error_message = null, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and task_id = ${taskId}
    returning 1`;
  return rows.length > 0;
}

export interface DeletedDocument {
  title: string;
  last_version: number;
  /** Names of the blobs of its bytes. */
  originals: string[];
}

/** Deletes a document with its tasks, chunks and vectors, and with the documents inside of it; returns what was deleted. */
export async function deleteDocument(sql: Sql, id: string): Promise<DeletedDocument | undefined> {
  const revisions = await sql<{ original: string }[]>`
    select original_id as original from document_revisions
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${id}`;
  const [row] = await sql<{ title: string; last_version: number; original: string }[]>`
    delete from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
    returning title, last_version, coalesce(original_id, id) as original`;
  if (!row) return undefined;
  const { original, ...deleted } = row;
  return { ...deleted, originals: [original, ...revisions.map((revision) => revision.original)] };
}

/**
 * Counts what the transaction has changed of the tenant's corpus now instead of at its end. Whoever goes on to change the tenant's
 * load calls it first: publications take the two rows in this order, and each would wait for the other.
 */
export async function countChanges(sql: Sql): Promise<void> {
  await sql`set constraints count_generation, count_change immediate`;
}

/** How many documents this one is inside of. */
export async function countAncestors(sql: Sql, id: string): Promise<number> {
  const [row] = await sql<{ depth: number }[]>`
    with recursive line as (
      select parent_id, 0 as depth from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
      union all
      select d.parent_id, l.depth + 1 from documents d join line l on d.id = l.parent_id
      where d.tenant_id = current_setting('app.tenant_id')::uuid
    )
    select max(depth) as depth from line`;
  return row?.depth ?? 0;
}

/** The documents that were found in this one itself. */
export async function listChildren(sql: Sql, id: string): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from documents where tenant_id = current_setting('app.tenant_id')::uuid and parent_id = ${id}`;
  return rows.map((row) => row.id);
}

/** A document and all that were found inside of it, at any depth: parents before children. */
export async function listFamily(sql: Sql, id: string): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    with recursive family as (
      select id, 0 as depth from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
      union all
      select d.id, f.depth + 1 from documents d join family f on d.parent_id = f.id
      where d.tenant_id = current_setting('app.tenant_id')::uuid
    )
    select id from family order by depth, id`;
  return rows.map((row) => row.id);
}

/** The version whose text a reader sees. */
export async function getLiveVersion(
  sql: Sql,
  id: string,
): Promise<{ live_version: number | null; media_type: string } | undefined> {
  const [row] = await sql<{ live_version: number | null; media_type: string }[]>`
    select coalesce(s.version, d.live_version) as live_version, d.media_type from ${documentsAsShown(sql)}
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${id}`;
  return row;
}
