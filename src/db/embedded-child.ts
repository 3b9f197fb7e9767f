/**
 * The process that the embedded database lives in, so that a long query stalls neither HTTP nor sockets. Its parent is
 * `embedded.ts`; what it says on standard output are lines of `ChildMessage`. It ends, cleanly, when its standard input
 * closes, which is also what happens when the parent is killed.
 *
 * `bootstrap FOLDER` makes the database in `FOLDER.new` and renames it when it is whole, then exits: making one takes
 * three times the memory of serving one. `serve FOLDER` opens it and listens.
 */
import { rename, rm } from 'node:fs/promises';
import { PGlite } from '@electric-sql/pglite';
import { pg_trgm } from '@electric-sql/pglite/contrib/pg_trgm';
import { vector } from '@electric-sql/pglite-pgvector';
import { systemClock } from '../kernel/clock.ts';
import { lockFile } from '../kernel/file-lock.ts';
import { createLogger } from '../kernel/logger.ts';
import { createMaintenance } from './embedded-maintenance.ts';
import { startEmbeddedServer } from './embedded-server.ts';

export type ChildMessage = { type: 'bootstrapped' } | { type: 'serving'; port: number; password: string };

const extensions = { vector, pg_trgm };

/**
 * The roles as on any server. `dreamhub_login` has no right of its own and may take on each of the three;
 * `dreamhub_owner` owns database and schema, so that migrations need nobody else.
 */
const BOOTSTRAP = `
  create extension if not exists vector;
  create extension if not exists pg_trgm;
  create role dreamhub_owner nologin noinherit nosuperuser nobypassrls;
  create role dreamhub_tenant nologin noinherit nosuperuser nobypassrls;
  create role dreamhub_system nologin noinherit nosuperuser nobypassrls;
  create role dreamhub_login login noinherit nosuperuser nobypassrls;
  grant dreamhub_owner, dreamhub_tenant, dreamhub_system to dreamhub_login with inherit false, set true;
  alter database postgres owner to dreamhub_owner;
  alter schema public owner to dreamhub_owner;
`;

/** A connection that keeps the shared backend to itself for so long without a word is cut off. */
const IDLE_OWNER_MS = 60_000;
const MAX_CONNECTIONS = 200;
/** A predecessor that lost its parent finishes its query and leaves. */
const PREDECESSOR_MS = 15_000;

function say(message: ChildMessage): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function fail(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

async function bootstrap(folder: string): Promise<void> {
  const unfinished = `${folder}.new`;
  await rm(unfinished, { recursive: true, force: true });
  const database = await PGlite.create({ dataDir: unfinished, extensions });
  await database.exec(BOOTSTRAP);
  await database.close();
  await rename(unfinished, folder);
  say({ type: 'bootstrapped' });
}

async function serve(folder: string): Promise<{ close(): Promise<void> }> {
  const database = await PGlite.create({ dataDir: folder, extensions });
  // PGlite always signs in as the superuser; from here on the session is somebody who may do nothing.
  await database.exec('set session authorization dreamhub_login');
  const password = crypto.randomUUID();
  const server = await startEmbeddedServer({
    engine: {
      run: (messages, onRawData) => database.execProtocolRawStream(messages, { syncToFs: false, onRawData }),
      inTransaction: () => database.isInTransaction(),
    },
    password,
    clock: systemClock,
    idleOwnerMs: IDLE_OWNER_MS,
    maxConnections: MAX_CONNECTIONS,
    onFault: fail,
  });
  const maintenance = createMaintenance({
    database,
    exclusively: server.exclusively,
    clock: systemClock,
    // The parent makes log lines of what is written to standard error.
    logger: createLogger({ level: 'warn', destination: process.stderr }),
  });
  await maintenance.start();
  say({ type: 'serving', port: server.port, password });
  return {
    async close() {
      const idle = maintenance.stop();
      await server.stop();
      await idle;
      await database.close();
    },
  };
}

async function main(): Promise<void> {
  const [mode, folder] = process.argv.slice(2);
  if (folder === undefined) throw new Error('usage: embedded-child.ts bootstrap|serve FOLDER');
  const orphaned = Bun.stdin.text();
  const lock = lockFile(`${folder}.lock`, { waitMs: PREDECESSOR_MS });
  if (!lock) throw new Error(`${folder} is still in use by another process`);
  // True for as long as the lock is held: a backup stops this process while it copies the folder (`embedded-copy.ts`).
  await Bun.write(`${folder}.pid`, String(process.pid));
  if (mode === 'bootstrap') {
    await bootstrap(folder);
  } else {
    const server = await serve(folder);
    await Promise.race([orphaned, new Promise((resolve) => process.once('SIGTERM', resolve))]);
    await server.close();
  }
  lock.release();
  process.exit(0);
}

await main().catch(fail);
