/**
 * What spans tenants, for the operator and for the check of the counters, as `dreamhub_system`; a tenant's administrators
 * see their part of the same. So a tenant is a parameter here, as it is in `backlog.ts`, and callers say which one.
 */
import type { BusyTenant, DeadLetter, Lane, QuotaChange, Reach } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { byteLimitOf, limitOf, type QueueLimits } from './admission.ts';

const within = (sql: Sql, reach: Reach) =>
  reach.kind === 'tenant' ? sql`tenant_id = ${reach.tenantId}::uuid` : sql`true`;

export interface LaneCounts {
  queued: number;
  running: number;
  delayed: number;
  oldest_seconds: number;
}

/** Unfinished jobs of a lane by what they wait for. */
export async function countLane(sql: Sql, lane: Lane, reach: Reach): Promise<LaneCounts> {
  const [row] = await sql<LaneCounts[]>`
    select count(*) filter (where status = 'queued' and run_at <= now())::int as queued,
      count(*) filter (where status = 'running')::int as running,
      count(*) filter (where status = 'queued' and run_at > now())::int as delayed,
      greatest(0, coalesce(extract(epoch from now() - min(run_at) filter (where status = 'queued')), 0))::float8
        as oldest_seconds
    from ${lane === 'ingest' ? sql`tasks` : sql`turns`} where status in ('queued', 'running') and ${within(sql, reach)}`;
  return row ?? { queued: 0, running: 0, delayed: 0, oldest_seconds: 0 };
}

export interface Admitted {
  outstanding: number;
  outstanding_bytes: number;
  /** Of the one tenant; null over several. */
  limit: number | null;
  limit_bytes: number | null;
}

/** What admission has counted, and where it ends. */
export async function sumLoad(sql: Sql, reach: Reach, limits: QueueLimits): Promise<Admitted> {
  const one = reach.kind === 'tenant';
  const [row] = await sql<Admitted[]>`
    select coalesce(sum(outstanding), 0)::int as outstanding, coalesce(sum(outstanding_bytes), 0)::bigint as outstanding_bytes,
      ${one ? sql`max(${limitOf(sql, limits)})` : sql`null`}::int as limit,
      ${one ? sql`max(${byteLimitOf(sql, limits)})` : sql`null`}::bigint as limit_bytes
    from tenant_load where ${within(sql, reach)}`;
  return row ?? { outstanding: 0, outstanding_bytes: 0, limit: null, limit_bytes: null };
}

/** Tenants with unfinished documents, those with most of them first. */
export async function listBusyTenants(sql: Sql, limits: QueueLimits, most: number): Promise<BusyTenant[]> {
  return sql<BusyTenant[]>`
    select l.tenant_id, t.name, l.outstanding, l.outstanding_bytes, ${limitOf(sql, limits)} as limit,
      ${byteLimitOf(sql, limits)} as limit_bytes, l.weight
    from tenant_load l join tenants t on t.id = l.tenant_id
    where l.outstanding > 0 order by l.outstanding desc, l.tenant_id limit ${most}`;
}

export interface Unfinished {
  tenantId: string;
  tasks: number;
  task_bytes: number;
  turns: number;
}

/** Tenants with unfinished work, and how much. */
export async function listUnfinished(sql: Sql): Promise<Unfinished[]> {
  return sql<Unfinished[]>`
    select coalesce(l.tenant_id, t.tenant_id) as "tenantId", coalesce(l.outstanding, 0)::int as tasks,
      coalesce(l.outstanding_bytes, 0)::bigint as task_bytes, coalesce(t.turns, 0)::int as turns
    from (select tenant_id, outstanding, outstanding_bytes from tenant_load where outstanding > 0) l
    full join (select tenant_id, count(*) as turns from turns where status in ('queued', 'running') group by tenant_id) t
      on t.tenant_id = l.tenant_id`;
}

export interface UsedShare {
  tenantId: string;
  /** Of what the tenant may have, 0…1, or above where its limit was lowered meanwhile. */
  share: number;
}

/** Tenants that have used something of what they may, those nearest to an end first. */
export async function listUsedShares(sql: Sql, limits: QueueLimits, most: number): Promise<UsedShare[]> {
  return sql<UsedShare[]>`
    with bounded as (
      select tenant_id, least(max_tokens, granted_tokens) as tokens, least(max_cost_nanos, granted_cost_nanos) as cost,
        (date_trunc(period, now(), 'UTC') at time zone 'UTC')::date as since
      from budgets
    ), spent as (
      select b.tenant_id, greatest(sum(s.tokens)::float8 / max(b.tokens), sum(s.cost)::float8 / max(b.cost)) as share
      from bounded b cross join lateral (
        select prompt_tokens + completion_tokens + embedding_tokens as tokens, cost_nanos as cost from usage_daily d
        where d.tenant_id = b.tenant_id and d.day >= b.since
        union all
        select prompt_tokens + completion_tokens + embedding_tokens, coalesce(cost_nanos, 0) from usage_records r
        where r.tenant_id = b.tenant_id and (r.at at time zone 'UTC')::date >= b.since) s
      group by b.tenant_id
    ), shares as (
      select l.tenant_id as "tenantId", greatest(outstanding::float8 / ${limitOf(sql, limits)},
        outstanding_bytes::float8 / ${byteLimitOf(sql, limits)}, s.share) as share
      from tenant_load l left join spent s on s.tenant_id = l.tenant_id
    )
    select * from shares where share > 0 order by share desc, "tenantId" limit ${most}`;
}

