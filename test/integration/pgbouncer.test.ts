/** What must hold where PostgreSQL's sessions are shared out by the transaction. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { connectPlainly, createDatabase, type Database } from '../../src/db/database.ts';
import { assertIsolated } from '../../src/db/guard.ts';
import { migrate, sessionRoleFor } from '../../src/db/migrate.ts';
import { describeServer } from '../../src/db/server.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { eventually } from '../support/eventually.ts';
import { findPgbouncer, type Pgbouncer, startPgbouncer } from '../support/pgbouncer.ts';
import { createTestDatabase, type TestDatabase } from '../support/services.ts';

const isThere = findPgbouncer() !== undefined;
if (!isThere)
  process.stderr.write('There is no pgbouncer: what must hold behind it is NOT tested. Install pgbouncer.\n');

describe.skipIf(!isThere)('behind PgBouncer in transaction mode', () => {
  let plain: TestDatabase;
  let pgbouncer: Pgbouncer;
  let database: Database;
  let url: string;
  let ownerUrl: string;

  beforeAll(async () => {
    plain = await createTestDatabase();
    pgbouncer = await startPgbouncer([plain.adminUrl, plain.url]);
    [url, ownerUrl] = [pgbouncer.through(plain.url), pgbouncer.through(plain.adminUrl)];
    database = createDatabase({ url, ownerUrl, max: 32, embedded: false, pooled: true, ownerPooled: true });
  }, 60_000);
  afterAll(async () => {
    await database?.close();
    await pgbouncer?.stop();
    await plain?.drop();
  });

  test('nobody has to say that it is there', async () => {
    expect(await describeServer(url)).toMatchObject({ pooled: true });
    expect(await describeServer(ownerUrl)).toMatchObject({ pooled: true });
    expect(await describeServer(plain.url)).toMatchObject({ pooled: false });
    expect(await describeServer(plain.adminUrl)).toMatchObject({ pooled: false });
  });

  test('the database is migrated, and isolation holds', async () => {
    expect(await migrate({ url: ownerUrl, embedded: false, pooled: true, logger: silentLogger })).toEqual([]);
    await assertIsolated(database);
    await database.owner((sql) => sql`create table made_by_owner ()`);
    await database.owner((sql) => sql`drop table made_by_owner`);
  });

  test('a login with rights is refused: its sessions cannot begin without them', async () => {
    await expect(sessionRoleFor(ownerUrl, true)).rejects.toThrow('pooler');
    expect(await sessionRoleFor(url, true)).toBeUndefined();
    expect(await sessionRoleFor(plain.adminUrl, false)).toBe('dreamhub_login');
  });

  test('each transaction has its own role, tenant and limits, however few sessions there are', async () => {
    const look = (tenantId: string) =>
      runAs({ tenantId, userId: crypto.randomUUID(), traceId: newTraceId() }, () =>
        database.tenant(async (sql) => {
          const [first] = await sql<Record<string, string>[]>`
            select current_user::text as role, current_setting('app.tenant_id') as tenant, pg_backend_pid()::text as pid,
              current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
              current_setting('idle_in_transaction_session_timeout') as idle`;
          const [second] = await sql<Record<string, string>[]>`
            select current_setting('app.tenant_id') as tenant, pg_backend_pid()::text as pid`;
          return [first, second] as const;
        }),
      );
    const tenants = Array.from({ length: 300 }, () => crypto.randomUUID());
    const seen = await Promise.all(tenants.map(look));
    const pids = new Set<string | undefined>();
    for (const [index, [first, second]] of seen.entries()) {
      pids.add(first?.['pid']);
      const tenant = tenants[index];
      expect(first).toMatchObject({ role: 'dreamhub_tenant', tenant, statement: '30s', lock: '20s', idle: '10s' });
      expect([second?.['tenant'], second?.['pid']]).toEqual([tenant, first?.['pid']]);
    }
    expect(pids.size).toBeLessThanOrEqual(8);
    expect(await pgbouncer.servers()).toBeLessThan(32);
    // So has a function that enters by itself.
    const admin = connectPlainly(plain.adminUrl);
    await admin`insert into tenants (id, name) select id, id::text from unnest(${tenants}::uuid[]) id`;
    await admin.end({ timeout: 1 });
    const asked = tenants.slice(0, 40).map((tenantId, index) =>
      runAs({ tenantId, userId: crypto.randomUUID(), traceId: newTraceId() }, async () => {
        await database.tenant((sql) => sql`insert into corpus_generations (generation) values (${index + 1})`);
        return database.call<number>('corpus_generation', []);
      }),
    );
    expect(await Promise.all(asked)).toEqual(asked.map((_, index) => index + 1));

    const bare = connectPlainly(url);
    try {
      for (let i = 0; i < 20; i++) {
        const [left] = await bare`
          select current_user = session_user as own, coalesce(current_setting('app.tenant_id', true), '') as tenant,
            current_setting('statement_timeout') as statement, (select count(*) from pg_prepared_statements) as prepared`;
        expect(left).toMatchObject({ own: true, tenant: '', statement: '0', prepared: 0 });
      }
    } finally {
      await bare.end({ timeout: 1 });
    }
  }, 60_000);

  test('a failure in the middle leaves its session fit for the next one', async () => {
    const failing = Array.from({ length: 40 }, () => database.system((sql) => sql`select 1 / 0 as nothing`));
    for (const one of await Promise.allSettled(failing)) expect(one.status).toBe('rejected');
    const [row] = await database.system((sql) => sql<{ role: string }[]>`select current_user::text as role`);
    expect(row?.role).toBe('dreamhub_system');
  }, 60_000);

  test('sessions of PostgreSQL that end are replaced without harm', async () => {
    await using admin = {
      sql: connectPlainly(plain.adminUrl),
      [Symbol.asyncDispose]: () => admin.sql.end({ timeout: 1 }),
    };
    await admin.sql`
      select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
    const all = () => Promise.all(Array.from({ length: 50 }, () => database.system((sql) => sql`select 1`)));
    await eventually('all of them answer', () =>
      all().then(
        () => true,
        () => false,
      ),
    );
    await database.check(10_000);
  }, 60_000);
});
