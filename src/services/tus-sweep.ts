/** Removes resumable uploads that have expired, unfinished or not, with the bytes that are left of them. */
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { listExpiredSessions } from '../repositories/upload-sessions.ts';
import type { ResumableUploads } from './tus.ts';

export interface UploadSweep extends Service {
  /** Removes what has expired; resolves to how many there were. */
  sweep(): Promise<number>;
}

export interface UploadSweepOptions {
  database: Database;
  resumable: Pick<ResumableUploads, 'remove'>;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
}

const AT_ONCE = 100;

export function createUploadSweep(options: UploadSweepOptions): UploadSweep {
  const { database, resumable, clock, logger, everyMs = 600_000 } = options;

  async function sweep(): Promise<number> {
    const expired = await database.system((sql) => listExpiredSessions(sql, new Date(clock.now()), AT_ONCE));
    let removed = 0;
    for (const { tenantId, userId, id } of expired) {
      try {
        await runAs({ tenantId, userId, traceId: newTraceId() }, () => resumable.remove(id));
        removed += 1;
      } catch (error) {
        // Another process was faster.
        if (error instanceof AppError && error.kind === 'not_found') continue;
        logger.error({ err: error, tenant_id: tenantId, upload: id }, `an expired upload stays: ${messageOf(error)}`);
      }
    }
    return removed;
  }

  const loop = createLoop({
    name: 'upload-sweep',
    everyMs,
    clock,
    logger,
    round: async () => (await sweep()) === AT_ONCE,
  });
  return { name: loop.name, start: loop.start, stop: loop.stop, sweep };
}
