/**
 * How tasks went and how tenants grew. Hours of tasks are added up a quarter of an hour after they ended, days of them from
 * their hours; a day of growth two days after it, because a document's chunks come after it does. What is asked of the
 * time since is counted then. Durations are kept in classes, each a quarter longer than the one before, which can be added
 * up over hours and tenants where medians could not; a percentile is told from them to within a quarter.
 */
import type { GrowthStatistics, Reach, StatisticsBucket, TaskStatistics } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import {
  countMeasures,
  DURATION_STEP,
  listGrowing,
  type Measured,
  type Progress,
  readProgress,
  readSums,
  type Span,
  setProgress,
  sumHours,
  sumMeasures,
  type TenantGrowth,
  takeProgress,
} from '../repositories/statistics.ts';
import { dayOf, daysOf } from './usage.ts';

export interface RangeQuery {
  from?: string | undefined;
  to?: string | undefined;
}

export interface Statistics {
  /** `invalid_request` for a range that is none, or too long: 31 days by hours, 366 by days. */
  tasks(reach: Reach, query: RangeQuery & { bucket?: StatisticsBucket | undefined }): Promise<TaskStatistics>;
  /** `invalid_request` as above. */
  growth(reach: Reach, query: RangeQuery): Promise<GrowthStatistics>;
}

