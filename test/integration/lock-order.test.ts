/**
 * Publications count a tenant's changes first and its load last. Whoever changes both takes the two rows in the same order: the
 * other way round each waits for the other, and one of them fails.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import postgres from 'postgres';
import { eventually } from '../support/eventually.ts';
import { createRig, linesOf, type Rig } from '../support/rig.ts';

type Who = Awaited<ReturnType<Rig['newTenant']>>;

let rig: Rig;
let admin: postgres.Sql;
beforeAll(async () => {
  rig = await createRig();
  admin = postgres(rig.db.adminUrl, { max: 2, onnotice: () => {} });
}, 60_000);
afterAll(async () => {
  await admin.end();
  await rig.close();
});

/** Does something while a publication of the tenant stands between its two rows. */
async function besidePublication<T>({ tenantId }: Who, act: () => Promise<T>): Promise<T> {
  let acting: Promise<T> | undefined;
  await admin.begin(async (sql) => {
    await sql`update corpus_generations set generation = generation + 1 where tenant_id = ${tenantId}`;
    acting = act();
    acting.catch(() => undefined);
    await eventually('it waits for what the publication holds', async () => {
      const [row] = await admin`select count(*)::int as n from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      return row?.['n'] > 0;
    });
    await sql`update tenant_load set outstanding = outstanding where tenant_id = ${tenantId}`;
  });
  if (!acting) throw new Error('nothing was done');
  return acting;
}

/** A tenant whose changes are counted already, with a document that is still waiting to be worked on. */
async function waiting(fields: Record<string, string> = {}) {
  const who = await rig.newTenant();
  const first = await rig.upload(who, linesOf(2, 'first'));
  await rig.deliver(who, 'ingest', first.receipt.task_id);
  const { receipt } = await rig.upload(who, linesOf(3, 'second'), fields);
  return { who, id: receipt.document_id };
}

test('a document is deleted beside a publication', async () => {
  const { who, id } = await waiting();
  await besidePublication(who, () => rig.as(who, () => rig.documents.remove(id)));
  expect(await rig.outstanding(who)).toBe(0);
});

test('a file takes the place of one that was not read yet beside a publication', async () => {
  const { who, id } = await waiting({ source_item: 'a', title: 'Old' });
  const { receipt } = await besidePublication(who, () =>
    rig.upload(who, linesOf(4, 'third'), { source_item: 'a', title: 'New' }),
  );
  expect(receipt.document_id).toBe(id);
  expect(await rig.outstanding(who)).toBe(1);
});
