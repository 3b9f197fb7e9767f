/** Versions of a document: new bytes that wait for theirs, and the publication that makes one the one that searches see. */
import type { Chunking } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { keepTexts } from './document-texts.ts';

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
  const [before] = await sql<{ original: string; shown: number[]; made: number[] }[]>`
    select coalesce(original_id, id) as original,
      array(select live_version where live_version is not null union
        select l.version from lexical_documents l join embedding_spaces e on e.cut = l.cut and e.activated_at is not null
        where l.tenant_id = current_setting('app.tenant_id')::uuid and l.document_id = ${id}) as shown,
      array(select v.version from document_versions v
        where v.tenant_id = current_setting('app.tenant_id')::uuid and v.document_id = ${id}) as made
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
  const shown = new Set(before?.shown).difference(new Set([version.number]));
  if (shown.size > 0) await keepTexts(sql, id, [...shown]);
  const unseen = new Set(before?.made).difference(shown).difference(new Set([version.number]));
  return { original: revised.length > 0 ? (before?.original ?? null) : null, versions: [...unseen] };
}

/** What published versions leave behind. */
export interface ReplacedVersion {
  /** Name of the blob of bytes that were replaced. */
  original: string | null;
  /** The versions whose text searches have never shown: those that were cut beside the live one, for a space to come. */
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
