import type { DocumentResource, DocumentStatus, DomainEventData, Visibility } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { hasRoom, type QueueLimits } from './admission.ts';

export interface NewUpload {
  documentId: string;
  taskId: string;
  title: string;
  filename: string;
  mediaType: string;
  size: number;
  /** 64 hex digits. */
  sha256: string;
  sourceType: string;
  visibility: Visibility;
  metadata: Record<string, unknown>;
  priority: number;
  traceparent: string;
  limits: QueueLimits;
}

/**
 * Accepts an upload in one statement: the document, its task, its event, and the counter that admits it. `document` is false where
 * the same bytes are there already, `admitted` is false where the tenant's queue is full; then the caller rolls back.
 */
export async function acceptUpload(sql: Sql, upload: NewUpload): Promise<{ document: boolean; admitted: boolean }> {
  const isPrivate = upload.visibility === 'private';
  const { documentId, taskId, title, visibility, size } = upload;
  const event: DomainEventData['document.uploaded'] = {
    document_id: documentId,
    task_id: taskId,
    title,
    visibility,
    size,
  };
  const [row] = await sql<{ document: boolean; admitted: boolean }[]>`
    with new_document as (
      insert into documents (id, visibility, title, filename, media_type, size, sha256, source_type, metadata, task_id)
      values (${upload.documentId}, ${upload.visibility}, ${upload.title}, ${upload.filename}, ${upload.mediaType},
        ${upload.size}, decode(${upload.sha256}, 'hex'), ${upload.sourceType},
        ${sql.json(upload.metadata as never)}, ${upload.taskId})
      on conflict do nothing
      returning id
    ), admission as (
      update tenant_load set outstanding = outstanding + 1, outstanding_bytes = outstanding_bytes + ${upload.size}
      where tenant_id = current_setting('app.tenant_id')::uuid and exists (select from new_document)
        and ${hasRoom(sql, upload.size, upload.limits)}
      returning 1
    ), new_task as (
      insert into tasks (id, kind, document_id, private_to, priority, document_version, size, traceparent)
      select ${upload.taskId}, 'ingest', id, case when ${isPrivate} then current_setting('app.user_id')::uuid end,
        ${upload.priority}, 1, ${upload.size}, ${upload.traceparent}
      from new_document, admission
    ), told as (
      insert into outbox (type, data) select 'document.uploaded', ${sql.json(event as never)}
      from new_document, admission
    )
    select exists (select from new_document) as document, exists (select from admission) as admitted`;
  return row ?? { document: false, admitted: false };
}

export interface KnownDocument {
  id: string;
  task_id: string | null;
  status: DocumentStatus;
  task_status: string | null;
  title: string;
  size: number;
}

/** The document with the same bytes in the same visibility scope and source, locked against another try at it. */
export async function findIdentical(
  sql: Sql,
  key: { sha256: string; sourceType: string; visibility: Visibility },
): Promise<KnownDocument | undefined> {
  const [document] = await sql<Omit<KnownDocument, 'task_status'>[]>`
    select d.id, d.task_id, d.status, d.title, d.size from documents d
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.sha256 = decode(${key.sha256}, 'hex')
      and d.source_type = ${key.sourceType}
      and coalesce(d.private_to, '00000000-0000-0000-0000-000000000000'::uuid) =
        case when ${key.visibility} = 'private' then current_setting('app.user_id')::uuid
             else '00000000-0000-0000-0000-000000000000'::uuid end
    for update of d`;
  if (!document) return undefined;
  // A statement of its own: the one that waits for the lock still sees the tasks of before it.
  const [task] = await sql<{ status: string }[]>`
    select status from tasks where tenant_id = current_setting('app.tenant_id')::uuid and id = ${document.task_id}`;
  return { ...document, task_status: task?.status ?? null };
}

type DocumentRow = Omit<DocumentResource, 'created_at' | 'error'> & {
  created_at: Date;
  error_code: string | null;
  error_message: string | null;
};

const columns = (sql: Sql) => sql`
  d.id, d.title, d.filename, d.media_type, d.size, encode(d.sha256, 'hex') as sha256, d.source_type, d.visibility,
  d.metadata, d.status, d.pages, d.chunks, d.task_id, d.error_code, d.error_message, d.created_at`;

function toResource({ error_code, error_message, created_at, ...row }: DocumentRow): DocumentResource {
  return {
    ...row,
    error: error_code === null ? null : { code: error_code, message: error_message ?? '' },
    created_at: created_at.toISOString(),
  };
}

export async function getDocument(sql: Sql, id: string): Promise<DocumentResource | undefined> {
  const [row] = await sql<DocumentRow[]>`
    select ${columns(sql)} from documents d
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
    select ${columns(sql)} from documents d
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
}

export async function getDocumentWork(sql: Sql, id: string): Promise<DocumentWork | undefined> {
  const [row] = await sql<DocumentWork[]>`
    select id, title, filename, media_type, live_version, private_to from documents
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row;
}

export async function setDocumentStatus(
  sql: Sql,
  id: string,
  status: DocumentStatus,
  error: { code: string; message: string } | null = null,
): Promise<void> {
  // A document with a live version stays ready while a newer one is being built.
  await sql`
    update documents set status = case when live_version is not null and ${status} = 'processing' then status else ${status} end,
      error_code = ${error?.code ?? null}, error_message = ${error?.message ?? null}, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

/**
 * Makes a document wait for its task again; false where a newer task has taken its place, which builds another version:
 * two at work at once would each delete what the other one writes.
 */
export async function requeueDocument(sql: Sql, id: string, taskId: string): Promise<boolean> {
  const rows = await sql`
    update documents set status = 'queued', error_code = null, error_message = null, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and task_id = ${taskId}
    returning 1`;
  return rows.length > 0;
}

/** Makes a version the one that searches see. */
export async function publishVersion(
  sql: Sql,
  id: string,
  version: { number: number; pages: number | null; chunks: number },
): Promise<void> {
  await sql`
    update documents set live_version = ${version.number}, status = 'ready', pages = ${version.pages},
      chunks = ${version.chunks}, error_code = null, error_message = null, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

/** Gives a failed document another task; returns the version to build. */
export async function startNewVersion(sql: Sql, id: string, taskId: string): Promise<number | undefined> {
  const [row] = await sql<{ version: number }[]>`
    update documents set last_version = last_version + 1, task_id = ${taskId},
      status = case when live_version is null then 'queued' else status end,
      error_code = null, error_message = null, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
    returning last_version as version`;
  return row?.version;
}

/** Deletes a document with its tasks, chunks and vectors; returns what was deleted. */
export async function deleteDocument(
  sql: Sql,
  id: string,
): Promise<{ title: string; last_version: number } | undefined> {
  const [row] = await sql<{ title: string; last_version: number }[]>`
    delete from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
    returning title, last_version`;
  return row;
}

/** The version whose text a reader sees. */
export async function getLiveVersion(sql: Sql, id: string): Promise<{ live_version: number | null } | undefined> {
  const [row] = await sql<{ live_version: number | null }[]>`
    select live_version from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row;
}
