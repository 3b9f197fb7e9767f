/** What a tenant may spend on models in a day or a month, what it has spent, and what is reserved for work under way. */
import type { BudgetPeriod } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

/** Tokens, and billionths of US dollars. */
export interface Amount {
  tokens: number;
  costNanos: number;
}

export interface Budget {
  period: BudgetPeriod;
  /** In force: the lower of the tenant's own and what is granted; null: not bounded. */
  max_tokens: number | null;
  max_cost_nanos: number | null;
  granted_tokens: number | null;
  granted_cost_nanos: number | null;
  /** Milliseconds until the period ends. */
  left_ms: number;
  ends_at: Date;
}

const columns = (sql: Sql) => sql`
  period, least(max_tokens, granted_tokens) as max_tokens, least(max_cost_nanos, granted_cost_nanos) as max_cost_nanos,
  granted_tokens, granted_cost_nanos, ${endOf(sql)} as ends_at,
  ceil(1000 * extract(epoch from ${endOf(sql)} - now()))::bigint as left_ms`;

const endOf = (sql: Sql) =>
  sql`(date_trunc(period, now(), 'UTC') at time zone 'UTC' + ('1 ' || period)::interval) at time zone 'UTC'`;

/** Undefined where nothing was ever set. `lock`: nobody else reserves until the transaction ends. */
export async function getBudget(sql: Sql, { lock }: { lock: boolean }): Promise<Budget | undefined> {
  const [row] = await sql<Budget[]>`
    select ${columns(sql)} from budgets where tenant_id = current_setting('app.tenant_id')::uuid
    ${lock ? sql`for update` : sql``}`;
  return row;
}

/**
 * What was spent in the period and what is reserved, seen at one moment: what ends in another transaction is in the one or in
 * the other. `except` is a turn or task whose own reservation does not count.
 */
export async function getSpent(
  sql: Sql,
  period: BudgetPeriod,
  except: string | null = null,
): Promise<{ used: Amount; reserved: Amount }> {
  await sql`select set_config('app.oversees', 'usage', true)`;
  const [row] = await sql<{ tokens: number; cost: number; reserved_tokens: number; reserved_cost: number }[]>`
    with since as (select (date_trunc(${period}, now(), 'UTC') at time zone 'UTC')::date as day), spent as (
      select prompt_tokens + completion_tokens + embedding_tokens as tokens, cost_nanos as cost from usage_daily, since
      where tenant_id = current_setting('app.tenant_id')::uuid and usage_daily.day >= since.day
      union all
      select prompt_tokens + completion_tokens + embedding_tokens, coalesce(cost_nanos, 0) from usage_records, since
      where tenant_id = current_setting('app.tenant_id')::uuid and (at at time zone 'UTC')::date >= since.day
    ), reserved as (
      select tokens, cost_nanos as cost from budget_reservations
      where tenant_id = current_setting('app.tenant_id')::uuid and source_id is distinct from ${except}::uuid
    )
    select (select coalesce(sum(tokens), 0) from spent)::bigint as tokens,
      (select coalesce(sum(cost), 0) from spent)::bigint as cost,
      (select coalesce(sum(tokens), 0) from reserved)::bigint as reserved_tokens,
      (select coalesce(sum(cost), 0) from reserved)::bigint as reserved_cost`;
  await sql`select set_config('app.oversees', '', true)`;
  return {
    used: { tokens: row?.tokens ?? 0, costNanos: row?.cost ?? 0 },
    reserved: { tokens: row?.reserved_tokens ?? 0, costNanos: row?.reserved_cost ?? 0 },
  };
}

/** Of a turn or task; a later one takes the place of an earlier one. */
export async function reserve(sql: Sql, sourceId: string, { tokens, costNanos }: Amount): Promise<void> {
  await sql`
    insert into budget_reservations (source_id, tokens, cost_nanos) values (${sourceId}, ${tokens}, ${costNanos})
    on conflict (tenant_id, source_id) do update set tokens = excluded.tokens, cost_nanos = excluded.cost_nanos`;
}

/** What is absent stays as it is; null: not bounded. */
export interface BudgetSetting {
  period?: BudgetPeriod | undefined;
  maxTokens?: number | null | undefined;
  maxCostNanos?: number | null | undefined;
}

/** The tenant's own. */
export async function setBudget(sql: Sql, { period, maxTokens, maxCostNanos }: BudgetSetting): Promise<void> {
  await sql`
    insert into budgets as b (period, max_tokens, max_cost_nanos)
    values (${period ?? 'month'}, ${maxTokens ?? null}, ${maxCostNanos ?? null})
    on conflict (tenant_id) do update set period = ${period === undefined ? sql`b.period` : period},
      max_tokens = ${maxTokens === undefined ? sql`b.max_tokens` : maxTokens},
      max_cost_nanos = ${maxCostNanos === undefined ? sql`b.max_cost_nanos` : maxCostNanos}`;
}

/** What bounds the tenant's own, as `dreamhub_system`. */
export async function grantBudget(
  sql: Sql,
  tenantId: string,
  { period, maxTokens, maxCostNanos }: BudgetSetting,
): Promise<void> {
  await sql`
    insert into budgets as b (tenant_id, period, granted_tokens, granted_cost_nanos)
    values (${tenantId}, ${period ?? 'month'}, ${maxTokens ?? null}, ${maxCostNanos ?? null})
    on conflict (tenant_id) do update set period = ${period === undefined ? sql`b.period` : period},
      granted_tokens = ${maxTokens === undefined ? sql`b.granted_tokens` : maxTokens},
      granted_cost_nanos = ${maxCostNanos === undefined ? sql`b.granted_cost_nanos` : maxCostNanos}`;
}

/** Lets tasks of a tenant that wait for its budget go on at once, as `dreamhub_system`. */
export async function wakeWaiting(sql: Sql, tenantId: string): Promise<void> {
  await sql`
    update tasks set run_at = now()
    where tenant_id = ${tenantId} and status = 'queued' and error_code = 'quota_exceeded' and run_at > now()`;
}
