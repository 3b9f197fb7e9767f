/** What only reads has its answer before its transaction has ended, and can do nothing else. */
import { afterAll, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { createTestDatabase } from '../support/services.ts';

const db = await createTestDatabase();
const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 1, embedded: false });
const admin = postgres(db.adminUrl, { max: 1, onnotice: () => {} });
afterAll(async () => {
  await database.close();
  await admin.end();
  await db.drop();
});

const who = { tenantId: systemIds.uuid(), userId: systemIds.uuid() };
const as = <T>(fn: () => Promise<T>) => runAs({ ...who, traceId: newTraceId() }, fn);

test('reads in its scope, over and over on one connection', async () => {
  for (let i = 0; i < 20; i++) {
    const [row] = await as(() =>
      database.read(
        (sql) => sql<{ role: string; tenant: string; n: number }[]>`
          select current_role as role, current_setting('app.tenant_id') as tenant, ${i}::int as n`,
      ),
    );
    expect(row).toEqual({ role: 'dreamhub_tenant', tenant: who.tenantId, n: i });
  }
  // Nothing of the scope is left for whoever comes next.
  const [next] = await database.system((sql) => sql`select current_setting('app.tenant_id', true) as tenant`);
  expect(next?.['tenant'] || null).toBeNull();
});

test('changes nothing', async () => {
  const write = as(() =>
    database.read((sql) => sql`insert into corpus_generations (tenant_id) values (${who.tenantId}) returning 1`),
  );
  await expect(write).rejects.toMatchObject({ code: '25006' });
  expect(await admin`select 1 from corpus_generations where tenant_id = ${who.tenantId}`).toHaveLength(0);
});

test('fails as its statement does, needs a scope, and is refused inside a transaction', async () => {
  const fails = async (work: Promise<unknown>, error: object) => {
    const told = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(told).toMatchObject(error);
  };
  await fails(
    as(() => database.read((sql) => sql`select 1 / 0`)),
    { code: '22012' },
  );
  await fails(
    database.read((sql) => sql`select 1`),
    { code: 'internal' },
  );
  await fails(
    as(() => database.tenant(() => database.read((sql) => sql`select 1`))),
    { code: 'internal' },
  );
  expect(await as(() => database.read((sql) => sql`select 1 as one`))).toMatchObject([{ one: 1 }]);
});

test('says that the database is away where its session ends', async () => {
  const cut = as(() =>
    database.read(async (sql) => {
      const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
      await admin`select pg_terminate_backend(${row?.pid ?? 0})`;
      return sql`select pg_sleep(20)`;
    }),
  );
  const told = await cut.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(told).toMatchObject({ code: 'unavailable' });
  expect(await as(() => database.read((sql) => sql`select 1 as one`))).toMatchObject([{ one: 1 }]);
});
