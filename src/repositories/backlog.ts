/**
 * The backlog over all tenants, as `dreamhub_system`: what waits, what is handed out to Redis, and what got lost there.
 * These statements run outside every tenant's scope, so here, and here only, a tenant is a parameter.
 *
 * A row waits (`queued`, `handed_out_at` null) → is out (`queued` with `handed_out_at`, or `running`) → ended; an attempt
 * that is tried again or handed back makes it wait once more.
 */
import { type Job, type Lane, PAYLOAD_VERSION } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

const tableOf = (sql: Sql, lane: Lane) => (lane === 'ingest' ? sql`tasks` : sql`turns`);
const versionOf = (sql: Sql, lane: Lane) => (lane === 'ingest' ? sql`t.version` : sql`${PAYLOAD_VERSION}::int`);
const orderOf = (sql: Sql, lane: Lane) => (lane === 'ingest' ? sql`priority desc, run_at, id` : sql`run_at, id`);
const orderColumns = (sql: Sql, lane: Lane) => (lane === 'ingest' ? sql`t.priority, t.run_at` : sql`t.run_at`);

/** Written like the predicate of `tasks_handed_out`, which is thereby used. */
const isOut = (sql: Sql) => sql`(t.status = 'running' or (t.status = 'queued' and t.handed_out_at is not null))`;

/** May be handed out now. Of a conversation's turns only the oldest unfinished one. */
function isDue(sql: Sql, lane: Lane) {
  const waits = sql`t.status = 'queued' and t.handed_out_at is null and t.run_at <= now()`;
  if (lane === 'ingest') return waits;
  return sql`${waits} and not exists (
    select from turns o where o.tenant_id = t.tenant_id and o.conversation_id = t.conversation_id
      and o.status in ('queued', 'running') and o.id < t.id)`;
}

/** Out for longer than the grace, and nobody works on it. */
const isUnattended = (sql: Sql, graceMs: number) => sql`${isOut(sql)}
  and (t.handed_out_at is null or t.handed_out_at < now() - ${graceMs} * interval '1 millisecond')
  and (t.leased_until is null or t.leased_until < now())`;

export interface HandedOut {
  jobs: Job[];
  /** The tenant's share of the workers. */
  weight: number;
}

interface HandedOutRow {
  id: string;
  user_id: string;
  traceparent: string;
  version: number;
  weight: number;
}

function toHandedOut(lane: Lane, tenantId: string, rows: readonly HandedOutRow[]): HandedOut {
  return {
    weight: rows[0]?.weight ?? 1,
    jobs: rows.map(({ id, user_id, traceparent, version }) => ({
      v: version,
      lane,
      tenantId,
      userId: user_id,
      id,
      traceparent,
    })),
  };
}

/**
 * Keeps two feeders from filling one tenant's window at the same time, until the transaction ends. It must be a statement
 * of its own: the next one then sees what the other feeder has committed.
 */
