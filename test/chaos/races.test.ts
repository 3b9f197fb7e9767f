/**
 * What people ask for at the very moment at which work ends: a transaction of the worker stands in the middle, the request
 * comes, both go on. Whichever was first, the row, the document and the counter say the same.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Input, inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { expectNothingCounted, expectWhole } from '../support/chaos-whole.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register } from '../support/person.ts';

const MAX_DEPTH = 40;
let installation: Installation;
let person: Person;
beforeAll(async () => {
  installation = await startInstallation({
    workers: 1,
    env: { MAX_ATTEMPTS: '1', QUEUE_MAX_DEPTH: String(MAX_DEPTH) },
  });
  person = await register(installation.url);
}, 120_000);
afterAll(() => installation?.stop());

const RECOVERY_MS = 60_000;
let inputs = 0;

async function accept(): Promise<{ input: Input; document_id: string; task_id: string }> {
  const input = inputOf('race', ++inputs, 2);
  const { status, body } = await person.upload(input.content, input.filename);
  expect(status).toBe(202);
  return { input, ...body };
}

async function untilEnded(ids: readonly string[]): Promise<void> {
  await eventually(
    'all tasks have ended',
    async () =>
      (
        await installation.sql`
          select 1 from tasks where id = any(${[...ids]}::uuid[]) and status in ('queued', 'running')`
      ).length === 0,
    RECOVERY_MS,
  );
}

const countOf = async (table: string, documentId: string) => {
  const { sql } = installation;
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from ${sql(table)} where document_id = ${documentId}`;
  return row?.count;
};

/** Beginning, publishing, ending. */
describe.each(['task_logs', 'chunks', 'tenant_load'] as const)('while a transaction stands at %s', (table) => {
  test('some cancel, some delete, some do nothing, and each gets one end', async () => {
    const { sql, sabotage, workers } = installation;
    const [worker] = workers;
    worker?.freeze();
    const accepted = [await accept(), await accept(), await accept()];
    const [cancelled, deleted, left] = accepted;
    if (!cancelled || !deleted || !left) throw new Error('too few');
    await sabotage.begin({ table, atCommit: false, code: 'hold', share: 1 });
    worker?.thaw();
    await eventually('a transaction stands', async () => (await sabotage.held()).length > 0, RECOVERY_MS);
    const asked = [
      person.call('POST', `/tasks/${cancelled.task_id}/cancel`),
      person.call('POST', `/tasks/${cancelled.task_id}/cancel`),
      person.call('DELETE', `/documents/${deleted.document_id}`),
      person.call('DELETE', `/documents/${deleted.document_id}`),
    ];
    // They wait for what stands, or pass it by; neither can be seen from here before it goes on.
    await eventually('they were asked', async () => {
      const rows =
        await sql`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      return rows.length > 0 || (await Promise.race([Promise.all(asked).then(() => true), false]));
    });
    await sabotage.end();
    const [first, second, gone, again] = await Promise.all(asked);
    expect([first?.status, second?.status]).toEqual([200, 200]);
    expect([gone?.status, again?.status].toSorted()).toEqual([204, 404]);
    await untilEnded(accepted.map(({ task_id }) => task_id));
    await expectWhole(installation, left.document_id, left.input);
    const [task] = await sql<{ status: string; document: string }[]>`
      select t.status, d.status as document from tasks t join documents d on d.id = t.document_id
      where t.id = ${cancelled.task_id}`;
    expect(['cancelled failed', 'succeeded ready']).toContain(`${task?.status} ${task?.document}`);
    if (task?.status === 'succeeded') await expectWhole(installation, cancelled.document_id, cancelled.input);
    else expect(await countOf('chunks', cancelled.document_id)).toBe(0);
    for (const name of ['chunks', 'chunk_vectors', 'tasks'])
      expect([name, await countOf(name, deleted.document_id)]).toEqual([name, 0]);
    await expectNothingCounted(installation, person.session.tenant.id);
    const events = await person.call<{ items: { status: string }[] }>('GET', '/tasks?limit=200');
    expect(events.body.items.filter(({ status }) => status === 'running')).toEqual([]);
  }, 120_000);
});

test('a dead letter that many retry at once is tried once more', async () => {
  const { provider, sql } = installation;
  provider.always('embeddings', { type: 'status', status: 400 });
  const dead = await accept();
  await untilEnded([dead.task_id]);
  provider.reset();
  const admin = `/admin/dead-letters/${dead.task_id}/replay`;
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, place) =>
      person.call('POST', place % 2 === 0 ? `/tasks/${dead.task_id}/retry` : admin, {}),
    ),
  );
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status < 300)).toHaveLength(1);
  expect(statuses.filter((status) => status >= 300).every((status) => status === 409 || status === 404)).toBe(true);
  await untilEnded([dead.task_id]);
  await expectWhole(installation, dead.document_id, dead.input);
  const [task] = await sql`select status, attempt from tasks where id = ${dead.task_id}`;
  expect({ ...task }).toEqual({ status: 'succeeded', attempt: 2 });
  await expectNothingCounted(installation, person.session.tenant.id);
}, 120_000);

test.each(['53100', '40P01', '55P03'] as const)(
  'a database that answers %s spends no attempt of a document',
  async (code) => {
    const { sql, sabotage } = installation;
    await sabotage.begin({ table: 'chunks', atCommit: false, code, share: 1 });
    const waiting = await accept();
    await eventually(
      'an attempt was refused and waits',
      async () =>
        (await sql`select 1 from tasks where id = ${waiting.task_id} and attempt > 0 and status = 'queued'`).length ===
        1,
      RECOVERY_MS,
    );
    await sabotage.end();
    await sql`update tasks set run_at = now() where id = ${waiting.task_id} and status = 'queued' and handed_out_at is null`;
    await untilEnded([waiting.task_id]);
    const [task] = await sql`select status, retry_count from tasks where id = ${waiting.task_id}`;
    expect({ ...task }).toEqual({ status: 'succeeded', retry_count: 0 });
    await expectWhole(installation, waiting.document_id, waiting.input);
  },
  120_000,
);

test('200 uploads at once with duplicates among them and Redis away: exactly the limit is accepted, and all of it is done', async () => {
  const { sql, network, workers } = installation;
  const crowd = await register(installation.url);
  const different = Array.from({ length: 100 }, (_, number) => inputOf(crowd.tenant, number, 1));
  workers[0]?.freeze();
  await network.redis.set({ type: 'refuse' });
  const answers = await Promise.all(
    [...different, ...different].map(async (input) => ({
      input,
      ...(await crowd.upload(input.content, input.filename)),
    })),
  );
  const accepted = answers.filter(({ status }) => status === 202);
  expect(accepted).toHaveLength(MAX_DEPTH);
  const known = new Map(accepted.map(({ input, body }) => [input.mark, body.document_id]));
  for (const { input, status, body, headers } of answers) {
    if (status === 200) expect(body).toMatchObject({ duplicate: true, document_id: known.get(input.mark) });
    else if (status !== 202) {
      expect([status, body.code]).toEqual([429, 'queue_full']);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
  }
  // Each of the accepted came twice.
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(MAX_DEPTH);
  const [row] = await sql`
    select outstanding, (select count(*)::int from tasks t where t.tenant_id = l.tenant_id) as tasks,
      (select count(*)::int from documents d where d.tenant_id = l.tenant_id) as documents
    from tenant_load l where tenant_id = ${crowd.session.tenant.id}`;
  expect({ ...row }).toEqual({ outstanding: MAX_DEPTH, tasks: MAX_DEPTH, documents: MAX_DEPTH });
  await network.redis.set({ type: 'pass' });
  workers[0]?.thaw();
  await untilEnded(accepted.map(({ body }) => body.task_id));
  for (const { input, body } of accepted) await expectWhole(installation, body.document_id, input);
  await expectNothingCounted(installation, crowd.session.tenant.id);
}, 120_000);

test('a server that is killed between its commit and its answer, and asked again with the same key, has made one document', async () => {
  const { sql, sabotage, server } = installation;
  const input = inputOf('race', ++inputs, 2);
  const headers = { 'idempotency-key': crypto.randomUUID() };
  // The upload stands in its transaction; then what would keep its answer stands, and the upload is committed.
  await sabotage.begin({ table: 'tasks', atCommit: false, code: 'hold', share: 1 });
  const lost = person.upload(input.content, input.filename, {}, headers).catch((error: unknown) => error);
  await eventually('the upload stands', async () => (await sabotage.held()).length > 0, RECOVERY_MS);
  await sabotage.begin({ table: 'idempotency_keys', atCommit: false, code: 'hold', share: 1 });
  await sabotage.end('tasks');
  const mark = `document-${inputs}.md`;
  await eventually(
    'it is committed',
    async () =>
      (await sql`select 1 from documents where filename = ${mark} and tenant_id = ${person.session.tenant.id}`).length >
      0,
    RECOVERY_MS,
  );
  server.kill();
  expect(await lost).toBeInstanceOf(Error);
  await sabotage.end();
  await server.up();
  const early = await person.upload(input.content, input.filename, {}, headers);
  expect([early.status, early.body.code]).toEqual([409, 'conflict']);
  expect(Number(early.headers.get('retry-after'))).toBeGreaterThan(0);
  await sql`update idempotency_keys set leased_until = now() - interval '1 second' where leased_until is not null`;
  const again = await person.upload(input.content, input.filename, {}, headers);
  expect([again.status, again.body.duplicate]).toEqual([200, true]);
  const repeated = await person.upload(input.content, input.filename, {}, headers);
  expect([repeated.status, repeated.body]).toEqual([again.status, again.body]);
  await untilEnded([again.body.task_id]);
  await expectWhole(installation, again.body.document_id, input);
  const documents =
    await sql`select 1 from documents where filename = ${mark} and tenant_id = ${person.session.tenant.id}`;
  expect(documents).toHaveLength(1);
  await expectNothingCounted(installation, person.session.tenant.id);
}, 120_000);

test('no process has ended on its own, and none had to repair a counter', () => {
  expect(installation.crashes).toEqual([]);
  expect(installation.alarms()).toEqual([]);
});
