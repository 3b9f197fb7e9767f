/**
 * No table can be forgotten by an erasure: the catalogue of a migrated database is asked for every table there is, so one that
 * is added later has to have a way, too.
 */
import { afterAll, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { KEPT, listInheritedTables, listOwnTables } from '../../src/repositories/erasure-rows.ts';
import { createTestDatabase } from '../support/services.ts';

const db = await createTestDatabase();
const sql = postgres(db.adminUrl, { max: 2, onnotice: () => undefined });
const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 2, embedded: false });
afterAll(async () => {
  await database.close();
  await sql.end({ timeout: 5 });
  await db.drop();
});

interface Table {
  name: string;
  columns: string[];
  /** Tables whose rows take its rows along, with the columns by which. */
  parents: { name: string; by: string[] }[];
  /** Somewhere it says whose a row is: in a policy, or what a column is by default. */
  ofUsers: boolean;
}

const tables = await sql<Table[]>`
  select c.relname as name,
    array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
    coalesce((select jsonb_agg(jsonb_build_object('name', p.relname, 'by',
        array(select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum = any(f.conkey))))
      from pg_constraint f join pg_class p on p.oid = f.confrelid
      where f.conrelid = c.oid and f.contype = 'f' and f.confdeltype = 'c'), '[]') as parents,
    exists (select from pg_policy p where p.polrelid = c.oid
        and pg_get_expr(p.polqual, p.polrelid) like '%app.user_id%')
      or exists (select from pg_attrdef d where d.adrelid = c.oid and pg_get_expr(d.adbin, d.adrelid) like '%app.user_id%')
      as "ofUsers"
  from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition`;
const byName = new Map(tables.map((table) => [table.name, table]));

/** Whether deleting a row of `goal` takes the table's rows of it along. */
function goesWith(name: string, goal: string, seen: ReadonlySet<string> = new Set()): boolean {
  if (name === goal) return true;
  const next = new Set([...seen, name]);
  return (byName.get(name)?.parents ?? []).some(
    (parent) => parent.name !== name && !seen.has(parent.name) && goesWith(parent.name, goal, next),
  );
}

test('there is something to look at', () => {
  expect(tables.length).toBeGreaterThan(25);
  expect(goesWith('chunk_codes', 'tenants')).toBe(true);
  expect(goesWith('embedding_spaces', 'tenants')).toBe(false);
});

test('every table of tenants goes with its tenant', () => {
  const left = tables
    .filter(({ name, columns }) => columns.includes('tenant_id') && !goesWith(name, 'tenants'))
    .map(
      ({ name }) =>
        `${name} would survive its tenant: give it a foreign key (tenant_id, …) … on delete cascade, to tenants or to a table that goes with them`,
    );
  expect(left).toEqual([]);
});

test('every table that tells users apart is emptied of one who goes', async () => {
  const own = new Set((await database.system(listOwnTables)).map(({ name }) => name));
  const given = new Set((await database.system(listInheritedTables)).map(({ name }) => name));
  const isEmptied = ({ name, parents }: Table, seen: ReadonlySet<string> = new Set()): boolean =>
    own.has(name) ||
    name in KEPT ||
    // With the account, or with something that is the user's.
    given.has(name) ||
    name === 'accounts' ||
    parents.some(({ name: parent }) => {
      const table = byName.get(parent);
      return (
        table !== undefined && !seen.has(parent) && parent !== 'tenants' && isEmptied(table, new Set([...seen, name]))
      );
    });
  const left = tables
    .filter(({ ofUsers, columns }) => ofUsers || columns.includes('user_id') || columns.includes('private_to'))
    .filter((table) => !isEmptied(table))
    .map(
      ({ name }) =>
        `${name} would keep rows of an erased user: name the column user_id or private_to and grant delete to dreamhub_tenant, or give it a foreign key to accounts or memberships on delete cascade; what is the tenant's says its maker in owner_id with update granted to dreamhub_tenant, or is listed with its reason in KEPT (src/repositories/erasure-rows.ts)`,
    );
  expect(left).toEqual([]);
});

test('what is kept is there to be kept', () => {
  expect(Object.keys(KEPT).filter((name) => !byName.has(name))).toEqual([]);
});
