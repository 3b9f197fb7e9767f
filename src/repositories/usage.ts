/**
 * What work with models has cost: a row for each attempt at an answer and each batch of vectors, and the sums of days that a
 * sweep makes of them. Readers add both up in one statement.
 */
import type { UsageGroup, UsageGrouping } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

export interface UsageRecord {
  /** Of the turn or task, else an id of its own; with `attempt` and `part` it is written once. */
  readonly sourceId: string;
  readonly attempt: number;
  /** Which batch of the attempt. */
  readonly part: number;
  readonly model: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly embeddingTokens: number;
  /** The provider did not say how many. */
  readonly counted: boolean;
  /** Billionths of a US dollar; null: no price is known. */
  readonly costNanos: number | null;
}

/** Writes records of the ambient scope in the transaction of the work; one that is there already stays as it is. */
export async function recordUsage(sql: Sql, records: readonly UsageRecord[]): Promise<void> {
  if (records.length === 0) return;
  const column = <T>(pick: (record: UsageRecord) => T) => records.map(pick);
  await sql`
    insert into usage_records (source_id, attempt, part, model, prompt_tokens, completion_tokens, embedding_tokens, counted,
      cost_nanos)
    select * from unnest(${column(({ sourceId }) => sourceId)}::uuid[], ${column(({ attempt }) => attempt)}::int[],
      ${column(({ part }) => part)}::int[], ${column(({ model }) => model)}::text[],
      ${column(({ promptTokens }) => promptTokens)}::bigint[],
      ${column(({ completionTokens }) => completionTokens)}::bigint[],
      ${column(({ embeddingTokens }) => embeddingTokens)}::bigint[], ${column(({ counted }) => String(counted))}::text[]::boolean[],
      ${column(({ costNanos }) => costNanos)}::bigint[])
    on conflict do nothing`;
}

/** Records and sums as one, a row each. */
const spent = (sql: Sql) => sql`
  select day, user_id, model, prompt_tokens, completion_tokens, embedding_tokens, counted_tokens, unpriced_tokens,
    cost_nanos, requests
  from usage_daily where tenant_id = current_setting('app.tenant_id')::uuid
  union all
  select (at at time zone 'UTC')::date, user_id, model, prompt_tokens, completion_tokens, embedding_tokens,
    case when counted then prompt_tokens + completion_tokens + embedding_tokens else 0 end,
    case when cost_nanos is null then prompt_tokens + completion_tokens + embedding_tokens else 0 end,
    coalesce(cost_nanos, 0), 1
  from usage_records where tenant_id = current_setting('app.tenant_id')::uuid`;

type Sums = Omit<UsageGroup, 'day' | 'model' | 'user_id'>;
type SumRow = Omit<Sums, 'cost'> & { cost_nanos: number; key: string | null; is_total: boolean };

const NO_SUMS: Sums = {
  prompt_tokens: 0,
  completion_tokens: 0,
  embedding_tokens: 0,
  counted_tokens: 0,
  unpriced_tokens: 0,
  cost: 0,
  requests: 0,
};

function sumsOf({ cost_nanos, key: _key, is_total: _total, ...sums }: SumRow): Sums {
  const tokens = sums.prompt_tokens + sums.completion_tokens + sums.embedding_tokens;
  return { ...sums, cost: tokens > 0 && sums.unpriced_tokens === tokens ? null : cost_nanos / 1e9 };
}

export interface UsageQuery {
  /** Days in UTC (`2026-11-22`), both included. */
  from: string;
  to: string;
  groupBy: UsageGrouping;
  /** Most groups. */
  limit: number;
  /** The whole tenant's instead of the scope's user's: for administrators. */
  oversees: boolean;
}

