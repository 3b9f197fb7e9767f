/**
 * Checks that what admission has counted is what there is, and repairs it where it is not: a counter that is too high
 * refuses uploads for ever, one that is too low lets a tenant pass its limit and ends in an error below zero. It should
 * never find anything; a restored backup or a repair by hand is how it could.
 */
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { type Drift, findDrift, lockLoad, recountLoad } from '../repositories/installation.ts';

export interface CounterCheck extends Service {
  /** One check; returns the tenants whose counters were wrong and are right now. */
  check(): Promise<Drift[]>;
}

export interface CounterCheckOptions {
  database: Database;
  metrics: Pick<Metrics, 'queueCounterDrift'>;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
}

const sumOf = (drifts: readonly Drift[], unit: 'tasks' | 'bytes') =>
  drifts.reduce((sum, drift) => sum + Math.abs(drift[unit]), 0);

export function createCounterCheck({
  database,
  metrics,
  clock,
  logger,
  everyMs = 60_000,
}: CounterCheckOptions): CounterCheck {
  async function check(): Promise<Drift[]> {
    const drifts = await database.system(findDrift);
    for (const unit of ['tasks', 'bytes'] as const) metrics.queueCounterDrift.set({ unit }, sumOf(drifts, unit));
    for (const { tenantId, tasks, bytes } of drifts) {
      logger.error({ tenant_id: tenantId, tasks, bytes }, 'a queue counter was not what its rows say, and is repaired');
      await database.system(async (sql) => {
        await lockLoad(sql, tenantId);
        await recountLoad(sql, tenantId);
      });
    }
    return drifts;
  }

  const loop = createLoop({
    name: 'counter-check',
    everyMs,
    clock,
    logger,
    async round() {
      await check();
    },
  });
  return { name: loop.name, start: loop.start, stop: loop.stop, check };
}
