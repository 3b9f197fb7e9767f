/**
 * What goes when a user or a tenant does. Everything of a tenant has a way to its row by foreign keys that cascade, which a
 * test holds for every table there is (`test/integration/erasure-catalogue.test.ts`): so the last statement forgets nothing,
 * and what comes before it only makes it short. A user's rows are found in the catalogue by their columns, `user_id` and
 * `private_to`, so a table that is added later is emptied too; what stays is listed here, with its reason.
 */
import type { Sql } from '../db/database.ts';

/** Tables whose rows of a user are the tenant's too. Their `user_id` is given to an heir, or says nothing of anybody. */
export const KEPT: Readonly<Record<string, string>> = {
  tasks: 'of documents that are the tenant’s; they get the heir’s id',
  sources: 'that bring the tenant’s documents go on in the heir’s name',
  usage_records: 'what the tenant pays for: an id without an account names nobody',
  usage_daily: 'what the tenant pays for: an id without an account names nobody',
};

/** Rows that one transaction deletes; fewer where each brings many others. */
const AT_ONCE: Readonly<Record<string, number>> = { lexical_segments: 2, conversations: 50, sources: 1 };
const ROWS_AT_ONCE = 1_000;

export interface OwnTable {
  name: string;
  column: 'user_id' | 'private_to';
  /** Whether rows can be named by their place: the tenant's role may read every column. */
  read: boolean;
}

/** Where a user's own rows are, of all tables that the tenant's role may delete from. */
export async function listOwnTables(sql: Sql): Promise<OwnTable[]> {
  const rows = await sql<OwnTable[]>`
    select c.relname as name, a.attname as column, has_table_privilege('dreamhub_tenant', c.oid, 'SELECT') as read
    from pg_class c join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and not c.relispartition
      and a.attname in ('user_id', 'private_to') and has_table_privilege('dreamhub_tenant', c.oid, 'DELETE')
      and exists (select from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id')
    order by c.relname, a.attname`;
  // Documents have blobs, and go by `eraseDocuments`.
  return rows.filter(({ name, column }) => name !== 'documents' && (column === 'private_to' || !(name in KEPT)));
}

/** Deletes rows of the scope's user, a batch at most where that can be said; in the scope of that user. */
export async function deleteOwnRows(sql: Sql, { name, column, read }: OwnTable): Promise<number> {
  const own = sql`tenant_id = current_setting('app.tenant_id')::uuid
    and ${sql(column)} = current_setting('app.user_id')::uuid`;
  const limit = AT_ONCE[name] ?? ROWS_AT_ONCE;
  const rows = read
    ? await sql`
        delete from ${sql(name)} where ctid = any(array(select ctid from ${sql(name)} where ${own} limit ${limit}))
        returning 1`
    : await sql`delete from ${sql(name)} where ${own} returning 1`;
  return rows.length;
}

/** Deletes what the scope sees of a table, a batch at most. */
export async function deleteVisibleRows(sql: Sql, name: 'lexical_segments' | 'conversations'): Promise<number> {
  const rows = await sql`
    delete from ${sql(name)} where ctid = any(array(
      select ctid from ${sql(name)} where tenant_id = current_setting('app.tenant_id')::uuid
      limit ${AT_ONCE[name] ?? ROWS_AT_ONCE}))
    returning 1`;
  return rows.length;
}

