/** What the catalogue of a migrated database must say, whatever the migrations are. */
import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { assertIsolated } from '../../src/db/guard.ts';
import { assertUnchanged, migrate, readMigrations } from '../../src/db/migrate.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { runAs } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createTestDatabase } from '../support/services.ts';

const db = await createTestDatabase();
const sql = postgres(db.adminUrl, { max: 2, onnotice: () => {} });
const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 4, embedded: false });
await ensureSpace(database, { provider: 'p', model: 'm', dimensions: 8, pipeline: 'x' });
afterAll(async () => {
  await database.close();
  await sql.end();
  await db.drop();
});

/** Tables of ours, without partitions. */
const tables = await sql<{ name: string; forced: boolean; owner: string; hasTenant: boolean }[]>`
  select c.relname as name, c.relrowsecurity and c.relforcerowsecurity as forced, pg_get_userbyid(c.relowner) as owner,
    exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped) as "hasTenant"
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> 'schema_migrations'`;

test('there is something to look at', () => {
  expect(tables.length).toBeGreaterThan(10);
});

describe('every table', () => {
  for (const { name, forced, owner, hasTenant } of tables) {
    test(`${name} forces its policies and belongs to the owner`, async () => {
      expect({ forced, owner }).toEqual({ forced: true, owner: 'dreamhub_owner' });
      const policies = await sql`select 1 from pg_policies where schemaname = 'public' and tablename = ${name}`;
      expect(policies.length).toBeGreaterThan(0);
    });
    if (!hasTenant) continue;
    test(`${name} has unique and foreign keys that start with the tenant`, async () => {
      const keys = await sql<{ name: string; kind: string; first: string }[]>`
        select con.conname as name, con.contype as kind,
          (select attname from pg_attribute where attrelid = con.conrelid and attnum = con.conkey[1]) as first
        from pg_constraint con join pg_class c on c.oid = con.conrelid
        where c.relname = ${name} and con.contype in ('p', 'u', 'f') and c.relnamespace = 'public'::regnamespace`;
      // Global tables are looked up before the tenant is known.
      const isGlobal = ['accounts', 'refresh_tokens'].includes(name);
      const wrong = keys.filter(({ first, kind }) => first !== 'tenant_id' && !(isGlobal && kind === 'p'));
      expect(wrong).toEqual([]);
    });
  }
});

test('the tenant role reads no table whose policy does not name the tenant', async () => {
  const open = await sql<{ tablename: string; qual: string | null }[]>`
    select tablename, qual from pg_policies where schemaname = 'public' and 'dreamhub_tenant' = any(roles)
      and coalesce(qual, '') not like '%app.tenant_id%'`;
  // Embedding spaces are the installation's and hold nothing of anybody.
  expect(open.map(({ tablename }) => tablename)).toEqual(['embedding_spaces']);
});

test('nothing is granted on partitions, nor to everybody', async () => {
  const grants = await sql<{ table_name: string; grantee: string }[]>`
    select g.table_name, g.grantee from information_schema.role_table_grants g
    join pg_class c on c.relname = g.table_name and c.relnamespace = 'public'::regnamespace
    where g.table_schema = 'public' and g.grantee <> 'dreamhub_owner'
      and (c.relispartition or g.grantee not in ('dreamhub_tenant', 'dreamhub_system'))
      and g.grantee not in (select rolname from pg_roles where rolsuper)`;
  expect(grants.map((grant) => ({ ...grant }))).toEqual([]);
});

test('no role of ours bypasses row-level security or inherits another', async () => {
  const roles = await sql<{ rolname: string; bad: boolean }[]>`
    select rolname, rolsuper or rolbypassrls or rolinherit as bad from pg_roles where rolname like 'dreamhub\_%'`;
  expect(roles.length).toBeGreaterThanOrEqual(4);
  expect(roles.filter(({ bad }) => bad).map(({ rolname }) => rolname)).toEqual([]);
});

test('no view or function runs with its owner’s rights', async () => {
  const rows = await sql`
    select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prosecdef
    union all select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'm')`;
  expect(rows.length).toBe(0);
});

