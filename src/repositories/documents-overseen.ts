/**
 * Private documents of others, as an administrator sees them: that they are there, by name and size, and whose. These are the
 * only statements that ask the policy for it (`sql/0187_private_names.sql`), each for its own transaction; nothing of what
 * is inside can be read so, because text, chunks and vectors have policies of their own.
 */
import type { DocumentStatus } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import type { DocumentQuery } from './documents.ts';

export interface OverseenDocument {
  id: string;
  owner_id: string;
  title: string;
  filename: string;
  media_type: string;
  size: number;
  source_type: string;
  status: DocumentStatus;
  created_at: Date;
}

const columns = (sql: Sql) => sql`
  id, owner_id, title, filename, media_type, size, source_type, status, created_at`;

const oversee = (sql: Sql) => sql`select set_config('app.oversees', 'names', true)`;

const others = (sql: Sql) => sql`
  tenant_id = current_setting('app.tenant_id')::uuid and private_to is not null
  and private_to <> current_setting('app.user_id')::uuid`;

/** Newest first, as `listDocuments` lists what one may read. For a transaction of its own. */
export async function listOverseen(sql: Sql, query: DocumentQuery): Promise<OverseenDocument[]> {
  const like = query.q === undefined ? undefined : `%${query.q.replace(/[\\%_]/g, '\\$&')}%`;
  await oversee(sql);
  return sql<OverseenDocument[]>`
    select ${columns(sql)} from documents where ${others(sql)}
      ${query.status === undefined ? sql`` : sql`and status = ${query.status}`}
      ${query.source_type === undefined ? sql`` : sql`and source_type = ${query.source_type}`}
      ${like === undefined ? sql`` : sql`and (title ilike ${like} or filename ilike ${like})`}
      ${query.after === undefined ? sql`` : sql`and id < ${query.after}`}
    order by id desc limit ${query.limit}`;
}

/** Undefined for what is no private document of somebody else. For a transaction of its own. */
export async function getOverseen(sql: Sql, id: string): Promise<OverseenDocument | undefined> {
  await oversee(sql);
  const [row] = await sql<OverseenDocument[]>`
    select ${columns(sql)} from documents where ${others(sql)} and id = ${id}`;
  return row;
}
