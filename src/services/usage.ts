/** What the tenant's work with models has cost: members see their own, owners and admins everybody's. */
import type { Principal, UsageGrouping, UsageReport } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { sumStorage, sumUsage } from '../repositories/usage.ts';
import { may } from './access.ts';

export interface UsageQuery {
  /** Days, or times of which the day in UTC counts. Default: today, and 29 days before it. */
  from?: string | undefined;
  to?: string | undefined;
  group_by?: UsageGrouping | undefined;
}

export interface Usages {
  /** `invalid_request` for days that are none, in the wrong order, or more than `MAX_DAYS`. */
  report(query: UsageQuery, by: Principal): Promise<UsageReport>;
}

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 30;
const MAX_DAYS = 366;
const MAX_GROUPS = 1_000;

export const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** The day in UTC of a date or a time, in milliseconds. */
function startOfDay(path: string, value: string): number {
  const ms = Date.parse(value);
  // Days that are in no month are taken for ones of the next.
  const isReal = !Number.isNaN(ms) && new Date(ms).getUTCFullYear() >= 1_970 && isDayOfMonth(value);
  if (isReal) return Math.floor(ms / DAY_MS) * DAY_MS;
  throw new AppError('invalid_request', 'The range is not valid.', {
    errors: [{ path, message: 'a date (2026-11-22) or a time (RFC 3339) is needed' }],
  });
}

function isDayOfMonth(value: string): boolean {
  const [, year, month, day] = /^(\d{4})-(\d{2})-(\d{2})/.exec(value) ?? [];
  return day !== undefined && Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
}

/** The days of a range, first and last. Throws `invalid_request`. */
export function daysOf(
  { from, to }: Pick<UsageQuery, 'from' | 'to'>,
  { now, days, most }: { now: number; days: number; most: number },
): { from: number; to: number } {
  const last = to === undefined ? Math.floor(now / DAY_MS) * DAY_MS : startOfDay('to', to);
  const first = from === undefined ? last - (days - 1) * DAY_MS : startOfDay('from', from);
  const problem =
    first > last ? 'must not be after `to`' : last - first >= most * DAY_MS ? `at most ${most} days` : undefined;
  if (problem === undefined) return { from: first, to: last };
  throw new AppError('invalid_request', 'The range is not valid.', { errors: [{ path: 'from', message: problem }] });
}

export function createUsages({ database, clock }: { database: Pick<Database, 'read'>; clock: Clock }): Usages {
  return {
    async report({ from, to, group_by: groupBy = 'day' }, by) {
      const range = daysOf({ from, to }, { now: clock.now(), days: DEFAULT_DAYS, most: MAX_DAYS });
      const oversees = may(by, 'manage');
      const days = { from: dayOf(range.from), to: dayOf(range.to) };
      const { groups, totals } = await database.read((sql) =>
        sumUsage(sql, { ...days, groupBy, limit: MAX_GROUPS, oversees }),
      );
      const storage = await database.read((sql) => sumStorage(sql, { oversees }));
      return {
        ...days,
        group_by: groupBy,
        scope: oversees ? 'tenant' : 'user',
        groups,
        totals: { ...totals, storage_bytes: storage },
      };
    },
  };
}
