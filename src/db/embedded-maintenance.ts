/**
 * What autovacuum does on a server: PGlite has one backend and nobody beside it, so without this every update leaves its
 * dead row for ever (1,000 rows updated 300 times: 7.3 MB instead of 1.6) and the planner knows no table's size. One
 * table a round, the worst first, because everybody waits meanwhile: all at once took up to 3 s, one takes milliseconds.
 */
import type { PGlite } from '@electric-sql/pglite';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Loop } from '../kernel/service.ts';

export interface MaintenanceOptions {
  database: Pick<PGlite, 'query' | 'exec'>;
  /** Runs `work` while no connection holds the backend. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  clock: Clock;
  logger: Logger;
}

const EVERY_MS = 60_000;

/** Autovacuum's own thresholds. The counters are of this process; without the flush they lag behind. */
const WORST = `
  select format('%I.%I', schemaname, relname) as name from pg_stat_user_tables
  where n_dead_tup > 50 + 0.2 * n_live_tup
    or n_mod_since_analyze > 50 + 0.1 * n_live_tup
    or n_ins_since_vacuum > 1000 + 0.2 * n_live_tup
  order by n_dead_tup + n_mod_since_analyze desc limit 1`;

/** Vacuums the table that needs it most; false when none does. */
export async function vacuumWorst(database: MaintenanceOptions['database']): Promise<boolean> {
  await database.exec('select pg_stat_force_next_flush()');
  const { rows } = await database.query<{ name: string }>(WORST);
  const name = rows[0]?.name;
  if (name === undefined) return false;
  // VACUUM refuses to run in a transaction, so the role is the session's: nobody else is let in until it is back.
  await database.exec('set role dreamhub_owner');
  try {
    await database.exec(`vacuum (analyze) ${name}`);
  } finally {
    await database.exec('reset role');
  }
  return true;
}

export function createMaintenance({ database, exclusively, clock, logger }: MaintenanceOptions): Loop {
  return createLoop({
    name: 'embedded database maintenance',
    everyMs: EVERY_MS,
    clock,
    logger,
    round: () => exclusively(() => vacuumWorst(database)),
  });
}
