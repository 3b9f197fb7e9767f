/**
 * Sources and their items. A sync: claimed (its number is taken, its lease runs) → ended, or lost when the lease expires;
 * then the next claim takes the next number, and no write of the earlier one counts.
 */
import type { Kept, KnownItem, SourceItemResource, SyncCounts, SyncedSource, Visibility } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

export interface SourceRow {
  id: string;
  kind: string;
  name: string;
  visibility: Visibility;
  settings: Record<string, unknown>;
  has_credentials: boolean;
  interval_minutes: number | null;
  running: boolean;
  error: string | null;
  counts: SyncCounts | null;
  next_sync_at: Date | null;
  started_at: Date | null;
  finished_at: Date | null;
  created_at: Date;
}

const columns = (sql: Sql) => sql`
  id, kind, name, visibility, settings, secret is not null as has_credentials, interval_minutes,
  coalesce(leased_until > now(), false) as running, error, counts, next_sync_at, started_at, finished_at, created_at`;

const isoOf = (at: Date | null): string | null => at?.toISOString() ?? null;

function statusOf({ running, next_sync_at, finished_at, error }: SourceRow): SyncedSource['status'] {
  if (running) return 'syncing';
  if (error !== null) return 'failed';
  return finished_at === null && next_sync_at !== null ? 'waiting' : 'idle';
}

function toResource(row: SourceRow): SyncedSource {
  const { running: _running, ...rest } = row;
  return {
    ...rest,
    status: statusOf(row),
    next_sync_at: isoOf(row.next_sync_at),
    started_at: isoOf(row.started_at),
    finished_at: isoOf(row.finished_at),
    created_at: row.created_at.toISOString(),
  };
}

export interface NewSourceRow {
  id: string;
  kind: string;
  name: string;
  visibility: Visibility;
  settings: Record<string, unknown>;
  secret: Uint8Array | null;
  intervalMinutes: number | null;
}

/** Its first sync is due at once. Undefined where the tenant has `most` already. */
export async function insertSource(sql: Sql, source: NewSourceRow, most: number): Promise<SyncedSource | undefined> {
  const [row] = await sql<SourceRow[]>`
    insert into sources (id, kind, name, visibility, settings, secret, interval_minutes, next_sync_at)
    select ${source.id}, ${source.kind}, ${source.name}, ${source.visibility}, ${sql.json(source.settings as never)},
      ${source.secret}, ${source.intervalMinutes}, now()
    where (select count(*) from sources where tenant_id = current_setting('app.tenant_id')::uuid) < ${most}
    returning ${columns(sql)}`;
  return row && toResource(row);
}

/** Undefined where it is not there. */
export async function getSource(sql: Sql, id: string): Promise<SyncedSource | undefined> {
  const [row] = await sql<SourceRow[]>`
    select ${columns(sql)} from sources where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row && toResource(row);
}

/** Oldest first. */
export async function listSources(
  sql: Sql,
  page: { limit: number; after?: string | undefined },
): Promise<SyncedSource[]> {
  const rows = await sql<SourceRow[]>`
    select ${columns(sql)} from sources where tenant_id = current_setting('app.tenant_id')::uuid
      ${page.after === undefined ? sql`` : sql`and id > ${page.after}`}
    order by id limit ${page.limit}`;
  return rows.map(toResource);
}

/** Makes the next sync due now; one that runs goes on, and is followed by another. */
export async function requestSync(sql: Sql, id: string): Promise<SyncedSource | undefined> {
  const [row] = await sql<SourceRow[]>`
    update sources set next_sync_at = now(), failures = 0
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
    returning ${columns(sql)}`;
  return row && toResource(row);
}

/** Ends whatever sync runs, for good: no write of it counts from now on, and none begins. */
export async function fenceSource(sql: Sql, id: string): Promise<boolean> {
  const rows = await sql`
    update sources set attempt = attempt + 1, next_sync_at = null, leased_until = null
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} returning 1`;
  return rows.length > 0;
}

/** Who made it; undefined where it is not there for the ambient user. */
export async function getSourceOwner(sql: Sql, id: string): Promise<string | undefined> {
  const [row] = await sql<{ user_id: string }[]>`
    select user_id from sources where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row?.user_id;
}

/** Private sources of the ambient user, who leaves: nobody could ever read what they bring, so they bring nothing more. */
export async function fencePrivateSources(sql: Sql): Promise<void> {
  await sql`
    update sources set attempt = attempt + 1, next_sync_at = null, leased_until = null, interval_minutes = null
    where tenant_id = current_setting('app.tenant_id')::uuid and private_to = current_setting('app.user_id')::uuid`;
}

/** With what is known of its items; its documents stay, and are the caller's to delete. */
export async function deleteSource(sql: Sql, id: string): Promise<void> {
  await sql`delete from sources where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

/** Documents of a source that are nobody's children. */
export async function listSourceDocuments(sql: Sql, id: string, limit: number): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from documents where tenant_id = current_setting('app.tenant_id')::uuid and source_id = ${id}
    order by id limit ${limit}`;
  return rows.map((row) => row.id);
}

/** A source as a sync begins; found by whoever syncs, over all tenants. */
export interface ClaimedSource {
  tenantId: string;
  userId: string;
  id: string;
  attempt: number;
}

