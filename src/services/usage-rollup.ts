/** Moves records of usage into sums of days, so that a year is read as quickly as a day. */
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { rollUpUsage } from '../repositories/usage.ts';

export interface UsageRollUpOptions {
  database: Pick<Database, 'system'>;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
  /** Records of one transaction. */
  most?: number;
}

export function createUsageRollUp({
  database,
  clock,
  logger,
  everyMs = 30_000,
  most = 5_000,
}: UsageRollUpOptions): Service {
  return createLoop({
    name: 'usage-roll-up',
    everyMs,
    clock,
    logger,
    // A full one is not the last.
    round: async () => (await database.system((sql) => rollUpUsage(sql, most))) === most,
  });
}