/** For a transaction of its own. */
export async function sumUsage(sql: Sql, query: UsageQuery): Promise<{ groups: UsageGroup[]; totals: Sums }> {
  const { from, to, groupBy, limit, oversees } = query;
  if (oversees) await sql`select set_config('app.oversees', 'usage', true)`;
  const key =
    groupBy === 'day' ? sql`to_char(day, 'YYYY-MM-DD')` : groupBy === 'model' ? sql`model` : sql`user_id::text`;
  const mine = oversees ? sql`` : sql`and user_id = current_setting('app.user_id')::uuid`;
  const order = groupBy === 'day' ? sql`key` : sql`prompt_tokens + completion_tokens + embedding_tokens desc, key`;
  const rows = await sql<SumRow[]>`
    with spent as (${spent(sql)}), keyed as (
      select ${key} as key, s.* from spent s where day between ${from}::date and ${to}::date ${mine}
    ), summed as (
      select key, grouping(key) = 1 as is_total, sum(prompt_tokens)::bigint as prompt_tokens,
        sum(completion_tokens)::bigint as completion_tokens, sum(embedding_tokens)::bigint as embedding_tokens,
        sum(counted_tokens)::bigint as counted_tokens, sum(unpriced_tokens)::bigint as unpriced_tokens,
        sum(cost_nanos)::bigint as cost_nanos, sum(requests)::bigint as requests
      from keyed group by grouping sets ((key), ())
    )
    select * from summed where is_total or requests > 0 order by is_total desc, ${order} limit ${limit + 1}`;
  const [total, ...groups] = rows;
  const name = groupBy === 'user' ? 'user_id' : groupBy;
  return {
    // Over nothing the sums are null.
    totals: total && total.requests !== null ? sumsOf(total) : NO_SUMS,
    groups: groups.map((row) => ({ [name]: row.key ?? '', ...sumsOf(row) })),
  };
}

/** Bytes of the documents of the scope's user, or of the tenant with the private ones of all. For a transaction of its own. */
export async function sumStorage(sql: Sql, { oversees }: { oversees: boolean }): Promise<number> {
  if (oversees) await sql`select set_config('app.oversees', 'names', true)`;
  const mine = oversees ? sql`` : sql`and owner_id = current_setting('app.user_id')::uuid`;
  const [row] = await sql<{ bytes: number }[]>`
    select coalesce(sum(size), 0)::bigint as bytes from documents
    where tenant_id = current_setting('app.tenant_id')::uuid ${mine}`;
  return row?.bytes ?? 0;
}

/** Of all who move records into sums, one at a time. */
const ROLL_UP_LOCK = 7_261_005_210;

/**
 * Moves up to `most` records of whatever tenants into the sums of their days, as `dreamhub_system`; returns how many. Another one
 * that is at it is not waited for.
 */
export async function rollUpUsage(sql: Sql, most: number): Promise<number> {
  const [lock] = await sql<{ locked: boolean }[]>`select pg_try_advisory_xact_lock(${ROLL_UP_LOCK}) as locked`;
  if (!lock?.locked) return 0;
  const [row] = await sql<{ moved: number }[]>`
    with gone as (
      delete from usage_records where (tenant_id, source_id, attempt, part) in (
        select tenant_id, source_id, attempt, part from usage_records limit ${most})
      returning *
    ), added as (
      insert into usage_daily as d (tenant_id, day, user_id, model, prompt_tokens, completion_tokens, embedding_tokens,
        counted_tokens, unpriced_tokens, cost_nanos, requests)
      select tenant_id, (at at time zone 'UTC')::date as day, user_id, model, sum(prompt_tokens), sum(completion_tokens),
        sum(embedding_tokens),
        coalesce(sum(prompt_tokens + completion_tokens + embedding_tokens) filter (where counted), 0),
        coalesce(sum(prompt_tokens + completion_tokens + embedding_tokens) filter (where cost_nanos is null), 0),
        coalesce(sum(cost_nanos), 0), count(*)
      from gone group by 1, 2, 3, 4
      on conflict (tenant_id, day, user_id, model) do update set
        prompt_tokens = d.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = d.completion_tokens + excluded.completion_tokens,
        embedding_tokens = d.embedding_tokens + excluded.embedding_tokens,
        counted_tokens = d.counted_tokens + excluded.counted_tokens,
        unpriced_tokens = d.unpriced_tokens + excluded.unpriced_tokens,
        cost_nanos = d.cost_nanos + excluded.cost_nanos, requests = d.requests + excluded.requests
    )
    select count(*)::int as moved from gone`;
  return row?.moved ?? 0;
}
