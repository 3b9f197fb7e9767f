/** How documents come in: accepted with their task in one statement, unless they are known already. */
import type { Chunking, DocumentStatus, DomainEventData, Visibility } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { hasRoom, type QueueLimits } from './admission.ts';

/** Where a document came from: what it is known by beside its bytes. */
export interface DocumentOrigin {
  /** Which item it is, of its source, of its parent, or of the caller's own system. Null: its bytes say what it is. */
  item: string | null;
  sourceId: string | null;
  /** The document that it was found in. */
  parentId: string | null;
}

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
  origin: DocumentOrigin;
  visibility: Visibility;
  metadata: Record<string, unknown>;
  /** Null: the installation's own way. */
  chunking: Chunking | null;
  priority: number;
  traceparent: string;
  /** Null: counted, whatever the limits. */
  limits: QueueLimits | null;
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
      insert into documents (id, visibility, title, filename, media_type, size, sha256, source_type, metadata, task_id,
        source_id, source_item, parent_id)
      values (${upload.documentId}, ${upload.visibility}, ${upload.title}, ${upload.filename}, ${upload.mediaType},
        ${upload.size}, decode(${upload.sha256}, 'hex'), ${upload.sourceType},
        ${sql.json(upload.metadata as never)}, ${upload.taskId}, ${upload.origin.sourceId},
        ${upload.origin.item}, ${upload.origin.parentId})
      on conflict do nothing
      returning id
    ), admission as (
      update tenant_load set outstanding = outstanding + 1, outstanding_bytes = outstanding_bytes + ${upload.size}
      where tenant_id = current_setting('app.tenant_id')::uuid and exists (select from new_document)
        ${upload.limits === null ? sql`` : sql`and ${hasRoom(sql, upload.size, upload.limits)}`}
      returning 1
    ), new_task as (
      insert into tasks (id, kind, document_id, private_to, priority, document_version, size, traceparent, chunking)
      select ${upload.taskId}, 'ingest', id, case when ${isPrivate} then current_setting('app.user_id')::uuid end,
        ${upload.priority}, 1, ${upload.size}, ${upload.traceparent},
        ${upload.chunking && sql.json(upload.chunking)}::jsonb
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
  /** Of the newest bytes, which may be those of a version that is still being built. */
  size: number;
  sha256: string;
}

/** The scope in which a document is known: its owner's where it is private. */
const scopeOf = (sql: Sql, visibility: Visibility) =>
  visibility === 'private'
    ? sql`current_setting('app.user_id')::uuid`
    : sql`'00000000-0000-0000-0000-000000000000'::uuid`;

/** The document with the same bytes in the same visibility scope and source, locked against another try at it. */
export async function findIdentical(
  sql: Sql,
  key: { sha256: string; sourceType: string; visibility: Visibility },
): Promise<KnownDocument | undefined> {
  const [document] = await sql<Omit<KnownDocument, 'task_status'>[]>`
    select d.id, d.task_id, d.status, d.title, d.size, encode(d.sha256, 'hex') as sha256 from documents d
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.sha256 = decode(${key.sha256}, 'hex')
      and d.source_type = ${key.sourceType} and d.source_item is null and d.status <> 'quarantined'
      and coalesce(d.private_to, '00000000-0000-0000-0000-000000000000'::uuid) = ${scopeOf(sql, key.visibility)}
    for update of d`;
  return document && withTask(sql, document);
}

export interface ItemKey {
  origin: DocumentOrigin;
  sourceType: string;
  visibility: Visibility;
}

/** Lets one transaction at a time decide about an item: whoever brings the same one waits here, holding nothing else. */
export async function lockItem(sql: Sql, { origin, sourceType }: ItemKey): Promise<void> {
  const name = [origin.sourceId ?? origin.parentId ?? '', sourceType, origin.item ?? ''].join('\n');
  await sql`
    select pg_advisory_xact_lock(hashtextextended(current_setting('app.tenant_id') || ${name}, 0))`;
}

/** The document of an item in the same visibility scope. Not locked: an attempt takes its task before its document. */
export async function findItem(
  sql: Sql,
  { origin, sourceType, visibility }: ItemKey,
): Promise<KnownDocument | undefined> {
  const [document] = await sql<Omit<KnownDocument, 'task_status'>[]>`
    select d.id, d.task_id, d.status, d.title, coalesce(r.size, d.size) as size,
      encode(coalesce(r.sha256, d.sha256), 'hex') as sha256
    from documents d left join document_revisions r on r.tenant_id = d.tenant_id and r.document_id = d.id
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.source_item = ${origin.item}
      and d.source_type = ${sourceType}
      and coalesce(d.source_id, d.parent_id, '00000000-0000-0000-0000-000000000000'::uuid) =
        coalesce(${origin.sourceId}::uuid, ${origin.parentId}::uuid, '00000000-0000-0000-0000-000000000000'::uuid)
      and coalesce(d.private_to, '00000000-0000-0000-0000-000000000000'::uuid) = ${scopeOf(sql, visibility)}`;
  return document && withTask(sql, document);
}

/** A statement of its own: the one that waits for a lock still sees the tasks of before it. */
async function withTask(sql: Sql, document: Omit<KnownDocument, 'task_status'>): Promise<KnownDocument> {
  const [task] = await sql<{ status: string }[]>`
    select status from tasks where tenant_id = current_setting('app.tenant_id')::uuid and id = ${document.task_id}`;
  return { ...document, task_status: task?.status ?? null };
}
