/**
 * Tells the metrics how much tenants have used of what they may: of all that bounds a tenant, what is nearest to its end.
 * Tenants are told by id, those nearest to an end alone, all others together as `other`: labels must not grow with tenants.
 */
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import type { QueueLimits } from '../repositories/admission.ts';
import { listUsedShares } from '../repositories/installation.ts';

export interface QuotaStatsOptions {
  database: Pick<Database, 'system'>;
  limits: QueueLimits;
  metrics: Pick<Metrics, 'quotaUsedPct'>;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
  /** Tenants that are told by themselves. */
  most?: number;
}

export function createQuotaStats({
  database,
  limits,
  metrics,
  clock,
  logger,
  everyMs = 15_000,
  most = 20,
}: QuotaStatsOptions): Service {
  let told = new Set<string>();
  return createLoop({
    name: 'quota-stats',
    everyMs,
    clock,
    logger,
    async round() {
      const shares = await database.system((sql) => listUsedShares(sql, limits, most + 1));
      const now = new Map(shares.slice(0, most).map(({ tenantId, share }) => [tenantId, share]));
      now.set('other', shares[most]?.share ?? 0);
      for (const name of told) if (!now.has(name)) metrics.quotaUsedPct.remove({ scope: 'tenant', name });
      for (const [name, share] of now) metrics.quotaUsedPct.set({ scope: 'tenant', name }, share * 100);
      told = new Set(now.keys());
    },
  });
}
