import { afterAll, beforeAll, expect, test } from 'bun:test';
import { PGlite } from '@electric-sql/pglite';
import { vacuumWorst } from '../../src/db/embedded-maintenance.ts';

let database: PGlite;

beforeAll(async () => {
  database = await PGlite.create();
  await database.exec(`
    create role dreamhub_owner nologin noinherit;
    create role dreamhub_login nologin noinherit;
    grant dreamhub_owner to dreamhub_login with inherit false, set true;
    alter schema public owner to dreamhub_owner;
    set role dreamhub_owner;
    create table busy (id int primary key, n int);
    create table quiet (id int);
    insert into busy select g, 0 from generate_series(1, 500) g;
    reset role;
    set session authorization dreamhub_login;`);
});
afterAll(() => database.close());

async function sizeOf(table: string): Promise<number> {
  const { rows } = await database.query<{ size: number }>('select pg_relation_size($1::regclass)::int as size', [
    table,
  ]);
  return rows[0]?.size ?? -1;
}

test('keeps a table that is updated over and over from growing, and gives the role back', async () => {
  const update = async (): Promise<void> => {
    await database.exec('begin; set local role dreamhub_owner; update busy set n = n + 1; commit');
  };
  while (await vacuumWorst(database));
  await update();
  const before = await sizeOf('busy');
  for (let round = 0; round < 10; round++) {
    await update();
    expect(await vacuumWorst(database)).toBe(true);
  }
  expect(await sizeOf('busy')).toBeLessThanOrEqual(before * 2);
  const { rows } = await database.query('select current_user::text as name');
  expect(rows).toEqual([{ name: 'dreamhub_login' }]);
});

test('does nothing when no table needs it', async () => {
  while (await vacuumWorst(database));
  expect(await vacuumWorst(database)).toBe(false);
});
