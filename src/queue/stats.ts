/** Tells the metrics how long the queue is, how long its first job has been waiting, and how much was given up. */
import { LANES } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { countDeadLetters, readDepth } from '../repositories/backlog.ts';

export interface QueueStatsOptions {
  database: Database;
  metrics: Pick<Metrics, 'queueLength' | 'queueOldestSeconds' | 'deadLetters'>;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
}

export function createQueueStats({ database, metrics, clock, logger, everyMs = 5_000 }: QueueStatsOptions): Service {
  return createLoop({
    name: 'queue-stats',
    everyMs,
    clock,
    logger,
    async round() {
      for (const lane of LANES) {
        const { unfinished, oldestSeconds } = await database.system((sql) => readDepth(sql, lane));
        metrics.queueLength.set({ queue: lane }, unfinished);
        metrics.queueOldestSeconds.set({ queue: lane }, oldestSeconds);
      }
      metrics.deadLetters.set(await database.system(countDeadLetters));
    },
  });
}
