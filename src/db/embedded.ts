/**
 * The database of an installation that was given none: PGlite in a child process, reached over the same protocol and by
 * the same client as any server. One process at a time uses a data folder. Nothing is restarted here: when the child is
 * gone, `exited` says so and the owner decides.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ChildExit, type ChildProcess, spawnChild } from '../kernel/child-process.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { type FileLock, lockFile } from '../kernel/file-lock.ts';
import type { Logger } from '../kernel/logger.ts';
import type { ChildMessage } from './embedded-child.ts';

export interface EmbeddedDatabaseOptions {
  /** `DATA_DIR`; the database is in its folder `postgres`. */
  dataDir: string;
  logger: Logger;
  clock?: Clock;
}

export interface EmbeddedDatabase {
  /** Names port and password of this run; worth nothing after it. */
  readonly url: string;
  readonly pid: number;
  /** Settles when the child is gone, asked or not. */
  readonly exited: Promise<ChildExit>;
  /** Closes the database; after `timeoutMs` (default 10 s) kills it, which loses nothing that was acknowledged. */
  stop(timeoutMs?: number): Promise<void>;
  /** Ends it at once: the only way out of a query that does not return. */
  kill(): void;
}

const CHILD = fileURLToPath(new URL('./embedded-child.ts', import.meta.url));
/** Making a database takes some seconds, on a slow disk more. */
const START_TIMEOUT_MS = 120_000;

interface Running {
  child: ChildProcess;
  message: ChildMessage;
}

export async function startEmbeddedDatabase({
  dataDir,
  logger,
  clock = systemClock,
}: EmbeddedDatabaseOptions): Promise<EmbeddedDatabase> {
  const folder = join(resolve(dataDir), 'postgres');
  await mkdir(resolve(dataDir), { recursive: true, mode: 0o700 });
  const lock = lockFile(join(resolve(dataDir), 'database.lock'));
  if (!lock) throw new AppError('conflict', `Another DreamHub process is using the database in ${folder}.`);
  try {
    if (!existsSync(folder)) {
      logger.info({ folder }, 'making the embedded database');
      const { child } = await run('bootstrap', folder, logger, clock);
      await child.exited;
    }
    return serving(await run('serve', folder, logger, clock), lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Starts the child and waits for its first word. */
async function run(mode: 'bootstrap' | 'serve', folder: string, logger: Logger, clock: Clock): Promise<Running> {
  const said = Promise.withResolvers<ChildMessage>();
  const child = spawnChild({
    name: 'database',
    command: [process.execPath, CHILD, mode, folder],
    onLine: (line) => said.resolve(JSON.parse(line) as ChildMessage),
    clock,
    logger,
  });
  const cancel = clock.after(START_TIMEOUT_MS, child.kill);
  const silent = child.exited.then(() => {
    throw new AppError('unavailable', `The embedded database in ${folder} did not start: ${child.errorTail()}`);
  });
  try {
    return { child, message: await Promise.race([said.promise, silent]) };
  } finally {
    cancel();
    // It ends one day, after it has said its word.
    silent.catch(() => undefined);
  }
}

function serving({ child, message }: Running, lock: FileLock): EmbeddedDatabase {
  if (message.type !== 'serving') throw new AppError('internal', `The database's process said ${message.type}.`);
  const exited = child.exited.finally(lock.release);
  return {
    url: `postgres://dreamhub_login:${message.password}@127.0.0.1:${message.port}/postgres`,
    pid: child.pid,
    exited,
    kill: child.kill,
    async stop(timeoutMs = 10_000) {
      await child.stop(timeoutMs);
      await exited;
    },
  };
}
