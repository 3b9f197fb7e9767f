/**
 * Applies `sql/NNNN_name.sql` in order, all of them in one transaction behind a transaction-level advisory lock, so that
 * two processes that start at once migrate once and a failing file leaves nothing behind. A file that was applied and
 * has changed since is refused. Before that, the roles and the extension are made where the login may make them.
 *
 * Processes of the version before go on working meanwhile. What a file alters they hold, and they wait for it in another order:
 * where that is a deadlock, or a lock is not to be had soon, all of it is undone and begun again. A file that waited for as long
 * as it takes would have everybody wait behind it.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Umzug } from 'umzug';
import { systemClock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { connect, connectPlainly, type Sql } from './database.ts';

/** Any number that nothing else in this database locks. */
const MIGRATION_LOCK = 7_261_005_110;

const ROLES = ['dreamhub_owner', 'dreamhub_tenant', 'dreamhub_system', 'dreamhub_login'] as const;

export interface Migration {
  name: string;
  text: string;
  /** SHA-256 of the text. */
  checksum: string;
}

const SQL_DIRECTORY = fileURLToPath(new URL('../../sql/', import.meta.url));

/** The migrations of a folder in order; two with one number are an error. */
export async function readMigrations(directory: string = SQL_DIRECTORY): Promise<Migration[]> {
  const names = (await readdir(directory)).filter((name) => /^\d{4}_.+\.sql$/.test(name)).sort();
  if (names.length === 0) throw new AppError('internal', `There is no migration in ${directory}.`);
  const numbers = new Set(names.map((name) => name.slice(0, 4)));
  if (numbers.size !== names.length) throw new AppError('internal', 'Two migrations have the same number.');
  return Promise.all(
    names.map(async (name) => {
      const text = await Bun.file(`${directory}/${name}`).text();
      return { name, text, checksum: createHash('sha256').update(text).digest('hex') };
    }),
  );
}

/** Makes one role; another process may be making it at the same moment. */
function createRole(role: string): string {
  return `do $$ begin
    if not exists (select from pg_roles where rolname = '${role}') then
      begin
        create role ${role} nologin noinherit nosuperuser nobypassrls;
      exception when duplicate_object or unique_violation then null;
      end;
    end if;
  end $$`;
}

/** The login must be able to take each role on, and by `noinherit` grants gains nothing before it does. */
function grantRole(role: string): string {
  return `do $$ begin
    if not pg_has_role(session_user, '${role}', 'MEMBER') then
      execute format('grant ${role} to %I', session_user);
    end if;
  exception when unique_violation then null;
  end $$`;
}

async function bootstrap(tx: Sql): Promise<void> {
  for (const role of ROLES) {
    await tx.unsafe(createRole(role));
    await tx.unsafe(grantRole(role));
  }
  await tx.unsafe('create extension if not exists vector');
  const [able] = await tx<{ create: boolean }[]>`
    select has_schema_privilege('dreamhub_owner', 'public', 'CREATE') as create`;
  if (!able?.create) await tx.unsafe('grant create, usage on schema public to dreamhub_owner');
  const [version] = await tx<{ version: string }[]>`
    select extversion as version from pg_extension where extname = 'vector'`;
  const [major = 0, minor = 0] = (version?.version ?? '').split('.').map(Number);
  if (major === 0 && minor < 7) {
    throw new AppError('unavailable', `pgvector ${version?.version} is too old: 0.8 or newer is needed.`);
  }
}

/** Throws `conflict` where the database has tables. */
export async function assertEmptyDatabase(url: string): Promise<void> {
  const pool = connectPlainly(url);
  try {
    const [row] = await pool<{ count: number }[]>`
      select count(*)::int as count from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')`;
    if (row && row.count > 0)
      throw new AppError('conflict', 'The database is not empty: give DATABASE_OWNER_URL a new one.');
  } finally {
    await pool.end({ timeout: 5 });
  }
}

/** Makes the roles and the extension that everything in a database of ours refers to, and nothing else. */
export async function prepareRoles(url: string): Promise<void> {
  const pool = connectPlainly(url);
  try {
    await pool.begin(async (tx) => bootstrap(tx as unknown as Sql));
  } finally {
    await pool.end({ timeout: 5 });
  }
}

async function applied(tx: Sql): Promise<Map<string, string>> {
  await tx.unsafe(`create table if not exists schema_migrations (
    name text primary key, checksum text not null, applied_at timestamptz not null default now())`);
  const rows = await tx<{ name: string; checksum: string }[]>`select name, checksum from schema_migrations`;
  return new Map(rows.map((row) => [row.name, row.checksum]));
}

