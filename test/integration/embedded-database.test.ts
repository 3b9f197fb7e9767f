import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test';
import { cp, mkdir } from 'node:fs/promises';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { type EmbeddedDatabase, startEmbeddedDatabase } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { silentLogger as logger } from '../../src/kernel/logger.ts';
import { startHost } from '../support/host-process.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

let root: TemporaryFolder;
let made = 0;
const running = new Set<EmbeddedDatabase>();
const clients = new Set<postgres.Sql>();

/** Making a database takes seconds, so it is made once and each test gets a copy. */
beforeAll(async () => {
  root = await temporaryFolder();
  const database = await startEmbeddedDatabase({ dataDir: join(root.path, 'origin'), logger });
  await database.stop();
});

afterEach(async () => {
  await Promise.all([...clients].map((sql) => sql.end({ timeout: 1 })));
  await Promise.all([...running].map((database) => database.stop()));
  clients.clear();
  running.clear();
});

afterAll(() => root.remove());

async function dataFolder(): Promise<string> {
  const dataDir = join(root.path, `copy-${made++}`);
  await cp(join(root.path, 'origin'), dataDir, { recursive: true });
  return dataDir;
}

async function start(dataDir: string): Promise<EmbeddedDatabase> {
  const database = await startEmbeddedDatabase({ dataDir, logger });
  running.add(database);
  return database;
}

function client(url: string, max: number): postgres.Sql {
  const sql = postgres(url, { max, fetch_types: false, onnotice: () => undefined });
  clients.add(sql);
  return sql;
}

/** A table that every role may use, for tests that are not about rights. */
async function makeCounter(url: string): Promise<void> {
  await client(url, 1).begin(async (tx) => {
    await tx.unsafe('set local role dreamhub_owner');
    await tx.unsafe('create table counter (n int); grant select, insert on counter to dreamhub_login');
  });
}

async function countRows(url: string): Promise<number> {
  const [row] = await client(url, 1)<{ n: number }[]>`select count(*)::int as n from counter`;
  return row?.n ?? -1;
}