/** Leases what is due, as `dreamhub_system`; of each tenant one at a time. */
export async function claimSources(
  sql: Sql,
  claim: { leaseMs: number; limit: number; without: readonly string[] },
): Promise<ClaimedSource[]> {
  return sql<ClaimedSource[]>`
    with due as (
      select distinct on (tenant_id) tenant_id, id, next_sync_at from sources
      where next_sync_at <= now() and (leased_until is null or leased_until < now())
        and tenant_id <> all(${[...claim.without]}::uuid[])
      order by tenant_id, next_sync_at, id
    ), taken as (
      select s.tenant_id, s.id from sources s join due d on d.tenant_id = s.tenant_id and d.id = s.id
      where s.next_sync_at <= now() and (s.leased_until is null or s.leased_until < now())
      order by d.next_sync_at limit ${claim.limit} for update of s skip locked
    )
    update sources s set attempt = attempt + 1, started_at = now(),
      leased_until = now() + ${claim.leaseMs} * interval '1 millisecond'
    from taken where s.tenant_id = taken.tenant_id and s.id = taken.id
    returning s.tenant_id as "tenantId", s.user_id as "userId", s.id, s.attempt`;
}

type Sync = Pick<ClaimedSource, 'id' | 'attempt'>;

export interface SyncWork {
  kind: string;
  name: string;
  visibility: Visibility;
  settings: Record<string, unknown>;
  secret: Uint8Array | null;
  cursor: Kept;
  intervalMinutes: number | null;
  failures: number;
  /** When it was due: a later request for a sync is another one. */
  dueAt: Date | null;
}

/** Undefined where another sync has begun, or the source is gone. */
export async function getSyncWork(sql: Sql, { id, attempt }: Sync): Promise<SyncWork | undefined> {
  const [row] = await sql<SyncWork[]>`
    select kind, name, visibility, settings, secret, cursor, interval_minutes as "intervalMinutes", failures,
      next_sync_at as "dueAt"
    from sources where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt}`;
  return row;
}

/** Undefined where another sync has begun, or the source is gone. */
export async function renewSync(
  sql: Sql,
  { id, attempt }: Sync,
  leaseMs: number,
): Promise<{ cancel_requested: boolean } | undefined> {
  const rows = await sql`
    update sources set leased_until = now() + ${leaseMs} * interval '1 millisecond'
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt} returning 1`;
  return rows.length > 0 ? { cancel_requested: false } : undefined;
}

/** Locks the source against another sync's beginning until the end of the transaction; false where one has begun. */
export async function holdsSync(sql: Sql, { id, attempt }: Sync): Promise<boolean> {
  const rows = await sql`
    select 1 from sources where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt}
    for share`;
  return rows.length > 0;
}

export interface SyncEnd {
  error: string | null;
  failures: number;
  counts: SyncCounts | null;
  /** Undefined: as it was. */
  cursor?: Kept;
  /** Milliseconds until the next sync; null: nobody has asked for one. */
  nextMs: number | null;
  dueAt: Date | null;
}

/** A sync that was asked for while this one ran comes next. */
export async function endSync(sql: Sql, { id, attempt }: Sync, end: SyncEnd): Promise<void> {
  await sql`
    update sources set leased_until = null, finished_at = now(), error = ${end.error}, failures = ${end.failures},
      counts = coalesce(${end.counts === null ? null : sql.json(end.counts)}, counts),
      ${end.cursor === undefined ? sql`` : sql`cursor = ${sql.json(end.cursor as never)},`}
      next_sync_at = case when date_trunc('milliseconds', next_sync_at) > ${end.dueAt} then next_sync_at
        else now() + ${end.nextMs}::double precision * interval '1 millisecond' end
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt}`;
}

/** Lets another process begin at once. */
export async function handBackSync(sql: Sql, { id, attempt }: Sync): Promise<void> {
  await sql`
    update sources set leased_until = null
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt}`;
}

export interface StoredItem extends KnownItem {
  key: string;
  documentId: string | null;
  error: string | null;
}

/** All items of a source. */
export async function loadItems(sql: Sql, sourceId: string): Promise<StoredItem[]> {
  return sql<StoredItem[]>`
    select key, fingerprint, state, document_id as "documentId", error from source_items
    where tenant_id = current_setting('app.tenant_id')::uuid and source_id = ${sourceId}`;
}

/** Adds an item, or replaces what was known of it; does nothing where the source is gone. */
export async function saveItem(sql: Sql, sourceId: string, item: StoredItem): Promise<void> {
  await sql`
    insert into source_items (source_id, key, private_to, fingerprint, state, document_id, error)
    select s.id, ${item.key}, s.private_to, ${item.fingerprint}, ${sql.json(item.state as never)}, ${item.documentId},
      ${item.error}
    from sources s where s.tenant_id = current_setting('app.tenant_id')::uuid and s.id = ${sourceId}
    on conflict (tenant_id, source_id, key) do update set fingerprint = excluded.fingerprint, state = excluded.state,
      document_id = excluded.document_id, error = excluded.error, updated_at = now()`;
}

/** Forgets an item; its document is the caller's to delete. */
export async function deleteItem(sql: Sql, sourceId: string, key: string): Promise<void> {
  await sql`
    delete from source_items
    where tenant_id = current_setting('app.tenant_id')::uuid and source_id = ${sourceId} and key = ${key}`;
}

/** By key. */
export async function listItems(
  sql: Sql,
  sourceId: string,
  page: { limit: number; after?: string | undefined; failed: boolean },
): Promise<SourceItemResource[]> {
  const rows = await sql<(Omit<SourceItemResource, 'updated_at'> & { updated_at: Date })[]>`
    select key, document_id, error, updated_at from source_items
    where tenant_id = current_setting('app.tenant_id')::uuid and source_id = ${sourceId}
      ${page.failed ? sql`and error is not null` : sql``}
      ${page.after === undefined ? sql`` : sql`and key > ${page.after}`}
    order by key limit ${page.limit}`;
  return rows.map((row) => ({ ...row, updated_at: row.updated_at.toISOString() }));
}
