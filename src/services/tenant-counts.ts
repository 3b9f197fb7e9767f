/**
 * Tells a tenant's administrators, on the topic `tenant`, how much of the tenant's work is unfinished whenever that has
 * changed. Every worker looks and tells, so the same counts may come more than once; like all hints they may also not come,
 * and `GET /admin/queue` has them.
 */
import type { EventData } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { listUnfinished } from '../repositories/installation.ts';
import type { Announcer } from './announcer.ts';

export interface TenantCountsOptions {
  database: Pick<Database, 'system'>;
  announcer: Pick<Announcer, 'hint'>;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
}

type Counts = EventData['tenant.counts'];

/** It is nobody's in particular. */
const NOBODY = '00000000-0000-0000-0000-000000000000';
const NOTHING: Counts = { tasks: 0, task_bytes: 0, turns: 0 };

const isSame = (a: Counts | undefined, b: Counts) =>
  a !== undefined && a.tasks === b.tasks && a.task_bytes === b.task_bytes && a.turns === b.turns;

export function createTenantCounts({
  database,
  announcer,
  clock,
  logger,
  everyMs = 2_000,
}: TenantCountsOptions): Service {
  let told: ReadonlyMap<string, Counts> = new Map();

  const tell = (tenantId: string, counts: Counts) =>
    runAs({ tenantId, userId: NOBODY, traceId: newTraceId() }, () => announcer.hint('tenant', 'tenant.counts', counts));

  return createLoop({
    name: 'tenant-counts',
    everyMs,
    clock,
    logger,
    async round() {
      const rows = await database.system(listUnfinished);
      const now = new Map(rows.map(({ tenantId, ...counts }) => [tenantId, counts]));
      const changed = [...now].filter(([id, counts]) => !isSame(told.get(id), counts));
      const ended = [...told.keys()].filter((id) => !now.has(id)).map((id) => [id, NOTHING] as const);
      told = now;
      await Promise.all([...changed, ...ended].map(([id, counts]) => tell(id, counts)));
    },
  });
}