async function failureOf(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

test('is migrated by a login without rights, and bound by row-level security', async () => {
  const { url } = await start(await dataFolder());
  expect(await migrate({ url, embedded: true, logger })).not.toBeEmpty();
  expect(await migrate({ url, embedded: true, logger })).toBeEmpty();
  const database = createDatabase({ url, max: 4, embedded: true });
  const [row] = await database.system(
    (sql) => sql`select current_user::text as effective, session_user::text as login,
      (select bool_or(rolsuper or rolbypassrls) from pg_roles where rolname in (current_user, session_user)) as above`,
  );
  await database.close();
  expect(row).toEqual({ effective: 'dreamhub_system', login: 'dreamhub_login', above: false });
  expect(await failureOf(client(url, 1)`select * from tenants`)).toMatchObject({ code: '42501' });
  expect(await failureOf(client(url, 1)`set role postgres`)).toMatchObject({ code: '42501' });
});

test('has pgvector and pg_trgm', async () => {
  const { url } = await start(await dataFolder());
  const [row] = await client(
    url,
    1,
  )`select '[1,2]'::vector <-> '[1,4]'::vector as distance, similarity('abc', 'abd') > 0 as alike`;
  expect(row).toEqual({ distance: 2, alike: true });
});

test('answers each of many connections with its own rows, in transactions and outside', async () => {
  const { url } = await start(await dataFolder());
  const sql = client(url, 20);
  const outside = Array.from({ length: 600 }, async (_, i) => {
    const [row] = await sql<{ i: number }[]>`select ${i}::int as i`;
    return row?.i === i;
  });
  const inside = Array.from({ length: 100 }, (_, i) =>
    sql.begin(async (tx) => {
      await tx`select set_config('app.tenant_id', ${String(i)}, true)`;
      const [row] = await tx<{ i: string }[]>`select current_setting('app.tenant_id') as i`;
      return row?.i === String(i);
    }),
  );
  const answers = await Promise.all([...outside, ...inside]);
  expect(answers.filter((own) => !own)).toBeEmpty();
});

test('an error ends its own exchange only', async () => {
  const { url } = await start(await dataFolder());
  const sql = client(url, 20);
  const results = await Promise.allSettled(
    Array.from({ length: 300 }, (_, i) =>
      i % 5 === 0 ? sql`select ${i} from missing_table` : sql<{ i: number }[]>`select ${i}::int as i`,
    ),
  );
  for (const [i, result] of results.entries()) {
    if (i % 5 === 0) expect(result).toMatchObject({ status: 'rejected', reason: { code: '42P01' } });
    else expect(result).toMatchObject({ status: 'fulfilled', value: [{ i }] });
  }
});

test('rolls back the transaction of a connection that vanished, and goes on with the others', async () => {
  const { url } = await start(await dataFolder());
  await makeCounter(url);
  const { hostname, port, password } = new URL(url);
  const socket = connectSocket(Number(port), hostname);
  const query = (text: string) => {
    const body = Buffer.from(`${text}\0`);
    const head = Buffer.alloc(5);
    head.write('Q');
    head.writeInt32BE(4 + body.length, 1);
    return Buffer.concat([head, body]);
  };
  const secret = query(password);
  secret.write('p');
  const startup = Buffer.from('\0\0\0\0\0\x03\0\0user\0dreamhub_login\0\0', 'latin1');
  startup.writeInt32BE(startup.length, 0);
  socket.write(Buffer.concat([startup, secret, query('begin'), query('insert into counter values (1)')]));
  // The answer to the insert: by now the transaction holds the one backend.
  await new Promise<void>((resolve) => {
    let seen = '';
    socket.on('data', (bytes: Buffer) => {
      seen += bytes.toString('latin1');
      if (seen.includes('INSERT 0 1')) resolve();
    });
  });
  const waiting = countRows(url);
  socket.destroy();
  expect(await waiting).toBe(0);
});

test('forgets the statements of closed connections', async () => {
  const { url } = await start(await dataFolder());
  for (let round = 0; round < 3; round++) {
    const sql = client(url, 1);
    await sql`select ${round}::int + 1`;
    await sql.end();
  }
  const [row] = await client(url, 1)<{ n: number }[]>`
    select count(*)::int as n from pg_prepared_statements where statement like '%+ 1'`;
  expect(row?.n).toBe(0);
});

test('refuses what would hang or change the shared backend, and keeps serving', async () => {
  const { url } = await start(await dataFolder());
  const sql = client(url, 2);
  for (const statement of [
    'copy pg_class from stdin',
    'listen x',
    'set session authorization postgres',
    'discard all',
  ]) {
    expect(await failureOf(sql.unsafe(statement))).toMatchObject({ code: '0A000' });
    expect(await failureOf(sql.unsafe(statement).simple())).toMatchObject({ code: '0A000' });
  }
  expect(await sql`select session_user::text as name`).toMatchObject([{ name: 'dreamhub_login' }]);
});

test('lets nobody in without the password of this run', async () => {
  const { url } = await start(await dataFolder());
  const wrong = new URL(url);
  wrong.password = 'guess';
  expect(await failureOf(client(wrong.href, 1)`select 1`)).toMatchObject({ code: '28P01' });
});

test('a long query does not stall this process', async () => {
  const { url } = await start(await dataFolder());
  let done = false;
  let turns = 0;
  const query = client(url, 1)`select count(*) from generate_series(1, 1500000)`.then(() => {
    done = true;
  });
  while (!done) {
    await new Promise(setImmediate);
    turns++;
  }
  await query;
  expect(turns).toBeGreaterThan(100);
});

test('a second start on the same folder is refused, and the first one is not disturbed', async () => {
  const dataDir = await dataFolder();
  const { url } = await start(dataDir);
  const error = await failureOf(startEmbeddedDatabase({ dataDir, logger }));
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({ kind: 'conflict' });
  expect(await client(url, 1)`select 1 as one`).toMatchObject([{ one: 1 }]);
});

test('a start from another process is refused too', async () => {
  const dataDir = await dataFolder();
  const host = await startHost('database', dataDir);
  expect(await failureOf(startEmbeddedDatabase({ dataDir, logger }))).toMatchObject({ kind: 'conflict' });
  await host.kill();
});

test('keeps its data over a stop and a start', async () => {
  const dataDir = await dataFolder();
  const first = await start(dataDir);
  await makeCounter(first.url);
  await client(first.url, 1)`insert into counter values (1)`;
  await first.stop();
  await first.stop();
  expect(await first.exited).toEqual({ code: 0, signal: null });
  expect(await countRows((await start(dataDir)).url)).toBe(1);
});

test('loses nothing that it acknowledged when it is killed', async () => {
  const dataDir = await dataFolder();
  const first = await start(dataDir);
  await makeCounter(first.url);
  const sql = client(first.url, 4);
  let acknowledged = 0;
  const enough = Promise.withResolvers<void>();
  const writers = Promise.allSettled(
    Array.from({ length: 4 }, async () => {
      for (;;) {
        await sql`insert into counter values (1)`;
        if (++acknowledged === 300) enough.resolve();
      }
    }),
  );
  await enough.promise;
  first.kill();
  expect((await first.exited).signal).toBe('SIGKILL');
  const before = acknowledged;
  await sql.end({ timeout: 0 });
  await writers;
  const kept = await countRows((await start(dataDir)).url);
  expect(kept).toBeGreaterThanOrEqual(before);
  // At most one insert of each connection was done and not acknowledged.
  expect(kept).toBeLessThanOrEqual(acknowledged + 4);
});

test('ends when its parent is killed, and the next start has everything', async () => {
  const dataDir = await dataFolder();
  const host = await startHost('database', dataDir);
  await makeCounter(host.url);
  await client(host.url, 1)`insert into counter values (1)`;
  await host.kill();
  expect(await countRows((await start(dataDir)).url)).toBe(1);
  expect(await failureOf(client(host.url, 1)`select 1`)).toMatchObject({ code: expect.any(String) });
});

test('a database that was not finished is made anew', async () => {
  const dataDir = join(root.path, `copy-${made++}`);
  await mkdir(join(dataDir, 'postgres.new', 'base'), { recursive: true });
  const { url } = await start(dataDir);
  expect(await client(url, 1)`select 1 as one`).toMatchObject([{ one: 1 }]);
});