/** Documents that the scope sees, or only the private ones of its user; inner ones first, since they go with the outer. */
export async function listDocumentsToErase(
  sql: Sql,
  { onlyPrivate, limit }: { onlyPrivate: boolean; limit: number },
): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select d.id from documents d
    where d.tenant_id = current_setting('app.tenant_id')::uuid
      ${onlyPrivate ? sql`and d.private_to = current_setting('app.user_id')::uuid` : sql``}
      and not exists (select from documents i where i.tenant_id = d.tenant_id and i.parent_id = d.id)
    order by d.id limit ${limit}`;
  return rows.map(({ id }) => id);
}

/** Deletes so many chunks of a document, with their vectors. */
export async function deleteSomeChunks(sql: Sql, documentId: string, limit: number): Promise<number> {
  const rows = await sql`
    delete from chunks where tenant_id = current_setting('app.tenant_id')::uuid and id = any(array(
      select id from chunks where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId}
      limit ${limit}))
    returning 1`;
  return rows.length;
}

export interface ErasedDocument {
  id: string;
  /** Names of the blobs of its bytes. */
  originals: string[];
}

/** Deletes documents whose chunks are gone, with all that is theirs. */
export async function eraseDocuments(sql: Sql, ids: readonly string[]): Promise<ErasedDocument[]> {
  return sql<ErasedDocument[]>`
    with revisions as (
      select document_id, array_agg(original_id) as originals from document_revisions
      where tenant_id = current_setting('app.tenant_id')::uuid and document_id = any(${[...ids]}::uuid[]) group by 1
    ), gone as (
      delete from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${[...ids]}::uuid[])
      returning id, coalesce(original_id, id) as original
    )
    select g.id, array_prepend(g.original, coalesce(r.originals, '{}')) as originals
    from gone g left join revisions r on r.document_id = g.id`;
}

/** Upload sessions of the scope's user, and sources that are that user's alone: both have blobs of their own. */
export async function listOwnBlobs(sql: Sql): Promise<{ uploads: string[]; sources: string[] }> {
  const [row] = await sql<{ uploads: string[]; sources: string[] }[]>`
    select
      array(select id from upload_sessions where tenant_id = current_setting('app.tenant_id')::uuid
        and user_id = current_setting('app.user_id')::uuid) as uploads,
      array(select id from sources where tenant_id = current_setting('app.tenant_id')::uuid
        and private_to = current_setting('app.user_id')::uuid) as sources`;
  return row ?? { uploads: [], sources: [] };
}

/** Who has been an owner for longest; undefined where the tenant has none. */
export async function findHeir(sql: Sql): Promise<string | undefined> {
  const [row] = await sql<{ user_id: string }[]>`
    select user_id from memberships
    where tenant_id = current_setting('app.tenant_id')::uuid and role = 'owner'
      and user_id <> current_setting('app.user_id')::uuid
    order by created_at, user_id limit 1`;
  return row?.user_id;
}

export interface InheritedTable {
  name: string;
  column: 'owner_id' | 'user_id';
  /** Some of its rows are the user's alone, and are not given to anybody. */
  mixed: boolean;
}

/** Where the tenant's rows say whose they are: every `owner_id`, and of what is `KEPT` what its user is the maker of. */
export async function listInheritedTables(sql: Sql): Promise<InheritedTable[]> {
  const rows = await sql<InheritedTable[]>`
    select c.relname as name, a.attname as column,
      exists (select from pg_attribute p where p.attrelid = c.oid and p.attname = 'private_to') as mixed
    from pg_class c join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and not c.relispartition
      and (a.attname = 'owner_id' or (a.attname = 'user_id' and c.relname in ('tasks', 'sources')))
      and has_table_privilege('dreamhub_tenant', c.oid, 'UPDATE')
    order by c.relname`;
  return [...rows];
}

/** Gives the tenant's rows of the scope's user to another, a batch at most. Tasks that run go on, and are given later. */
export async function giveTo(sql: Sql, { name, column, mixed }: InheritedTable, heir: string): Promise<number> {
  const whose = sql(column);
  const rows = await sql`
    update ${sql(name)} set ${whose} = ${heir} where ctid = any(array(
      select ctid from ${sql(name)}
      where tenant_id = current_setting('app.tenant_id')::uuid and ${whose} = current_setting('app.user_id')::uuid
        ${mixed ? sql`and private_to is null` : sql``}
        ${name === 'tasks' ? sql`and status not in ('queued', 'running')` : sql``}
      limit ${ROWS_AT_ONCE}))
    returning 1`;
  return rows.length;
}

/** Everybody who ever had an account in the tenant. Runs as `dreamhub_system`, like what follows. */
export async function listAccountIds(sql: Sql, tenantId: string): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`select id from accounts where tenant_id = ${tenantId} order by id`;
  return rows.map(({ id }) => id);
}

/** What is yet to be told of a user, or was: events of these documents and of the user's turns. */
export async function deleteEventsOf(
  sql: Sql,
  { tenantId, userId }: { tenantId: string; userId: string },
  documentIds: readonly string[],
): Promise<number> {
  const ids = [...documentIds];
  const outbox = await sql`
    delete from outbox where tenant_id = ${tenantId}
      and (data ->> 'user_id' = ${userId} or data ->> 'document_id' = any(${ids}::text[])) returning 1`;
  const deliveries = await sql`
    delete from webhook_deliveries where tenant_id = ${tenantId}
      and (payload::jsonb #>> '{data,user_id}' = ${userId} or payload::jsonb #>> '{data,document_id}' = any(${ids}::text[]))
    returning 1`;
  return outbox.length + deliveries.length;
}

/** The account with its sessions, keys and uploads. The database refuses what nobody has ordered (`sql/0230_erasures.sql`). */
export async function deleteAccount(sql: Sql, account: { tenantId: string; userId: string }): Promise<number> {
  const rows = await sql`
    delete from accounts where tenant_id = ${account.tenantId} and id = ${account.userId} returning 1`;
  return rows.length;
}

/** The tenant with everything that is left of it. Refused like the account. */
export async function deleteTenant(sql: Sql, tenantId: string): Promise<number> {
  const rows = await sql`delete from tenants where id = ${tenantId} returning 1`;
  return rows.length;
}

/** Nobody is a member any more, nobody logs in, and the names are free for others. */
export async function closeTenant(sql: Sql, tenantId: string, at: Date): Promise<void> {
  await sql`delete from memberships where tenant_id = ${tenantId}`;
  await sql`update accounts set removed_at = ${at}, password_hash = '' where tenant_id = ${tenantId}`;
  await sql`update refresh_tokens set revoked_at = ${at} where tenant_id = ${tenantId} and revoked_at is null`;
  await sql`update webhooks set active = false where tenant_id = ${tenantId}`;
  await sql`update tenants set name = id::text where id = ${tenantId}`;
}
