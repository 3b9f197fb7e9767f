/**
 * How tasks went and how tenants grew: sums of hours and days that are over, and what is counted of the time since. As
 * `dreamhub_system`; like `installation.ts` it spans tenants and is told which one is meant.
 */
import type { Reach, StatisticsBucket } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

/** One measure of one hour or day. */
export interface Measured {
  start: Date;
  measure: string;
  /** Of a duration; else 0. */
  class: number;
  n: number;
}

export interface Span {
  /** In it. */
  from: Date;
  /** Not in it. */
  to: Date;
}

export type Progress = 'task hours' | 'task days' | 'growth days';

/** A class of durations is so many times as long as the one before it; class 0 is up to a millisecond's. */
export const DURATION_STEP = 1.25;
/** By how much the clock that ids are made by may differ from the database's. */
const ID_SLACK_MS = 600_000;
const EVER = new Date('2000-01-01T00:00:00Z');

/** The lowest UUIDv7 of a moment. */
function idAt(ms: number): string {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

const idsOf = ({ from, to }: Span) => ({
  low: idAt(from.getTime() - ID_SLACK_MS),
  high: idAt(to.getTime() + ID_SLACK_MS),
});

const ofTenant = (sql: Sql, reach: Reach, column = sql`tenant_id`) =>
  reach.kind === 'tenant' ? sql`${column} = ${reach.tenantId}::uuid` : sql`true`;

/** Up to when sums are made. A row of it is locked by who makes them. */
export async function readProgress(sql: Sql, name: Progress): Promise<Date> {
  const [row] = await sql<{ until: Date }[]>`select until from statistics_progress where name = ${name}`;
  return row?.until ?? EVER;
}

/** As `readProgress`, for who goes on with it: undefined while another one does. Nothing was before the first tenant. */
export async function takeProgress(sql: Sql, name: Progress): Promise<Date | undefined> {
  await sql`
    insert into statistics_progress (name, until)
    select ${name}, date_trunc('day', coalesce(min(created_at), now()), 'UTC') from tenants on conflict do nothing`;
  const [row] = await sql<{ until: Date }[]>`
    select until from statistics_progress where name = ${name} for update skip locked`;
  return row?.until;
}

export async function setProgress(sql: Sql, name: Progress, until: Date): Promise<void> {
  await sql`update statistics_progress set until = ${until} where name = ${name}`;
}

/**
 * What tasks did in a span, by tenant and grain: what was accepted is found by its ids, which are made in the order of time,
 * what ended by an index.
 */
const taskMeasures = (sql: Sql, span: Span, grain: StatisticsBucket, reach: Reach) => sql`
  select came.tenant_id, date_trunc(${grain}, came.created_at, 'UTC') as start, 'accepted' as measure, 0 as class, count(*) as n
  from ${created(sql, 'tasks', span, reach)}
  where came.created_at >= ${span.from} and came.created_at < ${span.to} group by 1, 2
  union all
  select tenant_id, date_trunc(${grain}, finished_at, 'UTC'), status, 0, count(*)
  from tasks where finished_at >= ${span.from} and finished_at < ${span.to} and ${ofTenant(sql, reach)}
  group by 1, 2, 3
  union all
  select t.tenant_id, date_trunc(${grain}, t.finished_at, 'UTC'), m.measure,
    floor(ln(greatest(1, 1000 * extract(epoch from m.lasted)::float8)) / ln(${DURATION_STEP}::float8))::int, count(*)
  from tasks t cross join lateral (values ('queued', t.started_at - t.created_at),
    ('running', t.finished_at - t.started_at), ('total', t.finished_at - t.created_at)) as m(measure, lasted)
  where t.finished_at >= ${span.from} and t.finished_at < ${span.to} and t.status = 'succeeded' and m.lasted is not null
    and ${ofTenant(sql, reach, sql`t.tenant_id`)}
  group by 1, 2, 3, 4`;

/** Rows that came in a span or a little before and after it, by their keys. */
function created(sql: Sql, table: 'tasks' | 'documents' | 'conversations' | 'accounts', span: Span, reach: Reach) {
  const { low, high } = idsOf(span);
  const more = table === 'documents' ? sql`, size, coalesce(chunks, 0) as chunks` : sql``;
  return sql`tenants x cross join lateral (
    select tenant_id, created_at ${more} from ${sql(table)} r
    where r.tenant_id = x.id and r.id >= ${low}::uuid and r.id < ${high}::uuid
      and ${ofTenant(sql, reach, sql`x.id`)}) as came`;
}

/** What came in a span, by tenant and day. */
function growthMeasures(sql: Sql, span: Span, reach: Reach) {
  const day = sql`date_trunc('day', came.created_at, 'UTC')`;
  const inSpan = sql`came.created_at >= ${span.from} and came.created_at < ${span.to}`;
  const count = (table: 'conversations' | 'accounts', measure: string) => sql`
    select came.tenant_id, ${day}, ${measure}, 0, count(*) from ${created(sql, table, span, reach)} where ${inSpan}
    group by 1, 2`;
  return sql`
    select came.tenant_id, ${day} as start, m.measure, 0 as class, sum(m.n)::bigint as n
    from ${created(sql, 'documents', span, reach)}
    cross join lateral (values ('documents', 1::bigint), ('chunks', came.chunks), ('bytes', came.size)) as m(measure, n)
    where ${inSpan} group by 1, 2, 3
    union all ${count('conversations', 'conversations')}
    union all ${count('accounts', 'users')}`;
}

const measuresOf = (sql: Sql, kind: 'tasks' | 'growth', span: Span, grain: StatisticsBucket, reach: Reach) =>
  kind === 'tasks' ? taskMeasures(sql, span, grain, reach) : growthMeasures(sql, span, reach);

const INSTALLATION: Reach = { kind: 'installation' };

/** Adds up what is over, tenant by tenant and of all; what was added up before is the same again. */
export async function sumMeasures(
  sql: Sql,
  kind: 'tasks' | 'growth',
  grain: StatisticsBucket,
  span: Span,
): Promise<void> {
  await sql`
    with measured as (${measuresOf(sql, kind, span, grain, INSTALLATION)}), each as (
      insert into statistics (tenant_id, grain, start, measure, class, n)
      select tenant_id, ${grain}, start, measure, class, n from measured where n > 0
      on conflict (tenant_id, grain, start, measure, class) do update set n = excluded.n
    )
    insert into installation_statistics (grain, start, measure, class, n)
    select ${grain}, start, measure, class, sum(n) from measured where n > 0 group by start, measure, class
    on conflict (grain, start, measure, class) do update set n = excluded.n`;
}

/** Adds up hours that are over to days, and forgets hours of before `keep`. */
export async function sumHours(sql: Sql, { from, to }: Span, keep: Date): Promise<void> {
  await sql`
    insert into statistics (tenant_id, grain, start, measure, class, n)
    select tenant_id, 'day', date_trunc('day', start, 'UTC'), measure, class, sum(n) from statistics
    where grain = 'hour' and start >= ${from} and start < ${to} group by 1, 3, 4, 5
    on conflict (tenant_id, grain, start, measure, class) do update set n = excluded.n`;
  await sql`
    insert into installation_statistics (grain, start, measure, class, n)
    select 'day', date_trunc('day', start, 'UTC'), measure, class, sum(n) from installation_statistics
    where grain = 'hour' and start >= ${from} and start < ${to} group by 2, 3, 4
    on conflict (grain, start, measure, class) do update set n = excluded.n`;
  await sql`delete from statistics where grain = 'hour' and start < ${keep}`;
  await sql`delete from installation_statistics where grain = 'hour' and start < ${keep}`;
}

/** Sums that were made, in grains of `as`. */
export async function readSums(
  sql: Sql,
  reach: Reach,
  {
    grain,
    measures,
    span,
    as,
  }: { grain: StatisticsBucket; measures: readonly string[]; span: Span; as: StatisticsBucket },
): Promise<Measured[]> {
  return sql<Measured[]>`
    select date_trunc(${as}, start, 'UTC') as start, measure, class, sum(n)::bigint as n
    from ${reach.kind === 'tenant' ? sql`statistics` : sql`installation_statistics`}
    where ${ofTenant(sql, reach)} and grain = ${grain} and start >= ${span.from} and start < ${span.to}
      and measure = any(${[...measures]}::text[])
    group by 1, 2, 3`;
}

/** What is not added up yet, counted now. */
export async function countMeasures(
  sql: Sql,
  reach: Reach,
  { kind, span, grain }: { kind: 'tasks' | 'growth'; span: Span; grain: StatisticsBucket },
): Promise<Measured[]> {
  return sql<Measured[]>`
    select start, measure, class, sum(n)::bigint as n from (${measuresOf(sql, kind, span, grain, reach)}) as m
    group by 1, 2, 3`;
}

export interface TenantGrowth {
  tenant_id: string;
  name: string;
  day: string;
  chunks: number;
}

/** Chunks that came, tenant by tenant and day by day, of those with most of them in the span. */
export async function listGrowing(sql: Sql, span: Span, until: Date, most: number): Promise<TenantGrowth[]> {
  const live = { from: until > span.from ? until : span.from, to: span.to };
  return sql<TenantGrowth[]>`
    with came as (
      select tenant_id, start, n from statistics
      where grain = 'day' and measure = 'chunks' and start >= ${span.from} and start < ${span.to} and start < ${until}
      union all
      select tenant_id, start, n from (${growthMeasures(sql, live, INSTALLATION)}) as m where measure = 'chunks'
    ), most as (
      select tenant_id, sum(n) as chunks from came group by 1 having sum(n) > 0 order by 2 desc, 1 limit ${most}
    )
    select c.tenant_id, t.name, to_char(c.start at time zone 'UTC', 'YYYY-MM-DD') as day, sum(c.n)::bigint as chunks
    from most m join came c on c.tenant_id = m.tenant_id join tenants t on t.id = c.tenant_id
    where c.n > 0 group by m.chunks, c.tenant_id, t.name, c.start order by m.chunks desc, c.tenant_id, c.start`;
}
