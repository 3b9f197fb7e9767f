/**
 * Copies the embedded database as of one moment, also while it is used. Its process is stopped (SIGSTOP) while the files are
 * copied, so that the copy is what a `kill -9` would have left, from which the database recovers everything that was
 * committed; those who wait for it wait for as long as the copy takes. A watcher lets it go on even where we are killed.
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { AppError } from '../kernel/errors.ts';
import { lockFile } from '../kernel/file-lock.ts';

/** Lets process `$2` go on as soon as process `$1` is gone. */
const WATCH = 'while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; kill -CONT "$2" 2>/dev/null';

/** Of `DATA_DIR` to a folder that is not there yet. Throws `not_found` where there is no database. */
export async function copyEmbeddedDatabase(dataDir: string, to: string): Promise<void> {
  const folder = join(resolve(dataDir), 'postgres');
  if (!existsSync(folder)) throw new AppError('not_found', `There is no embedded database in ${dataDir}.`);
  const copy = () => cp(folder, to, { recursive: true, errorOnExist: true, force: false });
  const lock = lockFile(`${folder}.lock`);
  if (lock) {
    try {
      await copy();
    } finally {
      lock.release();
    }
    return;
  }
  const pid = Number(await readFile(`${folder}.pid`, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 1)
    throw new AppError('conflict', `Another process uses ${folder} and does not say which: stop it first.`);
  const watcher = Bun.spawn(['sh', '-c', WATCH, 'watch', String(process.pid), String(pid)], {
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  process.kill(pid, 'SIGSTOP');
  try {
    await copy();
  } finally {
    process.kill(pid, 'SIGCONT');
    watcher.kill();
  }
}

/** The other way, into a `DATA_DIR` that has no database. Throws `conflict` where it has one. */
export async function placeEmbeddedDatabase(from: string, dataDir: string): Promise<void> {
  const folder = join(resolve(dataDir), 'postgres');
  if (existsSync(folder)) throw new AppError('conflict', `There is a database in ${dataDir} already.`);
  await mkdir(resolve(dataDir), { recursive: true, mode: 0o700 });
  await cp(from, folder, { recursive: true, errorOnExist: true, force: false });
}
