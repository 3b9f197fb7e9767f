/**
 * Real services for tests. PostgreSQL is one cluster for all (`make services`; started here when it does not run) with a
 * fresh database for each test file; Redis is a private server for each test file, on a socket.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { migrate } from '../../src/db/migrate.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { type EmbeddedRedis, startEmbeddedRedis } from '../../src/redis/embedded.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface TestDatabase {
  readonly name: string;
  /** Signs in as a role without rights that may take on the roles of the architecture, as in production. */
  readonly url: string;
  /** Signs in as the superuser: for looking at what a test did, and for breaking things. */
  readonly adminUrl: string;
  /** Ends its connections and removes it; fine to call twice. */
  drop(): Promise<void>;
}

export interface TestRedis extends EmbeddedRedis {
  /** Stops the server and removes its files; fine to call twice. */
  stop(): Promise<void>;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LOGIN = 'dreamhub_test_login';
/** Any number: serialises what changes the cluster rather than one database. */
const CLUSTER_LOCK = 7_261_005_111;

function stateFile(name: string): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'dreamhub', 'services', name);
}

async function answers(url: string): Promise<boolean> {
  const sql = admin(url);
  try {
    await sql`select 1`;
    return true;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function findCluster(): Promise<string> {
  const given = process.env['TEST_DATABASE_URL'];
  if (given) return given;
  const file = Bun.file(stateFile('postgres.url'));
  if (await file.exists()) {
    const url = (await file.text()).trim();
    if (await answers(url)) return url;
  }
  const start = Bun.spawn([join(ROOT, 'deploy/scripts/services.sh'), 'start'], { stdout: 'pipe', stderr: 'inherit' });
  const output = await new Response(start.stdout).text();
  const url = /^TEST_DATABASE_URL=(.+)$/m.exec(output)?.[1];
  if ((await start.exited) !== 0 || !url) throw new Error('No PostgreSQL for tests: `make services` says why.');
  return url;
}

let cluster: Promise<string> | undefined;

/** The superuser's URL of the cluster that tests use; starts it when none runs. */
function testCluster(): Promise<string> {
  cluster ??= findCluster();
  return cluster;
}

/** One connection, so that a session-level lock holds for everything sent through it. */
function admin(url: string): postgres.Sql {
  return postgres(url, { max: 1, fetch_types: false, connect_timeout: 10, onnotice: () => undefined });
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

/** What the template depends on: another set of migrations makes another template. */
async function schemaKey(): Promise<string> {
  const hash = createHash('sha256');
  const names = (await readdir(join(ROOT, 'sql'))).filter((name) => name.endsWith('.sql')).sort();
  for (const path of [...names.map((name) => join(ROOT, 'sql', name)), join(ROOT, 'src/db/migrate.ts')]) {
    hash.update(path).update(await Bun.file(path).bytes());
  }
  return hash.digest('hex').slice(0, 16);
}

/** Makes the migrated template unless it is there; whoever is interrupted leaves only an unfinished one. */
async function ensureTemplate(url: string): Promise<string> {
  const template = `dreamhub_template_${await schemaKey()}`;
  const sql = admin(url);
  try {
    await sql`select pg_advisory_lock(${CLUSTER_LOCK})`;
    const [known] = await sql`select 1 from pg_database where datname = ${template}`;
    if (known) return template;
    const unfinished = `${template}_new`;
    await sql.unsafe(`drop database if exists ${unfinished} with (force)`);
    await sql.unsafe(`create database ${unfinished}`);
    await migrate({ url: withDatabase(url, unfinished), embedded: false, logger: silentLogger });
    await ensureLogin(sql, url);
    await sql.unsafe(`alter database ${unfinished} rename to ${template}`);
    return template;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** The unprivileged login, with the password of the cluster's own URL where that has one. */
async function ensureLogin(sql: postgres.Sql, url: string): Promise<void> {
  const [known] = await sql`select 1 from pg_roles where rolname = ${LOGIN}`;
  if (!known) await sql.unsafe(`create role ${LOGIN} login noinherit nosuperuser nobypassrls`);
  const password = decodeURIComponent(new URL(url).password);
  if (password) await sql.unsafe(`alter role ${LOGIN} password '${password.replaceAll("'", "''")}'`);
  await sql.unsafe(`grant dreamhub_owner, dreamhub_tenant, dreamhub_system, dreamhub_login to ${LOGIN}`);
}

let template: Promise<string> | undefined;

/** A database of its own, migrated. Takes some 50 ms once the template is there. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const url = await testCluster();
  template ??= ensureTemplate(url);
  const source = await template;
  const name = `dreamhub_test_${Math.trunc(Date.now() / 1000)}_${crypto.randomUUID().slice(0, 8)}`;
  const sql = admin(url);
  try {
    await sql.unsafe(`create database ${name} template ${source}`);
  } finally {
    await sql.end({ timeout: 5 });
  }
  const login = new URL(withDatabase(url, name));
  login.username = LOGIN;
  return {
    name,
    url: login.href,
    adminUrl: withDatabase(url, name),
    async drop() {
      const end = admin(url);
      try {
        await end.unsafe(`drop database if exists ${name} with (force)`);
      } finally {
        await end.end({ timeout: 5 });
      }
    },
  };
}

/** Removes what killed test runs left: test databases older than `olderThanMs`. */
export async function dropStaleTestDatabases(olderThanMs: number): Promise<void> {
  const sql = admin(await testCluster());
  try {
    const rows = await sql<
      { name: string }[]
    >`select datname as name from pg_database where datname like 'dreamhub_test_%'`;
    for (const { name } of rows) {
      const seconds = Number(name.split('_')[2]);
      if (Date.now() - seconds * 1000 > olderThanMs) await sql.unsafe(`drop database if exists ${name} with (force)`);
    }
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** A private Redis on a socket; takes some 40 ms. `persist` keeps an append-only file, as in production. */
export async function startRedis({ persist = false }: { persist?: boolean } = {}): Promise<TestRedis> {
  const folder = await temporaryFolder();
  const redis = await startEmbeddedRedis({ dataDir: folder.path, logger: silentLogger, persist });
  return {
    ...redis,
    async stop() {
      await redis.stop();
      await folder.remove();
    },
  };
}
