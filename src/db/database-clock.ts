/**
 * A clock that goes as the database's does. Times that one process writes and another one compares belong to nobody's own
 * clock: where that is wrong by an hour, what waits for an hour is taken at once, or what is being done is taken from
 * whoever does it.
 */
import type { Clock } from '../kernel/clock.ts';
import type { Database } from './database.ts';

export interface DatabaseClock extends Clock {
  /** Looks at the database's clock, if it was not looked at for a minute. Rejects where the database does not answer. */
  agree(): Promise<void>;
}

const AGREES_FOR_MS = 60_000;

export function createDatabaseClock({
  database,
  clock,
}: {
  database: Pick<Database, 'system'>;
  clock: Clock;
}): DatabaseClock {
  /** Milliseconds that the database is ahead. */
  let ahead = 0;
  let agreedAt = Number.NEGATIVE_INFINITY;
  return {
    ...clock,
    now: () => clock.now() + ahead,
    async agree() {
      const asked = clock.now();
      // A clock that was set back would otherwise be believed for as long as it was set back.
      if (asked >= agreedAt && asked - agreedAt < AGREES_FOR_MS) return;
      const [row] = await database.system(
        (sql) => sql<{ ms: number }[]>`select extract(epoch from clock_timestamp())::float8 * 1000 as ms`,
      );
      agreedAt = clock.now();
      if (row) ahead = Math.round(row.ms - (asked + agreedAt) / 2);
    },
  };
}
