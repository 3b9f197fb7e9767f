/** What of a user's rows goes into an export. Everything here runs in the user's scope, so nobody else's is in reach. */
import type { Sql } from '../db/database.ts';

export interface ExportedTable {
  name: string;
  /** Readable ones that hold no secret and nothing that was computed from the rest: no bytes, no index terms. */
  columns: string[];
  /** In which its rows have an order. */
  key: string[];
}

/** Tables that the export tells in its own way, or that hold nothing of their user's own. */
const TOLD_OTHERWISE = ['conversations', 'messages', 'turns', 'turn_citations', 'idempotency_keys', 'memberships'];

/** Tables with rows of a user's, found in the catalogue: one that is added later is exported too. */
export async function listExportedTables(sql: Sql): Promise<ExportedTable[]> {
  return sql<ExportedTable[]>`
    select c.relname as name, array_agg(a.attname::text order by a.attnum) as columns,
      array(select k.attname::text from pg_index i join pg_attribute k on k.attrelid = c.oid and k.attnum = any(i.indkey)
        where i.indrelid = c.oid and i.indisprimary) as key
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and not c.relispartition
      and c.relname <> all(${TOLD_OTHERWISE}::text[])
      and exists (select from pg_attribute u where u.attrelid = c.oid and u.attname = 'user_id'
        and has_column_privilege('dreamhub_tenant', c.oid, u.attnum, 'SELECT'))
      and has_column_privilege('dreamhub_tenant', c.oid, a.attnum, 'SELECT')
      and format_type(a.atttypid, null) in ('uuid', 'text', 'text[]', 'integer', 'smallint', 'bigint', 'real',
        'double precision', 'boolean', 'jsonb', 'date', 'timestamp with time zone', 'numeric')
    group by c.oid, c.relname order by c.relname`;
}

/** Rows of the scope's user as one JSON text each, a page of them. Read once: what changes meanwhile may be in it twice or not. */
export async function pageRows(
  sql: Sql,
  { name, columns, key }: ExportedTable,
  { limit, offset }: { limit: number; offset: number },
): Promise<string[]> {
  const rows = await sql<{ text: string }[]>`
    select to_jsonb(r)::text as text from (
      select ${sql(columns)} from ${sql(name)}
      where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      order by ${sql(key)} limit ${limit} offset ${offset}) r`;
  return rows.map(({ text }) => text);
}

export interface ExportedConversation {
  id: string;
  title: string | null;
  created_at: Date;
  updated_at: Date;
}

/** Of every kind, newest first. */
export async function listEveryConversation(
  sql: Sql,
  { limit, after }: { limit: number; after: string | undefined },
): Promise<ExportedConversation[]> {
  return sql<ExportedConversation[]>`
    select id, title, created_at, updated_at from conversations
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      ${after === undefined ? sql`` : sql`and id < ${after}`}
    order by id desc limit ${limit}`;
}