type DeadLetterRow = Omit<DeadLetter, 'created_at' | 'died_at' | 'reason'> & {
  created_at: Date;
  finished_at: Date | null;
  error_code: string | null;
  error_message: string | null;
};

/** Newest task first. */
export async function listDeadLetters(
  sql: Sql,
  reach: Reach,
  page: { limit: number; after?: string | undefined },
): Promise<DeadLetter[]> {
  const rows = await sql<DeadLetterRow[]>`
    select id, tenant_id, kind, document_id, size, priority, attempt, retry_count, error_code, error_message, created_at,
      finished_at
    from tasks where status = 'dead' and ${within(sql, reach)}
      ${page.after === undefined ? sql`` : sql`and id < ${page.after}`}
    order by id desc limit ${page.limit}`;
  return rows.map(({ error_code, error_message, created_at, finished_at, ...row }) => ({
    ...row,
    reason: { code: error_code ?? 'internal', message: error_message ?? '' },
    created_at: created_at.toISOString(),
    died_at: (finished_at ?? created_at).toISOString(),
  }));
}

/** Whose work a dead letter is; undefined where it is none, or out of reach. */
export async function findDeadLetter(
  sql: Sql,
  reach: Reach,
  id: string,
): Promise<{ tenantId: string; userId: string } | undefined> {
  const [row] = await sql<{ tenantId: string; userId: string }[]>`
    select tenant_id as "tenantId", user_id as "userId" from tasks
    where status = 'dead' and id = ${id} and ${within(sql, reach)}`;
  return row;
}

/**
 * Changes what a tenant's own settings are bounded by; null: the installation's. A weight that is granted is in force at
 * once, because no tenant asks for less than it may have. False where there is no such tenant.
 */
export async function grantLimits(sql: Sql, tenantId: string, change: QuotaChange): Promise<boolean> {
  const { weight, max_outstanding: outstanding, max_outstanding_bytes: bytes } = change;
  const rows = await sql`
    update tenant_load set
      granted_weight = ${weight === undefined ? sql`granted_weight` : weight},
      weight = ${weight === undefined ? sql`weight` : (weight ?? 1)},
      granted_outstanding = ${outstanding === undefined ? sql`granted_outstanding` : outstanding},
      granted_outstanding_bytes = ${bytes === undefined ? sql`granted_outstanding_bytes` : bytes}
    where tenant_id = ${tenantId} returning 1`;
  return rows.length > 0;
}

export interface Drift {
  tenantId: string;
  /** Rows less counter. */
  tasks: number;
  bytes: number;
}

/**
 * Tenants whose counter is not what their rows say. One statement sees counter and rows at one moment, and whoever changes
 * the one changes the other in the same transaction: a difference is never work in progress.
 */
export async function findDrift(sql: Sql): Promise<Drift[]> {
  return sql<Drift[]>`
    with actual as (
      select tenant_id, count(*) as tasks, sum(size) as bytes from tasks
      where status in ('queued', 'running') group by tenant_id
    )
    select l.tenant_id as "tenantId", (coalesce(a.tasks, 0) - l.outstanding)::int as tasks,
      (coalesce(a.bytes, 0) - l.outstanding_bytes)::bigint as bytes
    from tenant_load l left join actual a on a.tenant_id = l.tenant_id
    where l.outstanding <> coalesce(a.tasks, 0) or l.outstanding_bytes <> coalesce(a.bytes, 0)`;
}

/** Nobody is admitted or discharged until the transaction ends; a statement of its own, so that the next one sees what was. */
export async function lockLoad(sql: Sql, tenantId: string): Promise<void> {
  await sql`select 1 from tenant_load where tenant_id = ${tenantId} for update`;
}

/** Sets a locked counter to what the rows say. */
export async function recountLoad(sql: Sql, tenantId: string): Promise<void> {
  await sql`
    update tenant_load l set outstanding = a.tasks, outstanding_bytes = a.bytes
    from (select count(*) as tasks, coalesce(sum(size), 0) as bytes from tasks
      where tenant_id = ${tenantId} and status in ('queued', 'running')) a
    where l.tenant_id = ${tenantId}`;
}
