/** How long a transaction may hold what others wait for. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { describeServer } from '../../src/db/server.ts';
import { createTestDatabase, type TestDatabase } from '../support/services.ts';

let services: TestDatabase;
let database: Database;
let limitsTransactions: boolean;
beforeAll(async () => {
  services = await createTestDatabase();
  ({ limitsTransactions } = await describeServer(services.url));
  database = createDatabase({
    url: services.url,
    max: 2,
    embedded: false,
    limitsTransactions,
    transactionSeconds: 1,
  });
});
afterAll(async () => {
  await database?.close();
  await services?.drop();
});

test('a transaction ends with its limit, whatever it waits for, and the pool goes on', async () => {
  // Before PostgreSQL 17 there is no such limit, and none may be asked for.
  if (!limitsTransactions) return;
  const kept = database.system(async (sql) => {
    await sql`select 1`;
    await sql`select pg_sleep(20)`;
  });
  await expect(kept).rejects.toMatchObject({ kind: 'unavailable' });
  expect(await database.system((sql) => sql`select 1 as one`)).toEqual([{ one: 1 }] as never);
});

test('what is limited is each transaction, not the session', async () => {
  const started = performance.now();
  while (performance.now() - started < 1_500) await database.system((sql) => sql`select pg_sleep(0.1)`);
  expect(await database.system((sql) => sql`select 1 as one`)).toEqual([{ one: 1 }] as never);
});

test('without a limit of the server nothing is asked of it', async () => {
  const plain = createDatabase({ url: services.url, max: 1, embedded: false });
  try {
    const [row] = await plain.system(
      (sql) => sql<{ limit: string }[]>`select current_setting('statement_timeout') as limit`,
    );
    expect(row?.limit).toBe('30s');
  } finally {
    await plain.close();
  }
});

test('a server that only reads is not available to who would write', async () => {
  const reading = createDatabase({ url: services.url, max: 1, embedded: false });
  try {
    const write = reading.system(async (sql) => {
      // As each session of a standby, or of a server whose owner has closed it, begins.
      await sql`set transaction read only`;
      await sql`insert into tenants (id, name) values (gen_random_uuid(), 'nobody')`;
    });
    await expect(write).rejects.toMatchObject({ kind: 'unavailable' });
  } finally {
    await reading.close();
  }
});
