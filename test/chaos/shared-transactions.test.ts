/**
 * Attempts share transactions (`src/db/group-commit.ts`). Whoever leads one dies, stands still or loses its connection in the
 * middle of it: all who shared it are done by somebody, once.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { expectNothingCounted, expectWhole } from '../support/chaos-whole.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register } from '../support/person.ts';

let installation: Installation;
let people: Person[];
beforeAll(async () => {
  installation = await startInstallation({ workers: 2 });
  people = [await register(installation.url), await register(installation.url)];
}, 120_000);
afterAll(() => installation?.stop());

/** A backend whose client stands still keeps its locks for ten seconds. */
const RECOVERY_MS = 60_000;
const DOCUMENTS = 4;
/** Who stands still costs those ten seconds. */
const [TABLES, HOWS] = process.env['SOAK']
  ? ([
      ['task_logs', 'chunks', 'tenant_load'],
      ['killed', 'cut off', 'frozen'],
    ] as const)
  : ([
      ['task_logs', 'chunks'],
      ['killed', 'cut off'],
    ] as const);
let rounds = 0;

/** In the middle of a shared beginning, of a shared publication, and where it is counted at the end of one. */
describe.each(TABLES)('a transaction that stands at %s', (table) => {
  test.each(HOWS)(
    'of a worker that is %s, is done by somebody, once',
    async (how) => {
      const { sql, sabotage, workers } = installation;
      await Promise.all(workers.map((worker) => worker.up()));
      const [leader, other] = workers;
      const [before, bought] = [installation.crashes.length, installation.requests().length];
      // Nothing is begun before all have been accepted, so that they come together; and one worker begins them.
      for (const worker of workers) worker.freeze();
      rounds += 1;
      const accepted = await Promise.all(
        people.flatMap((person) =>
          Array.from({ length: DOCUMENTS }, async (_, number) => {
            const input = inputOf(`shared-${rounds}-${person.session.tenant.id}`, number, 2);
            const { status, body } = await person.upload(input.content, input.filename);
            expect(status).toBe(202);
            return { input, ...body };
          }),
        ),
      );
      await sabotage.begin({ table, atCommit: false, code: 'hold', share: 1 });
      leader?.thaw();
      await eventually('a transaction stands', async () => (await sabotage.held()).length > 0, RECOVERY_MS);
      if (how === 'killed') leader?.kill();
      else if (how === 'frozen') leader?.freeze();
      else await sql`select pg_terminate_backend(pid) from unnest(${await sabotage.held()}::int[]) pid`;
      other?.thaw();
      await sabotage.end();
      const ids = accepted.map(({ task_id }) => task_id);
      try {
        await eventually(
          'all have succeeded',
          async () =>
            (await sql`select 1 from tasks where id = any(${ids}::uuid[]) and status = 'succeeded'`).length ===
            ids.length,
          RECOVERY_MS,
        );
      } finally {
        leader?.thaw();
      }
      await Promise.all(workers.map((worker) => worker.up()));
      await eventually(
        'every claim is given up',
        async () => (await installation.redis.keys('dh:*:q:*')).length === 0,
        RECOVERY_MS,
      );
      for (const { input, document_id } of accepted) await expectWhole(installation, document_id, input);
      for (const { session } of people) await expectNothingCounted(installation, session.tenant.id);
      const tasks = await sql<{ attempt: number; retry_count: number }[]>`
      select attempt, retry_count from tasks where id = any(${ids}::uuid[])`;
      expect(tasks.map(({ retry_count }) => retry_count)).toEqual(ids.map(() => 0));
      // Each attempt buys its document once: what more is bought is bought by more attempts.
      const attempts = tasks.reduce((sum, { attempt }) => sum + attempt, 0);
      const texts = installation
        .requests()
        .slice(bought)
        .flatMap(({ body, fault }) => (fault === undefined && Array.isArray(body['input']) ? body['input'] : []));
      expect(texts.length).toBeLessThanOrEqual(2 * attempts);
      expect(installation.crashes.slice(before)).toEqual([]);
    },
    150_000,
  );
});
