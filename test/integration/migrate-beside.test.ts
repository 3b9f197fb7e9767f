/** Migrations beside a version that goes on working. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import postgres from 'postgres';
import { migrate, readMigrations } from '../../src/db/migrate.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { eventually } from '../support/eventually.ts';
import { createTestDatabase, type TestDatabase } from '../support/services.ts';

let services: TestDatabase;
let sql: postgres.Sql;
beforeEach(async () => {
  services = await createTestDatabase();
  sql = postgres(services.adminUrl, { max: 3, onnotice: () => undefined });
});
afterEach(async () => {
  await sql?.end({ timeout: 5 });
  await services?.drop();
});

const isWaited = async (relation: string) =>
  (
    await sql`select 1 from pg_locks l join pg_class c on c.oid = l.relation
      where not l.granted and c.relname = ${relation} and l.database = (select oid from pg_database where datname = current_database())`
  ).length > 0;

test('a migration that collides with what others do is undone and made again', async () => {
  const text = 'lock table conversations in access exclusive mode; alter table tenants add column made_again int';
  const migrations = [...(await readMigrations()), { name: '9999_collision.sql', text, checksum: 'collision' }];
  const entered = Promise.withResolvers<void>();
  const other = sql.begin(async (tx) => {
    await tx`lock table tenants in row exclusive mode`;
    entered.resolve();
    await eventually('the migration waits for us', () => isWaited('tenants'));
    // It finds the deadlock before we do: it has waited for longer.
    await tx`set local deadlock_timeout = '30s'`;
    await tx`select 1 from conversations`;
  });
  await entered.promise;
  const applied = await migrate({ url: services.adminUrl, embedded: false, logger: silentLogger, migrations });
  await other;
  expect(applied).toEqual(['9999_collision.sql']);
  expect(await sql`select 1 from schema_migrations where name = '9999_collision.sql'`).toHaveLength(1);
  expect(await sql`select 1 from information_schema.columns where column_name = 'made_again'`).toHaveLength(1);
}, 60_000);

test('a migration keeps nobody waiting behind it for as long as it would have to wait itself', async () => {
  const text = 'alter table tenants add column made_late int';
  const migrations = [...(await readMigrations()), { name: '9999_late.sql', text, checksum: 'late' }];
  const held = Promise.withResolvers<void>();
  const entered = Promise.withResolvers<void>();
  const other = sql.begin(async (tx) => {
    await tx`lock table tenants in row exclusive mode`;
    entered.resolve();
    await held.promise;
  });
  await entered.promise;
  const migrating = migrate({ url: services.adminUrl, embedded: false, logger: silentLogger, migrations });
  await eventually('it waits', () => isWaited('tenants'));
  // Whoever asks behind it is answered while it is still held up.
  await sql`select 1 from tenants limit 1`;
  held.resolve();
  await other;
  expect(await migrating).toEqual(['9999_late.sql']);
}, 60_000);
