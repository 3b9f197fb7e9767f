/**
 * A lock that one process of this machine holds on a file. It is the operating system's own (SQLite takes it), so it
 * ends with its holder however that dies: there is no stale lock to recognise and no process id that could be reused.
 * Two holders inside one process exclude each other too. Not for network file systems.
 */
import { Database, SQLiteError } from 'bun:sqlite';

export interface FileLock {
  /** Lets the next one in; fine to call twice. The file stays, because removing it would race with the next holder. */
  release(): void;
}

/**
 * Takes the lock, or returns null when another holds it. `waitMs` (default 0) blocks this thread up to so long: only for
 * a process that has nothing else to do yet.
 */
export function lockFile(path: string, { waitMs = 0 }: { waitMs?: number } = {}): FileLock | null {
  const database = new Database(path, { create: true });
  try {
    database.run(`pragma busy_timeout = ${Math.trunc(waitMs)}`);
    database.run('begin exclusive');
  } catch (error) {
    database.close();
    if (error instanceof SQLiteError && error.code?.startsWith('SQLITE_BUSY')) return null;
    throw error;
  }
  return { release: () => database.close() };
}