export interface StatisticsOptions {
  database: Pick<Database, 'system'>;
  clock: Clock;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MAX_HOURS = 31 * 24;
const MAX_DAYS = 366;
const DEFAULT_HOURS = 24;
const DEFAULT_DAYS = 30;
const TOP_TENANTS = 20;
/** Longer than any transaction: what ended in an hour is committed by then. */
const SETTLED_MS = 15 * 60_000;
/** The most of one transaction: a whole day, of which a busy installation has some ten thousand sums. */
const STEP_MS = DAY_MS;
const KEEP_HOURS_MS = (MAX_HOURS + 48) * HOUR_MS;

const COUNTS = ['accepted', 'succeeded', 'failed', 'dead', 'cancelled'] as const;
const DURATIONS = ['queued', 'running', 'total'] as const;
const TASK_MEASURES = [...COUNTS, ...DURATIONS];
const GROWTH = ['documents', 'chunks', 'bytes', 'users', 'conversations'] as const;

const floorTo = (ms: number, unit: number) => Math.floor(ms / unit) * unit;
const startOf = (ms: number, unit: number) => new Date(floorTo(ms, unit));
const later = (a: Date, b: Date) => (a > b ? a : b);
const earlier = (a: Date, b: Date) => (a < b ? a : b);

/** The part of a span that is before a moment, and the part that is not; undefined where there is none. */
function splitAt({ from, to }: Span, at: Date): { before: Span | undefined; after: Span | undefined } {
  const [before, after] = [
    { from, to: earlier(to, at) },
    { from: later(from, at), to },
  ];
  return {
    before: before.from < before.to ? before : undefined,
    after: after.from < after.to ? after : undefined,
  };
}

/**
 * The value below which a share of the durations lies, in seconds, from how many there are of each class; null where there
 * are none. Inside a class they are taken for evenly spread.
 */
export function percentileOf(classes: ReadonlyMap<number, number>, share: number): number | null {
  const total = classes.values().reduce((sum, n) => sum + n, 0);
  if (total === 0) return null;
  let left = share * total;
  for (const [cls, n] of [...classes].sort(([a], [b]) => a - b)) {
    if (left <= n) {
      const low = cls === 0 ? 0 : DURATION_STEP ** cls;
      const ms = low + (DURATION_STEP ** (cls + 1) - low) * (left / n);
      return Math.round(ms) / 1_000;
    }
    left -= n;
  }
  return null;
}

type TaskSums = Omit<TaskStatistics['totals'], never>;

function spreadOf(rows: readonly Measured[], measure: (typeof DURATIONS)[number]) {
  const classes = new Map<number, number>();
  for (const row of rows) {
    if (row.measure === measure) classes.set(row.class, (classes.get(row.class) ?? 0) + row.n);
  }
  const [median, p95] = [percentileOf(classes, 0.5), percentileOf(classes, 0.95)];
  return median === null || p95 === null ? null : { median, p95 };
}

const countOf = (rows: readonly Measured[], measure: string) =>
  rows.reduce((sum, row) => (row.measure === measure ? sum + row.n : sum), 0);

function taskSumsOf(rows: readonly Measured[]): TaskSums {
  const [accepted, succeeded, failed, dead, cancelled] = [
    countOf(rows, 'accepted'),
    countOf(rows, 'succeeded'),
    countOf(rows, 'failed'),
    countOf(rows, 'dead'),
    countOf(rows, 'cancelled'),
  ];
  const ended = succeeded + failed + dead;
  return {
    accepted,
    succeeded,
    failed,
    dead,
    cancelled,
    failure_rate: ended === 0 ? null : (failed + dead) / ended,
    seconds: spreadOf(rows, 'total'),
    stages: { queued: spreadOf(rows, 'queued'), running: spreadOf(rows, 'running') },
  };
}

const growthOf = (rows: readonly Measured[]) => ({
  documents: countOf(rows, 'documents'),
  chunks: countOf(rows, 'chunks'),
  bytes: countOf(rows, 'bytes'),
  users: countOf(rows, 'users'),
  conversations: countOf(rows, 'conversations'),
});

/** Every unit of a span with the rows of it. */
function byStart({ from, to }: Span, unit: number, rows: readonly Measured[]): { start: Date; rows: Measured[] }[] {
  const known = Map.groupBy(rows, ({ start }) => start.getTime());
  const units: { start: Date; rows: Measured[] }[] = [];
  for (let at = from.getTime(); at < to.getTime(); at += unit) {
    units.push({ start: new Date(at), rows: known.get(at) ?? [] });
  }
  return units;
}

function hoursOf({ from, to }: RangeQuery, now: number): Span {
  const hour = (path: string, value: string) => {
    const ms = Date.parse(value);
    if (!Number.isNaN(ms)) return floorTo(ms, HOUR_MS);
    throw new AppError('invalid_request', 'The range is not valid.', {
      errors: [{ path, message: 'a time (RFC 3339) is needed' }],
    });
  };
  const last = to === undefined ? floorTo(now, HOUR_MS) : hour('to', to);
  const first = from === undefined ? last - (DEFAULT_HOURS - 1) * HOUR_MS : hour('from', from);
  const hours = (last - first) / HOUR_MS + 1;
  if (hours >= 1 && hours <= MAX_HOURS) return { from: new Date(first), to: new Date(last + HOUR_MS) };
  throw new AppError('invalid_request', 'The range is not valid.', {
    errors: [{ path: 'from', message: hours < 1 ? 'must not be after `to`' : `at most ${MAX_HOURS} hours` }],
  });
}

function daySpanOf(query: RangeQuery, now: number): Span {
  const { from, to } = daysOf(query, { now, days: DEFAULT_DAYS, most: MAX_DAYS });
  return { from: new Date(from), to: new Date(to + DAY_MS) };
}

export function createStatistics({ database, clock }: StatisticsOptions): Statistics {
  /** Sums of what is over, and counts of what is not. Rows are there as long as they are counted, so a sum made meanwhile changes nothing. */
  async function tasksOf(sql: Sql, reach: Reach, span: Span, bucket: StatisticsBucket): Promise<Measured[]> {
    const [hours, days] = [await readProgress(sql, 'task hours'), await readProgress(sql, 'task days')];
    const measures = TASK_MEASURES;
    const { before, after } = splitAt(span, hours);
    const rows: Measured[] = [];
    const read = async (grain: StatisticsBucket, part: Span | undefined) => {
      if (part) rows.push(...(await readSums(sql, reach, { grain, measures, span: part, as: bucket })));
    };
    if (bucket === 'hour') await read('hour', before);
    else if (before) {
      const whole = splitAt(before, days);
      await read('day', whole.before);
      await read('hour', whole.after);
    }
    if (after) rows.push(...(await countMeasures(sql, reach, { kind: 'tasks', span: after, grain: bucket })));
    return rows;
  }

  return {
    async tasks(reach, { bucket = 'hour', ...range }) {
      const now = clock.now();
      const span = bucket === 'hour' ? hoursOf(range, now) : daySpanOf(range, now);
      const rows = await database.system((sql) => tasksOf(sql, reach, span, bucket));
      const buckets = byStart(span, bucket === 'hour' ? HOUR_MS : DAY_MS, rows).map(({ start, rows: own }) => ({
        start: start.toISOString(),
        ...taskSumsOf(own),
      }));
      return { bucket, buckets, totals: taskSumsOf(rows) };
    },

    async growth(reach, range) {
      const span = daySpanOf(range, clock.now());
      const [rows, growing] = await database.system(async (sql) => {
        const until = await readProgress(sql, 'growth days');
        const { before, after } = splitAt(span, until);
        const how = { grain: 'day', measures: GROWTH, as: 'day' } as const;
        const found = before ? await readSums(sql, reach, { ...how, span: before }) : [];
        if (after) found.push(...(await countMeasures(sql, reach, { kind: 'growth', span: after, grain: 'day' })));
        const top = reach.kind === 'installation' ? await listGrowing(sql, span, until, TOP_TENANTS) : undefined;
        return [found, top];
      });
      return {
        from: dayOf(span.from.getTime()),
        to: dayOf(span.to.getTime() - DAY_MS),
        days: byStart(span, DAY_MS, rows).map(({ start, rows: own }) => ({
          day: dayOf(start.getTime()),
          ...growthOf(own),
        })),
        totals: growthOf(rows),
        top_tenants: growing ? tenantsOf(growing) : null,
      };
    },
  };
}

function tenantsOf(growing: readonly TenantGrowth[]) {
  return [...Map.groupBy(growing, ({ tenant_id: id }) => id)].map(([id, rows]) => ({
    tenant_id: id,
    name: rows[0]?.name ?? '',
    chunks: rows.reduce((sum, { chunks }) => sum + chunks, 0),
    days: rows.map(({ day, chunks }) => ({ day, chunks })),
  }));
}

export interface StatisticsSweepOptions extends StatisticsOptions {
  logger: Logger;
  everyMs?: number;
}

export interface StatisticsSweep extends Service {
  /** Adds up what is over. */
  sweep(): Promise<void>;
}

/** Adds up hours and days that are over. Of several at once each kind is done by one. */
export function createStatisticsSweep(options: StatisticsSweepOptions): StatisticsSweep {
  const { database, clock, logger, everyMs = 300_000 } = options;

  async function advance(name: Progress, until: Date, add: (sql: Sql, span: Span) => Promise<void>): Promise<void> {
    const step = () =>
      database.system(async (sql) => {
        const from = await takeProgress(sql, name);
        if (from === undefined || from >= until) return false;
        const to = earlier(until, new Date(from.getTime() + STEP_MS));
        await add(sql, { from, to });
        await setProgress(sql, name, to);
        return true;
      });
    while (await step());
  }

  async function sweep(): Promise<void> {
    const now = clock.now();
    await advance('task hours', startOf(now - SETTLED_MS, HOUR_MS), (sql, span) =>
      sumMeasures(sql, 'tasks', 'hour', span),
    );
    const hours = await database.system((sql) => readProgress(sql, 'task hours'));
    await advance('task days', startOf(hours.getTime(), DAY_MS), (sql, span) =>
      sumHours(sql, span, new Date(now - KEEP_HOURS_MS)),
    );
    await advance('growth days', startOf(now - 2 * DAY_MS, DAY_MS), (sql, span) =>
      sumMeasures(sql, 'growth', 'day', span),
    );
  }

  const loop = createLoop({ name: 'statistics', everyMs, clock, logger, round: sweep });
  return { name: loop.name, start: loop.start, stop: loop.stop, sweep };
}
