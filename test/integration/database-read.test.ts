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
type Who = typeof who;
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

test('asks a function that enters the scope by itself, and leaves nothing of it behind', async () => {
  const [one, other] = [0, 0].map(() => ({ tenantId: systemIds.uuid(), userId: systemIds.uuid() })) as [Who, Who];
  await admin`insert into tenants (id, name) values (${one.tenantId}, 'one'), (${other.tenantId}, 'two')`;
  await admin`insert into corpus_generations (tenant_id, generation) values (${one.tenantId}, 7), (${other.tenantId}, 9)`;
  for (const [asker, generation] of [
    [one, 7],
    [other, 9],
    [{ ...one, tenantId: systemIds.uuid() }, null],
    [one, 7],
  ] as const) {
    const asked = runAs({ ...asker, traceId: newTraceId() }, () =>
      database.call<number | null>('corpus_generation', []),
    );
    expect(await asked).toBe(generation);
    const [next] = await database.system(
      (sql) => sql`select current_role as role, current_setting('app.tenant_id', true) as tenant,
        current_setting('enable_seqscan') as scans`,
    );
    expect(next).toEqual({ role: 'dreamhub_system', tenant: '', scans: 'on' });
  }
  // The one connection of this pool has no rights again.
  const bare = postgres(db.url, { max: 1, onnotice: () => {} });
  await bare`select corpus_generation(${one.tenantId}, ${one.userId})`;
  await expect(bare`select generation from corpus_generations`.execute()).rejects.toMatchObject({ code: '42501' });
  await bare.end();
});

test('refuses to ask without a scope or inside a transaction, and says when the database is away', async () => {
  const code = (work: Promise<unknown>) =>
    work.then(
      () => 'none',
      (error: { code?: string }) => error.code,
    );
  const ask = () => database.call('corpus_generation', []);
  expect(await code(ask())).toBe('internal');
  expect(await code(as(() => database.tenant(ask)))).toBe('internal');
  expect(await code(as(() => database.call('confirm_documents', [1, '{nonsense}', '{1}'])))).toBe('22P02');
  const gone = createDatabase({ url: 'postgres://nobody@127.0.0.1:1/none', max: 1, embedded: false });
  expect(await code(as(() => gone.call('corpus_generation', [])))).toBe('unavailable');
  await gone.close();
});
