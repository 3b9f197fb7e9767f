/**
 * Resumable uploads. A session: open → finished or failed. Whoever appends takes the session's next `writer` number, and a
 * part counts only while that number is the newest, so of two requests that append at once the later one goes on alone.
 */
import type { Failure, ResumableUpload, UploadReceipt } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

export interface UploadSession {
  id: string;
  size: number;
  received: number;
  status: ResumableUpload['status'];
  filename: string;
  metadata: string;
  fields: Record<string, string>;
  document_id: string | null;
  task_id: string | null;
  duplicate: boolean | null;
  error_kind: string | null;
  error_message: string | null;
  created_at: Date;
  expires_at: Date;
}

export interface UploadPart {
  start: number;
  size: number;
  writer: number;
}

const columns = (sql: Sql) => sql`
  id, size, received, status, filename, metadata, fields, document_id, task_id, duplicate, error_kind, error_message,
  created_at, expires_at`;

export type NewSession = Pick<UploadSession, 'id' | 'size' | 'filename' | 'metadata' | 'fields' | 'expires_at'>;

/** Undefined where the user has `most` open ones already. */
export async function insertSession(sql: Sql, session: NewSession, most: number): Promise<UploadSession | undefined> {
  const [row] = await sql<UploadSession[]>`
    insert into upload_sessions (id, size, filename, metadata, fields, expires_at)
    select ${session.id}, ${session.size}, ${session.filename}, ${session.metadata}, ${sql.json(session.fields as never)},
      ${session.expires_at}
    where (select count(*) from upload_sessions where tenant_id = current_setting('app.tenant_id')::uuid
      and user_id = current_setting('app.user_id')::uuid and status = 'open') < ${most}
    returning ${columns(sql)}`;
  return row;
}

/** Undefined for one that has expired, too. */
export async function getSession(sql: Sql, id: string, at: Date): Promise<UploadSession | undefined> {
  const [row] = await sql<UploadSession[]>`
    select ${columns(sql)} from upload_sessions
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and expires_at > ${at}`;
  return row;
}

/** Takes the turn to append at an offset; undefined where the session is not open or has another offset by now. */
export async function beginAppending(
  sql: Sql,
  id: string,
  { offset, expiresAt }: { offset: number; expiresAt: Date },
): Promise<number | undefined> {
  const [row] = await sql<{ writer: number }[]>`
    update upload_sessions set writer = writer + 1, expires_at = ${expiresAt}
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and status = 'open' and received = ${offset}
    returning writer`;
  return row?.writer;
}

/** Keeps a part; false where another request has taken the turn. */
export async function appendPart(sql: Sql, id: string, part: UploadPart, expiresAt: Date): Promise<boolean> {
  const rows = await sql`
    with session as (
      update upload_sessions set received = received + ${part.size}, expires_at = ${expiresAt}
      where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and status = 'open'
        and writer = ${part.writer} and received = ${part.start}
      returning id
    )
    insert into upload_parts (upload_id, start_offset, size, writer)
    select id, ${part.start}, ${part.size}, ${part.writer} from session
    returning 1`;
  return rows.length > 0;
}

/** In the order of their bytes. */
export async function listParts(sql: Sql, id: string): Promise<UploadPart[]> {
  return sql<UploadPart[]>`
    select start_offset as start, size, writer from upload_parts
    where tenant_id = current_setting('app.tenant_id')::uuid and upload_id = ${id} order by start_offset`;
}

/** Part of the transaction that accepts the document; false where another request has taken the turn. */
export async function finishSession(sql: Sql, id: string, writer: number, receipt: UploadReceipt): Promise<boolean> {
  const rows = await sql`
    update upload_sessions set status = 'finished', received = size, document_id = ${receipt.document_id},
      task_id = ${receipt.task_id}, duplicate = ${receipt.duplicate}
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and status = 'open' and writer = ${writer}
    returning 1`;
  return rows.length > 0;
}

/** Its bytes are no document: nothing more is taken. */
export async function failSession(sql: Sql, id: string, writer: number, error: Failure): Promise<void> {
  await sql`
    update upload_sessions set status = 'failed', error_kind = ${error.code}, error_message = ${error.message}
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and status = 'open' and writer = ${writer}`;
}

/** Forgets parts whose blobs are gone. */
export async function deleteParts(sql: Sql, id: string): Promise<void> {
  await sql`delete from upload_parts where tenant_id = current_setting('app.tenant_id')::uuid and upload_id = ${id}`;
}

/** Ends whatever is done to a session; returns the parts whose blobs go with it, undefined where there is none. */
export async function closeSession(sql: Sql, id: string): Promise<UploadPart[] | undefined> {
  const closed = await sql`
    update upload_sessions set writer = writer + 1, status = case when status = 'open' then 'failed' else status end
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} returning 1`;
  return closed.length > 0 ? listParts(sql, id) : undefined;
}

/** With its parts, whose blobs are gone by now. */
export async function deleteSession(sql: Sql, id: string): Promise<void> {
  await sql`delete from upload_sessions where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

export interface ExpiredSession {
  tenantId: string;
  userId: string;
  id: string;
}

/** Of all tenants, as `dreamhub_system`. */
export async function listExpiredSessions(sql: Sql, at: Date, limit: number): Promise<ExpiredSession[]> {
  return sql<ExpiredSession[]>`
    select tenant_id as "tenantId", user_id as "userId", id from upload_sessions
    where expires_at <= ${at} order by expires_at limit ${limit}`;
}