/** Throws where an applied file was edited, or where the database is ahead of this program. */
export function assertUnchanged(migrations: readonly Migration[], known: ReadonlyMap<string, string>): void {
  const byName = new Map(migrations.map((migration) => [migration.name, migration]));
  for (const [name, checksum] of known) {
    const migration = byName.get(name);
    if (!migration) {
      throw new AppError('unavailable', `The database has migration ${name}, which this version does not know.`);
    }
    if (migration.checksum !== checksum) {
      throw new AppError('unavailable', `Migration ${name} was edited after it had been applied.`);
    }
  }
}

/** Names of what is not applied yet; changes nothing. Throws as `assertUnchanged` does. */
export async function pendingMigrations(url: string): Promise<string[]> {
  const wanted = await readMigrations();
  const pool = connectPlainly(url);
  try {
    const known = await pool.begin('read only', async (tx) => {
      const [there] = await tx<{ table: string | null }[]>`select to_regclass('schema_migrations')::text as table`;
      if (!there?.table) return new Map<string, string>();
      await tx`set local role dreamhub_owner`;
      const rows = await tx<{ name: string; checksum: string }[]>`select name, checksum from schema_migrations`;
      return new Map(rows.map((row) => [row.name, row.checksum]));
    });
    assertUnchanged(wanted, known);
    return wanted.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  } finally {
    await pool.end({ timeout: 5 });
  }
}

export interface MigrateOptions {
  url: string;
  embedded: boolean;
  /** As `describeServer` tells. Default: false. */
  pooled?: boolean;
  logger: Logger;
  migrations?: Migration[];
}

/** Seconds for a lock; tries until it is given up, and milliseconds between two. */
const LOCK_SECONDS = 3;
const TRIES = 20;
const PAUSE_MS = 500;
const COLLIDED = /^(40P01|55P03)$/;

/** The migrator wraps what a file failed with. */
function isCollision(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ('code' in error && COLLIDED.test(String(error.code))) || isCollision(error.cause);
}

/** Brings the database up to date; returns the names of what was applied now. */
export async function migrate(options: MigrateOptions): Promise<string[]> {
  for (let tries = 1; ; tries++) {
    try {
      return await migrateOnce(options);
    } catch (error) {
      if (tries === TRIES || !isCollision(error)) throw error;
      options.logger.warn({ err: error, tries }, 'a migration met what others hold, and is tried again');
      await systemClock.sleep(PAUSE_MS);
    }
  }
}

async function migrateOnce({ url, embedded, pooled, logger, migrations }: MigrateOptions): Promise<string[]> {
  const wanted = migrations ?? (await readMigrations());
  const pool = connect(url, { max: 1, embedded, pooled });
  try {
    const names = await pool.begin(async (transaction) => {
      const tx = transaction as unknown as Sql;
      await tx`select pg_advisory_xact_lock(${MIGRATION_LOCK})`;
      // From here on: another process that migrates is waited for.
      if (!embedded) await tx.unsafe(`set local lock_timeout = '${LOCK_SECONDS}s'`);
      await bootstrap(tx);
      await tx.unsafe('set local role dreamhub_owner');
      const known = await applied(tx);
      assertUnchanged(wanted, known);
      const umzug = new Umzug({
        migrations: wanted.map(({ name, text }) => ({ name, up: async () => void (await tx.unsafe(text)) })),
        context: { tx },
        storage: {
          executed: async () => [...known.keys()],
          logMigration: async ({ name }) => {
            const checksum = wanted.find((migration) => migration.name === name)?.checksum ?? '';
            await tx`insert into schema_migrations (name, checksum) values (${name}, ${checksum})`;
          },
          unlogMigration: async () => {
            throw new AppError('internal', 'Migrations are append-only.');
          },
        },
        logger: undefined,
      });
      return (await umzug.up()).map(({ name }) => name);
    });
    if (names.length > 0) logger.info({ migrations: names }, 'migrated the database');
    return names;
  } finally {
    await pool.end({ timeout: 5 });
  }
}

/**
 * The role that a session of this login starts in: `dreamhub_login`, which has no rights, where the login itself has
 * some (a superuser, or the owner of the database); undefined where the login is unprivileged already. Throws where it has
 * rights and sessions are pooled: then they cannot start in another role, and code that forgets would have those rights.
 */
export async function sessionRoleFor(url: string, pooled: boolean): Promise<string | undefined> {
  const pool = connectPlainly(url);
  try {
    const [row] = await pool<{ privileged: boolean }[]>`
      select rolsuper or rolbypassrls or pg_has_role(session_user, 'dreamhub_owner', 'USAGE') as privileged
      from pg_roles where rolname = session_user`;
    if (!row?.privileged) return undefined;
    if (pooled) {
      throw new AppError(
        'internal',
        'DATABASE_URL leads through a connection pooler with a login that has rights of its own: give it one that has none.',
      );
    }
    return 'dreamhub_login';
  } finally {
    await pool.end({ timeout: 5 });
  }
}
