/**
 * What postgres.js does when its backends die or fall silent, patched as in `patches/`. Unpatched, one killed backend ends the process
 * (`socket.write` of null), leaves callers waiting for ever, and hands a dead transaction's last statements to the next
 * session of the connection, where a ROLLBACK ends somebody else's transaction and every answer goes to the wrong query.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import postgres from 'postgres';
import { connect, createDatabase } from '../../src/db/database.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { createTestDatabase, type TestDatabase } from '../support/services.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const ROUNDS = 40;
const ROUND_MS = 50;
const CALLERS = 24;

test('a backend that dies fails its own transaction and touches no other', async () => {
  const admin = postgres(database.adminUrl, { max: 1, onnotice: () => undefined });
  const sql = connect(database.adminUrl, { max: 8, embedded: false });
  await admin`create table pairs (id uuid not null, half int not null)`;
  const [committed, failed] = [new Set<string>(), new Set<string>()];
  const strange: unknown[] = [];
  const onUncaught = (error: unknown) => strange.push(error);
  process.on('uncaughtException', onUncaught);
  process.on('unhandledRejection', onUncaught);
  let going = true;

  /** Two rows and who wrote them; the setting is the transaction's own, as the tenant is. */
  async function writePair(id: string): Promise<void> {
    await sql.begin(async (tx) => {
      const entered = tx`select set_config('app.tenant_id', ${id}, true)`.execute().then(
        () => undefined,
        (error: unknown) => error,
      );
      await tx`insert into pairs values (current_setting('app.tenant_id')::uuid, 1)`;
      const [seen] = await tx`select current_setting('app.tenant_id') as id, ${id} as mine`;
      if (seen?.['id'] !== id || seen['mine'] !== id) strange.push({ id, seen });
      await tx`insert into pairs values (current_setting('app.tenant_id')::uuid, 2)`;
      const failure = await entered;
      if (failure) throw failure;
    });
  }

  async function caller(): Promise<void> {
    while (going) {
      const id = crypto.randomUUID();
      try {
        await writePair(id);
        committed.add(id);
      } catch {
        failed.add(id);
      }
    }
  }

  try {
    const callers = Array.from({ length: CALLERS }, caller);
    for (let round = 0; round < ROUNDS; round++) {
      await systemClock.sleep(ROUND_MS);
      await admin`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'dreamhub' and random() < 0.7`;
    }
    going = false;
    // Every call ends: none waits for an answer that cannot come.
    await Promise.all(callers);

    expect(strange).toEqual([]);
    expect(failed.size).toBeGreaterThan(0);
    expect(committed.size).toBeGreaterThan(0);
    const rows = await admin<{ id: string; halves: number[] }[]>`
      select id, array_agg(half order by half) as halves from pairs group by id`;
    const halves = new Map(rows.map((row) => [row.id, row.halves.join()]));
    expect([...committed].filter((id) => halves.get(id) !== '1,2')).toEqual([]);
    // A commit whose answer was lost is there all the same, but never half of it, and never somebody unknown.
    expect([...halves].filter(([id, found]) => found !== '1,2' || !(committed.has(id) || failed.has(id)))).toEqual([]);
    expect(await sql`select 1 as one`).toMatchObject([{ one: 1 }]);
  } finally {
    going = false;
    process.off('uncaughtException', onUncaught);
    process.off('unhandledRejection', onUncaught);
    await sql.end({ timeout: 5 });
    await admin.end({ timeout: 5 });
  }
});

test('a server that falls silent is given up, and the pool serves again', async () => {
  const { hostname, port } = new URL(database.url);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port || 5432) });
  const url = new URL(database.url);
  url.port = String(proxy.port);
  const db = createDatabase({ url: url.href, max: 3, embedded: false, silenceSeconds: 1 });
  const one = () => db.system((sql) => sql`select 1 as one`);
  try {
    expect(await one()).toMatchObject([{ one: 1 }]);
    await proxy.set({ type: 'half-open' });
    const waiting = Array.from({ length: 6 }, one);
    const outcomes = Promise.allSettled(waiting);
    // Three are sent into the silence; three more wait for a place and get the network that is back.
    await Promise.race(waiting).catch(() => undefined);
    await proxy.set({ type: 'pass' });
    expect((await outcomes).filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0);
    expect(await Promise.all(Array.from({ length: 6 }, one))).toHaveLength(6);
  } finally {
    await db.close();
    await proxy.stop();
  }
});