const tenantTables = tables.filter(({ hasTenant, name }) => hasTenant && !['refresh_tokens'].includes(name));
describe('a query without a tenant raises', () => {
  for (const { name } of tenantTables) {
    test(name, async () => {
      const read = sql.begin(async (tx) => {
        await tx`set local role dreamhub_tenant`;
        return tx`select 1 from ${tx(name)} limit 1`;
      });
      await expect(read).rejects.toThrow(
        /app\.(tenant|user)_id|invalid input syntax for type uuid|permission denied for table/,
      );
    });
  }
});

test('a row cannot be written for another tenant, nor point at another’s row', async () => {
  const [a, b, user] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
  for (const id of [a, b]) await sql`insert into tenants (id, name) values (${id}, ${id})`;
  const asA = <T>(fn: () => Promise<T>) => runAs({ tenantId: a, userId: user, traceId: '0' }, fn);
  await expect(
    asA(() =>
      database.tenant(
        (tx) => tx`insert into conversations (tenant_id, id, user_id) values (${b}, ${crypto.randomUUID()}, ${user})`,
      ),
    ),
  ).rejects.toThrow(/row-level security/);
  const foreign = crypto.randomUUID();
  await sql`insert into conversations (tenant_id, id, user_id) values (${b}, ${foreign}, ${user})`;
  await expect(
    asA(() =>
      database.tenant(
        (tx) => tx`
      insert into messages (id, conversation_id, position, role, content) values (${crypto.randomUUID()}, ${foreign}, 1, 'user', 'x')`,
      ),
    ),
  ).rejects.toThrow(/foreign key/);
  expect(await asA(() => database.tenant((tx) => tx`select id from conversations where id = ${foreign}`))).toHaveLength(
    0,
  );
});

test('a transaction inside a transaction is refused rather than waited for', async () => {
  const nested = runAs({ tenantId: crypto.randomUUID(), userId: crypto.randomUUID(), traceId: '0' }, () =>
    database.tenant(() => database.tenant(async () => 1)),
  );
  await expect(nested).rejects.toThrow('inside a transaction');
});

test('a database whose isolation is broken is not served', async () => {
  await assertIsolated(database);
  await sql`alter table documents no force row level security`;
  await expect(assertIsolated(database)).rejects.toThrow('documents');
  await sql`alter table documents force row level security`;
});

describe('migrations', () => {
  test('run once when processes start together', async () => {
    const applied = await Promise.all(
      Array.from({ length: 4 }, () => migrate({ url: db.adminUrl, embedded: false, logger: silentLogger })),
    );
    expect(applied.flat()).toEqual([]);
  });

  test('make an empty database fit for use, once, when processes start together', async () => {
    const name = `empty_${crypto.randomUUID().replaceAll('-', '')}`;
    await sql.unsafe(`create database ${name}`);
    const url = new URL(db.adminUrl);
    url.pathname = `/${name}`;
    try {
      const applied = await Promise.all(
        Array.from({ length: 4 }, () => migrate({ url: url.href, embedded: false, logger: silentLogger })),
      );
      expect(applied.filter((names) => names.length > 0)).toHaveLength(1);
      expect(applied.flat()).toEqual((await readMigrations()).map(({ name: file }) => file));
    } finally {
      await sql.unsafe(`drop database ${name} with (force)`);
    }
  });

  test('that were edited after they were applied are refused', async () => {
    const [first, ...rest] = await readMigrations();
    if (!first) throw new Error('no migration');
    const known = new Map([first, ...rest].map(({ name, checksum }) => [name, checksum]));
    assertUnchanged([first, ...rest], known);
    expect(() => assertUnchanged([{ ...first, checksum: 'other' }, ...rest], known)).toThrow('edited');
    expect(() => assertUnchanged(rest, known)).toThrow('does not know');
  });

  test('that fail leave nothing behind', async () => {
    const known = await readMigrations();
    const bad = { name: '9999_bad.sql', text: 'create table half (id int); select no_such_function()', checksum: 'x' };
    const attempt = migrate({ url: db.adminUrl, embedded: false, logger: silentLogger, migrations: [...known, bad] });
    await expect(attempt).rejects.toThrow('no_such_function');
    expect(await sql`select 1 from pg_class where relname = 'half'`).toHaveLength(0);
  });
});
