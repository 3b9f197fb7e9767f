/**
 * The queue and its dead letters, for whoever administers the installation or a tenant of it. It looks as
 * `dreamhub_system`, because an administrator sees that a private document waits or died, and whose it is, though not what
 * is in it. A replay goes on in the scope of the user whose work it is.
 */
import type {
  DeadLetter,
  Lane,
  LaneState,
  Page,
  PageRequest,
  QueueState,
  Reach,
  TaskResource,
} from '../contracts/index.ts';
import { LANES } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { runAs } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { QueueLimits } from '../repositories/admission.ts';
import { countLane, findDeadLetter, listBusyTenants, listDeadLetters, sumLoad } from '../repositories/installation.ts';
import { idCursor, toPage } from './paging.ts';
import type { Tasks } from './tasks.ts';

export interface Administration {
  queue(reach: Reach): Promise<QueueState>;
  deadLetters(reach: Reach, page: PageRequest): Promise<Page<DeadLetter>>;
  /** Puts a dead task back into the queue, admitted anew; `not_found` for one that is not dead, or out of reach. */
  replay(reach: Reach, id: string, traceId: string): Promise<TaskResource>;
}

export interface AdministrationOptions {
  database: Database;
  tasks: Pick<Tasks, 'retry'>;
  limits: QueueLimits;
}

const TOP_TENANTS = 20;

export function createAdministration({ database, tasks, limits }: AdministrationOptions): Administration {
  async function laneState(sql: Sql, lane: Lane, reach: Reach): Promise<LaneState> {
    const counts = await countLane(sql, lane, reach);
    if (lane === 'ingest') return { lane, ...counts, ...(await sumLoad(sql, reach, limits)) };
    // Turns are bounded by their conversations, not by admission.
    const outstanding = counts.queued + counts.running + counts.delayed;
    return { lane, ...counts, outstanding, outstanding_bytes: 0, limit: null, limit_bytes: null };
  }

  return {
    queue: (reach) =>
      database.system(async (sql) => {
        const lanes: LaneState[] = [];
        for (const lane of LANES) lanes.push(await laneState(sql, lane, reach));
        const top = reach.kind === 'installation' ? await listBusyTenants(sql, limits, TOP_TENANTS) : null;
        return { lanes, top_tenants: top };
      }),

    async deadLetters(reach, { limit, cursor }) {
      const rows = await database.system((sql) =>
        listDeadLetters(sql, reach, { limit: limit + 1, after: idCursor(cursor) }),
      );
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => row });
    },

    async replay(reach, id, traceId) {
      const owner = await database.system((sql) => findDeadLetter(sql, reach, id));
      if (!owner) throw new AppError('not_found', 'There is no such dead letter.');
      return runAs({ ...owner, traceId }, () => tasks.retry(id));
    },
  };
}
