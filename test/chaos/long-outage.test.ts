/**
 * A PostgreSQL that is away, or only reads, for much longer than a claim lasts, as in a failover, while Redis has handed work out: entries come to
 * workers again and again, and none of them can write down anything. That is nobody's dead letter.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { expectNothingCounted, expectWhole } from '../support/chaos-whole.ts';
import { eventually } from '../support/eventually.ts';
import { register } from '../support/person.ts';

const VISIBILITY_MS = '300';
const DOCUMENTS = 3;
/** More deliveries than an entry may have before it counts as poison. */
const DELIVERIES = 14;
const PATIENCE_MS = 60_000;

let installation: Installation;
beforeAll(async () => {
  installation = await startInstallation({
    workers: 1,
    env: { VISIBILITY_TIMEOUT_MS: VISIBILITY_MS, CHAT_VISIBILITY_TIMEOUT_MS: VISIBILITY_MS },
  });
}, 120_000);
afterAll(() => installation?.stop());

/** How the database is away, and how it is there again. */
const OUTAGES = {
  'that nobody reaches': {
    begin: ({ network }: Installation) => network.postgres.set({ type: 'refuse' }),
    end: ({ network }: Installation) => network.postgres.set({ type: 'pass' }),
  },
  'that only reads': {
    begin: (broken: Installation) => readOnly(broken, true),
    end: (broken: Installation) => readOnly(broken, false),
  },
};

/** Of DreamHub's sessions, those to come; the others end. */
async function readOnly({ sql, killBackends }: Installation, isOn: boolean): Promise<void> {
  const [row] = await sql<{ name: string; login: string }[]>`
    select current_database() as name, usename as login from pg_stat_activity
    where datname = current_database() and application_name = 'dreamhub' and usename <> current_user limit 1`;
  if (!row) throw new Error('DreamHub has no session');
  await sql.unsafe(
    `alter role ${row.login} in database ${row.name} ${isOn ? 'set default_transaction_read_only = on' : 'reset all'}`,
  );
  await killBackends();
}

test.each(Object.entries(OUTAGES))(
  'a database %s: what was handed out before is done after it, and nothing of it is given up',
  async (_, outage) => {
    const { sql, workers } = installation;
    const [worker] = workers;
    const person = await register(installation.url);
    const tenant = person.session.tenant.id;
    const { body: conversation } = await person.call<{ id: string }>('POST', '/conversations', {});
    worker?.freeze();
    const inputs = Array.from({ length: DOCUMENTS }, (_, number) => inputOf(person.tenant, number, 2));
    const accepted = await Promise.all(inputs.map((input) => person.upload(input.content, input.filename)));
    expect(accepted.map(({ status }) => status)).toEqual(inputs.map(() => 202));
    const asked = await person.call('POST', `/conversations/${conversation.id}/messages`, { content: 'a question' });
    expect(asked.status).toBe(202);
    const isOut = async (table: string) =>
      (await sql`select 1 from ${sql(table)} where handed_out_at is null and status = 'queued'`).length === 0;
    await eventually('all is handed out', async () => (await isOut('tasks')) && (await isOut('turns')), PATIENCE_MS);

    const failures = () => worker?.output().match(/a handler failed/g)?.length ?? 0;
    const before = failures();
    await outage.begin(installation);
    worker?.thaw();
    await eventually(
      'every entry was delivered often',
      () => failures() - before >= DELIVERIES * (DOCUMENTS + 1),
      PATIENCE_MS,
    );
    const refused = await person.upload('a document that nobody can accept', 'refused.txt');
    expect([refused.status, refused.body.code]).toEqual([503, 'unavailable']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    await outage.end(installation);

    const unfinished = () =>
      sql`select 1 from tasks where status in ('queued', 'running') union all
      select 1 from turns where status in ('queued', 'running')`;
    await eventually('all has ended', async () => (await unfinished()).length === 0, PATIENCE_MS);
    const ends = await sql<{ status: string }[]>`
    select status from tasks where tenant_id = ${tenant} union all select status from turns where tenant_id = ${tenant}`;
    expect(ends.map(({ status }) => status).toSorted()).toEqual(['completed', ...inputs.map(() => 'succeeded')]);
    for (const [index, input] of inputs.entries())
      await expectWhole(installation, accepted[index]?.body.document_id ?? '', input);
    await expectNothingCounted(installation, tenant);
    expect(installation.crashes).toEqual([]);
  },
  200_000,
);
