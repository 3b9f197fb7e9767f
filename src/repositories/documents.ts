import type { Chunking, DocumentResource, DocumentStatus, DomainEventData, Visibility } from '../contracts/index.ts';
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

type DocumentRow = Omit<DocumentResource, 'created_at' | 'error'> & {
  created_at: Date;
  error_code: string | null;
  error_message: string | null;
};

/**
 * Documents `d` with their version `s` that searches see where that is not the live one: it was cut beside it by another
 * pipeline, whose space is active now (`sql/0150_pipeline_versions.sql`).
 */
const documentsAsShown = (sql: Sql) => sql`documents d left join lateral (
    select v.version, v.pages, v.chunks, v.chunking
    from embedding_spaces e
    join lexical_documents l on l.tenant_id = d.tenant_id and l.document_id = d.id and l.cut = e.cut
    join document_versions v on v.tenant_id = l.tenant_id and v.document_id = l.document_id and v.version = l.version
    where e.state = 'active' and l.version <> d.live_version
  ) s on true`;

const columns = (sql: Sql) => sql`
  d.id, d.title, d.filename, d.media_type, d.size, encode(d.sha256, 'hex') as sha256, d.source_type, d.visibility,
  d.source_id, d.source_item, d.parent_id, coalesce(s.version, d.live_version) as version, d.metadata, d.status,
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

/** Names the blob of the bytes that searches show. */
export async function getOriginal(sql: Sql, id: string): Promise<string | undefined> {
  const [row] = await sql<{ original: string }[]>`
    select coalesce(original_id, id) as original from documents
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row?.original;
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

/** Nothing can be there of an earlier version, nor bytes that it replaces. */
export const FIRST_VERSION = 1;

/** A version and how it was made. */
export interface PublishedVersion {
  number: number;
  pages: number | null;
  chunks: number;
  /** As it was cut. */
  chunking: Chunking;
  /** As its uploader asked for. */
  wish: Chunking | null;
  /** What read and cut it (`pipelineVersion`). */
  pipeline: string;
}

/** What is there of other versions goes by a trigger. */
const showVersion = (sql: Sql, id: string, version: PublishedVersion) => sql`
  with made as (
    insert into document_versions (document_id, version, private_to, pipeline, pages, chunks, chunking, wish)
    select id, ${version.number}, private_to, ${version.pipeline}, ${version.pages}::int, ${version.chunks},
      ${sql.json(version.chunking)}, ${version.wish && sql.json(version.wish)}::jsonb
    from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
    on conflict (tenant_id, document_id, version) do nothing
  )
  update documents set live_version = ${version.number}, status = 'ready', pages = ${version.pages},
    chunks = ${version.chunks}, chunking = ${sql.json(version.chunking)}, error_code = null, error_message = null, updated_at = now()
  where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;

/** Makes a version the one that searches see. Returns the blobs that nobody needs any more once this is committed. */
export async function publishVersion(sql: Sql, id: string, version: PublishedVersion): Promise<ReplacedVersion> {
  if (version.number === FIRST_VERSION) {
    await showVersion(sql, id, version);
    return { original: null, versions: [] };
  }
  const [before] = await sql<{ original: string; live_version: number | null; versions: number[] }[]>`
    select coalesce(original_id, id) as original, live_version, array(
      select v.version from document_versions v
      where v.tenant_id = current_setting('app.tenant_id')::uuid and v.document_id = ${id}) as versions
    from documents
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} for update`;
  await showVersion(sql, id, version);
  const revised = await sql`
    with revision as (
      delete from document_revisions
      where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${id} and version = ${version.number}
      returning *
    )
    update documents d set original_id = r.original_id, title = r.title, filename = r.filename, media_type = r.media_type,
      size = r.size, sha256 = r.sha256, metadata = r.metadata
    from revision r where d.tenant_id = r.tenant_id and d.id = r.document_id
    returning 1`;
  const replaced = new Set([before?.live_version ?? version.number, ...(before?.versions ?? [])]);
  replaced.delete(version.number);
  return { original: revised.length > 0 ? (before?.original ?? null) : null, versions: [...replaced] };
}

/** What published versions leave behind. */
export interface ReplacedVersion {
  /** Name of the blob of bytes that were replaced. */
  original: string | null;
  /** The versions whose text was replaced: the one that was live, and those that were cut beside it. */
  versions: number[];
}

/** Gives a failed document another task; returns the version to build. */
export async function startNewVersion(sql: Sql, id: string, taskId: string): Promise<number | undefined> {
  const [row] = await sql<{ version: number }[]>`
    update documents set last_version = last_version + 1, task_id = ${taskId},
      status = case when live_version is null then 'queued' else status end,
      error_code = null, error_message = null, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
    returning last_version as version`;
  // Bytes that wait to be published are what the new version is made of.
  if (row) {
    await sql`
      update document_revisions set version = ${row.version}
      where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${id}`;
  }
  return row?.version;
}

/** New bytes of an item, in a blob of their own. */
export interface NewBytes {
  version: number;
  originalId: string;
  title: string;
  filename: string;
  mediaType: string;
  size: number;
  sha256: string;
  metadata: Record<string, unknown>;
}

/**
 * Says what a document becomes when the version is published: at once where nothing of it is published yet. Returns the
 * name of the blob that these bytes replace, if nobody sees that one.
 */
export async function reviseDocument(sql: Sql, id: string, bytes: NewBytes): Promise<string | null> {
  const metadata = sql.json(bytes.metadata as never);
  const [before] = await sql<{ unseen: string | null; live: boolean }[]>`
    select case when d.live_version is null then coalesce(d.original_id, d.id) else r.original_id end as unseen,
      d.live_version is not null as live
    from documents d left join document_revisions r on r.tenant_id = d.tenant_id and r.document_id = d.id
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${id}`;
  if (before?.live) {
    await sql`
      insert into document_revisions (document_id, private_to, version, original_id, title, filename, media_type, size,
        sha256, metadata)
      select d.id, d.private_to, ${bytes.version}, ${bytes.originalId}, ${bytes.title}, ${bytes.filename},
        ${bytes.mediaType}, ${bytes.size}, decode(${bytes.sha256}, 'hex'), ${metadata}
      from documents d where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${id}
      on conflict (tenant_id, document_id) do update set version = excluded.version, original_id = excluded.original_id,
        title = excluded.title, filename = excluded.filename, media_type = excluded.media_type, size = excluded.size,
        sha256 = excluded.sha256, metadata = excluded.metadata, created_at = now()`;
  } else {
    await sql`
      update documents set original_id = ${bytes.originalId}, title = ${bytes.title}, filename = ${bytes.filename},
        media_type = ${bytes.mediaType}, size = ${bytes.size}, sha256 = decode(${bytes.sha256}, 'hex'),
        metadata = ${metadata}
      where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  }
  return before?.unseen ?? null;
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
