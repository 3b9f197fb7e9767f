/** Erasing from outside: a tenant in the middle of its work goes, its worker is killed over it, and nothing of it is found. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import postgres from 'postgres';
import { type Dreamhub, startDreamhub, startProcess } from '../support/dreamhub.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register } from '../support/person.ts';

const OPERATOR_TOKEN = 'the-operators-own-token-of-erasures';
const WORD = 'floccinaucinihilipilification';

let hub: Dreamhub;
let sql: postgres.Sql;
beforeAll(async () => {
  hub = await startDreamhub('split', { OPERATOR_TOKEN });
  sql = postgres(hub.adminUrl ?? '', { max: 2, onnotice: () => undefined });
}, 120_000);
afterAll(async () => {
  await sql?.end({ timeout: 5 });
  await hub?.stop();
}, 60_000);

interface Report {
  id: string;
  status: string;
  finished_at: string | null;
  deleted: Record<string, number>;
}

const lines = (count: number) => Array.from({ length: count }, (_, i) => `${WORD} number ${i} of ${count}.`).join('\n');

async function login({ tenant, email, password }: Person): Promise<number> {
  const body = JSON.stringify({ tenant, email, password });
  const headers = { 'content-type': 'application/json' };
  return (await fetch(`${hub.url}/api/v1/auth/login`, { method: 'POST', headers, body })).status;
}

test('a tenant goes although the worker that erases it is killed', async () => {
  const owner = await register(hub.url);
  const socket = await owner.socket();
  const { document_id } = await owner.learn(socket, lines(200), 'one.txt');
  await owner.call('POST', '/chat', { message: `What of ${WORD}?` });
  for (let i = 0; i < 12; i += 1) await owner.upload(lines(100 + i), `more ${i}.txt`);
  const key = await owner.call<{ key: string }>('POST', '/api-keys', { name: 'mine' });

  const refused = await owner.call<{ code: string; errors: { path: string }[] }>('POST', '/privacy/erasure', {
    scope: 'tenant',
  });
  expect(refused).toMatchObject({ status: 422, body: { code: 'invalid_request', errors: [{ path: '/confirm' }] } });
  // The row of the tenant is what goes last: until it is free the worker is in the middle.
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
  const { promise: held, resolve: hold } = Promise.withResolvers<void>();
  const holding = sql.begin(async (tx) => {
    await tx`select 1 from documents where id = ${document_id} for update`;
    hold();
    await mayEnd;
  });
  await held;
  const ordered = await owner.call<Report>('POST', '/privacy/erasure', { scope: 'tenant', confirm: owner.tenant });
  expect(ordered.status).toBe(202);
  expect((await socket.closed).code).toBe(4401);
  expect((await owner.call('GET', '/me')).status).toBe(401);
  expect(await login(owner)).toBe(401);
  const me = await fetch(`${hub.url}/api/v1/me`, { headers: { authorization: `Bearer ${key.body.key}` } });
  expect(me.status).toBe(401);
  await eventually('the worker has begun', async () => {
    const [row] = await sql`select 1 from erasures where id = ${ordered.body.id} and leased_until > now()`;
    return row !== undefined;
  });
  hub.worker.signal('SIGKILL');
  await hub.worker.exited;
  end();
  await holding;
  expect((await owner.call<Report>('GET', `/privacy/erasure/${ordered.body.id}`)).body.status).not.toBe('done');
  const next = await startProcess({ ...hub.env, DREAMHUB_ROLE: 'worker' });
  try {
    await eventually(
      'it is done',
      async () => (await owner.call<Report>('GET', `/privacy/erasure/${ordered.body.id}`)).body.status === 'done',
      60_000,
    );
  } finally {
    await next.stop();
  }
  const report = await fetch(`${hub.url}/api/v1/admin/erasures/${ordered.body.id}`, {
    headers: { authorization: `Bearer ${OPERATOR_TOKEN}` },
  });
  expect(report.status).toBe(200);
  const text = await report.text();
  expect(JSON.parse(text).deleted).toMatchObject({ documents: 13, tenants: 1 });
  for (const secret of [owner.session.tenant.id, owner.session.user.id, owner.tenant, owner.email]) {
    expect(text).not.toContain(secret);
  }
  // The order, and the notes of where blobs were, name the tenant until the second look.
  const names = await sql<{ name: string }[]>`
    select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
      and not relispartition and relname not in ('erasures', 'erasure_blobs')`;
  for (const { name } of names) {
    const [row] = await sql<{ count: number }[]>`
      select count(*)::int as count from ${sql(name)} t
      where t::text like ${`%${owner.session.tenant.id}%`} or t::text like ${`%${WORD}%`}`;
    expect([name, row?.count]).toEqual([name, 0]);
  }
  const again = await register(hub.url, owner.tenant);
  expect(again.session.tenant.id).not.toBe(owner.session.tenant.id);
  expect((await again.call('GET', `/documents/${document_id}`)).status).toBe(404);
}, 120_000);