export async function lockBacklog(sql: Sql, lane: Lane, tenantId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`backlog:${lane}:${tenantId}`}, 0))`;
}

/**
 * Marks the tenant's next due jobs as handed out, as many as are missing to `window`; in the order to run them in.
 *
 * How many those are the planner cannot know, and it guesses a tenth of the backlog: joined, the rows to mark were found by
 * reading the whole table. Of an array it guesses ten, and looks each up by its key.
 */
export async function handOutNext(
  sql: Sql,
  lane: Lane,
  tenantId: string,
  window: number,
): Promise<HandedOut & { full: boolean }> {
  const table = tableOf(sql, lane);
  const rows = await sql<(HandedOutRow & { places: number })[]>`
    with room as (
      select greatest(0, ${window}::int - count(*)) as places from ${table} t where t.tenant_id = ${tenantId} and ${isOut(sql)}
    ), next as (
      select t.id from ${table} t where t.tenant_id = ${tenantId} and ${isDue(sql, lane)}
      order by ${orderOf(sql, lane)} limit (select places from room) for update skip locked
    ), marked as (
      update ${table} t set handed_out_at = now() where t.tenant_id = ${tenantId} and t.id = any(array(select id from next))
      returning t.id, t.user_id, t.traceparent, ${versionOf(sql, lane)} as version, ${orderColumns(sql, lane)}
    )
    select m.id, m.user_id, m.traceparent, m.version, room.places,
      coalesce((select l.weight from tenant_load l where l.tenant_id = ${tenantId}), 1) as weight
    from room left join marked m on true order by ${orderOf(sql, lane)}`;
  const handed = rows.filter(({ id }) => id !== null);
  return { ...toHandedOut(lane, tenantId, handed), full: handed.length >= (rows[0]?.places ?? 0) };
}

/**
 * Visits up to `limit` tenants that have something waiting, in the order of their ids after `after`; `due` where something
 * may be handed out now and the window has room. Skips from tenant to tenant through the index, however long a backlog is.
 */
export async function visitBacklogs(
  sql: Sql,
  lane: Lane,
  { after, limit, window }: { after: string; limit: number; window: number },
): Promise<{ tenantId: string; due: boolean }[]> {
  const table = tableOf(sql, lane);
  // For turns the index at hand also has running ones. The order is the whole index's, so that no other one is chosen: one
  // that leads with the tenant as well would have all that ever ended walked through.
  const listed =
    lane === 'ingest' ? sql`t.status = 'queued' and t.handed_out_at is null` : sql`t.status in ('queued', 'running')`;
  const indexOrder =
    lane === 'ingest'
      ? sql`t.tenant_id, t.priority desc, t.run_at, t.id limit 1`
      : sql`t.tenant_id, t.conversation_id, t.id limit 1`;
  return sql<{ tenantId: string; due: boolean }[]>`
    with recursive candidate(tenant_id, n) as (
      (select t.tenant_id, 1 from ${table} t where ${listed} and t.tenant_id > ${after} order by ${indexOrder})
      union all
      select (select t.tenant_id from ${table} t where ${listed} and t.tenant_id > c.tenant_id order by ${indexOrder}),
        c.n + 1
      from candidate c where c.tenant_id is not null and c.n < ${limit}
    )
    select c.tenant_id as "tenantId",
      exists (select from ${table} t where t.tenant_id = c.tenant_id and ${isDue(sql, lane)})
        and (select count(*) from ${table} t where t.tenant_id = c.tenant_id and ${isOut(sql)}) < ${window} as due
    from candidate c where c.tenant_id is not null`;
}

/** Place in the walk over what is handed out. */
export interface Cursor {
  tenantId: string;
  id: string;
}

/** Rows that are out for longer than the grace and that nobody holds a lease on, in the order of their keys. */
export async function listUnattended(
  sql: Sql,
  lane: Lane,
  { after, limit, graceMs }: { after: Cursor; limit: number; graceMs: number },
): Promise<Cursor[]> {
  return sql<Cursor[]>`
    select t.tenant_id as "tenantId", t.id from ${tableOf(sql, lane)} t
    where ${isUnattended(sql, graceMs)} and (t.tenant_id, t.id) > (${after.tenantId}::uuid, ${after.id}::uuid)
    order by t.tenant_id, t.id limit ${limit}`;
}

/**
 * Marks rows of a tenant as handed out anew, those of them that are still unattended. What somebody else holds at this
 * moment is attended to; waiting for it, two reconcilers could wait for each other.
 */
export async function handOutAgain(
  sql: Sql,
  lane: Lane,
  tenantId: string,
  { ids, graceMs }: { ids: readonly string[]; graceMs: number },
): Promise<HandedOut> {
  const table = tableOf(sql, lane);
  const rows = await sql<HandedOutRow[]>`
    with unattended as (
      select t.id from ${table} t
      where t.tenant_id = ${tenantId} and t.id = any(${[...ids]}::uuid[]) and ${isUnattended(sql, graceMs)}
      order by t.id for update skip locked
    ), marked as (
      update ${table} t set handed_out_at = now()
      where t.tenant_id = ${tenantId} and t.id = any(array(select id from unattended))
      returning t.id, t.user_id, t.traceparent, ${versionOf(sql, lane)} as version, ${orderColumns(sql, lane)}
    )
    select m.id, m.user_id, m.traceparent, m.version,
      coalesce((select l.weight from tenant_load l where l.tenant_id = ${tenantId}), 1) as weight
    from marked m order by ${orderOf(sql, lane)}`;
  return toHandedOut(lane, tenantId, rows);
}

export interface QueueDepth {
  /** Unfinished jobs: waiting, handed out, running. */
  unfinished: number;
  /** For how many seconds the first of those that could run has been waiting to. */
  oldestSeconds: number;
}

/** What admission counted for ingest, which is exact and costs a row a tenant; the rows themselves for chat. */
export async function readDepth(sql: Sql, lane: Lane): Promise<QueueDepth> {
  const table = tableOf(sql, lane);
  const unfinished =
    lane === 'ingest'
      ? sql`(select coalesce(sum(outstanding), 0) from tenant_load)`
      : sql`(select count(*) from turns where status in ('queued', 'running'))`;
  const [depth] = await sql<QueueDepth[]>`
    select ${unfinished}::int as unfinished,
      greatest(0, coalesce(extract(epoch from now() - least(
        (select min(t.run_at) from ${table} t where t.status = 'queued' and t.handed_out_at is null),
        (select min(t.run_at) from ${table} t where t.status = 'queued' and t.handed_out_at is not null))), 0))::float8
        as "oldestSeconds"`;
  return depth ?? { unfinished: 0, oldestSeconds: 0 };
}

/** Tasks whose attempts ran out and that nobody has tried again, of all tenants. */
export async function countDeadLetters(sql: Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::int as count from tasks where status = 'dead'`;
  return row?.count ?? 0;
}
