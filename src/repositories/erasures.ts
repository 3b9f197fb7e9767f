/**
 * Orders to erase, and what came of them. They belong to no tenant, since they outlive the one that they are about; so all of
 * this runs as `dreamhub_system`, and whoever asks is compared with whom an order is about (`services/erasures.ts`).
 */
import type { PageRequest, PrivacyScope, Reach } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

export interface ErasureRow {
  id: string;
  scope: PrivacyScope;
  whole: boolean;
  /** Null once it is settled: then it names nobody. */
  of_tenant: string | null;
  of_user: string | null;
  requested_at: Date;
  deadline: Date;
  started_at: Date | null;
  finished_at: Date | null;
  settled_at: Date | null;
  attempt: number;
  deleted: Record<string, number>;
}

const columns = (sql: Sql) => sql`
  id, scope, whole, of_tenant, of_user, requested_at, deadline, started_at, finished_at, settled_at, attempt, deleted`;

export interface NewErasure {
  id: string;
  scope: PrivacyScope;
  whole: boolean;
  tenantId: string;
  userId: string;
}

export async function insertErasure(sql: Sql, order: NewErasure): Promise<ErasureRow> {
  const { id, scope, whole, tenantId, userId } = order;
  const [row] = await sql<ErasureRow[]>`
    insert into erasures (id, scope, whole, of_tenant, of_user) values (${id}, ${scope}, ${whole}, ${tenantId}, ${userId})
    returning ${columns(sql)}`;
  if (!row) throw new Error('an insert returned no row');
  return row;
}

export async function getErasure(sql: Sql, id: string): Promise<ErasureRow | undefined> {
  const [row] = await sql<ErasureRow[]>`select ${columns(sql)} from erasures where id = ${id}`;
  return row;
}

/** Newest first. A tenant's administrators see the orders about their tenant until these are settled. */
export async function listErasures(
  sql: Sql,
  reach: Reach,
  { limit, after }: { limit: PageRequest['limit']; after?: string | undefined },
): Promise<ErasureRow[]> {
  return sql<ErasureRow[]>`
    select ${columns(sql)} from erasures
    where ${reach.kind === 'tenant' ? sql`of_tenant = ${reach.tenantId}` : sql`true`}
      ${after === undefined ? sql`` : sql`and id < ${after}`}
    order by id desc limit ${limit}`;
}

export type DueErasure = Omit<ErasureRow, 'of_tenant' | 'of_user'> & { of_tenant: string; of_user: string };

/** The order that has waited longest and that nobody works on, with the next attempt's number; undefined where none is due. */
export async function claimErasure(sql: Sql, leaseMs: number): Promise<DueErasure | undefined> {
  const [row] = await sql<DueErasure[]>`
    update erasures set attempt = attempt + 1, started_at = coalesce(started_at, now()),
      leased_until = now() + ${leaseMs} * interval '1 millisecond'
    where id = (
      select id from erasures
      where settled_at is null and run_at <= now() and (leased_until is null or leased_until <= now())
      order by run_at limit 1 for update skip locked)
    returning ${columns(sql)}`;
  return row;
}

export type ErasureAttempt = Pick<ErasureRow, 'id' | 'attempt'>;

/** Adds to the report and renews the lease; false where another attempt has taken over, whose transaction this must not be. */
export async function recordErased(
  sql: Sql,
  { id, attempt }: ErasureAttempt,
  { counts, leaseMs }: { counts: Readonly<Record<string, number>>; leaseMs: number },
): Promise<boolean> {
  const rows = await sql`
    update erasures set leased_until = now() + ${leaseMs} * interval '1 millisecond',
      deleted = deleted || coalesce((
        select jsonb_object_agg(key, coalesce((deleted ->> key)::bigint, 0) + value::bigint)
        from jsonb_each_text(${sql.json(counts as never)}) where value::bigint > 0), '{}')
    where id = ${id} and attempt = ${attempt} and settled_at is null returning 1`;
  return rows.length > 0;
}

/** All is gone. It is looked at once more after `settleMs`. */
export async function finishErasure(sql: Sql, { id, attempt }: ErasureAttempt, settleMs: number): Promise<void> {
  await sql`
    update erasures set finished_at = now(), run_at = now() + ${settleMs} * interval '1 millisecond', leased_until = null,
      failures = 0
    where id = ${id} and attempt = ${attempt} and settled_at is null`;
}

/** For good: from now on the report names nobody. */
export async function settleErasure(sql: Sql, { id, attempt }: ErasureAttempt): Promise<void> {
  const rows = await sql`
    update erasures set settled_at = now(), of_tenant = null, of_user = null, leased_until = null
    where id = ${id} and attempt = ${attempt} and finished_at is not null returning 1`;
  if (rows.length > 0) await sql`delete from erasure_blobs where erasure_id = ${id}`;
}

/** It is tried again after a pause, which doubles from five seconds to ten minutes. */
export async function postponeErasure(sql: Sql, { id, attempt }: ErasureAttempt): Promise<void> {
  await sql`
    update erasures set failures = failures + 1, leased_until = null,
      run_at = now() + least(600, 5 * 2 ^ least(failures, 10)) * interval '1 second'
    where id = ${id} and attempt = ${attempt} and settled_at is null`;
}

/** Given back by a process that stops. */
export async function releaseErasure(sql: Sql, { id, attempt }: ErasureAttempt): Promise<void> {
  await sql`update erasures set leased_until = null where id = ${id} and attempt = ${attempt}`;
}

/** Orders whose deadline has passed and that are not finished. */
export async function countOverdueErasures(sql: Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from erasures where finished_at is null and deadline < now()`;
  return row?.count ?? 0;
}

/** Where blobs are whose rows the same transaction deletes. */
export async function noteFolders(sql: Sql, id: string, folders: readonly string[]): Promise<void> {
  if (folders.length === 0) return;
  await sql`
    insert into erasure_blobs (erasure_id, folder) select ${id}, unnest(${[...folders]}::text[]) on conflict do nothing`;
}

export async function listFolders(
  sql: Sql,
  id: string,
  { after, limit }: { after: string; limit: number },
): Promise<string[]> {
  const rows = await sql<{ folder: string }[]>`
    select folder from erasure_blobs where erasure_id = ${id} and folder > ${after} order by folder limit ${limit}`;
  return rows.map(({ folder }) => folder);
}
