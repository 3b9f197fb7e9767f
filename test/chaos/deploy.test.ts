/** Deploys during work: workers are replaced one after the other with SIGTERM, and the documents do not notice. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { chaosReply, TOKEN_MS } from '../support/chaos-run.ts';
import { say } from '../support/chaos-say.ts';
import { eventually } from '../support/eventually.ts';
import { register } from '../support/person.ts';

let installation: Installation;
beforeAll(async () => {
  installation = await startInstallation({ workers: 2, reply: chaosReply });
}, 120_000);
afterAll(() => installation?.stop());

const DOCUMENTS = 16;
const DEPLOYS = 3;

test('rolling restarts send nothing to the dead letters and count no retry', async () => {
  const { sql, provider, workers } = installation;
  const person = await register(installation.url);
  provider.always('chat', { type: 'slow', tokenMs: TOKEN_MS });
  // One is in the middle of its work when its worker goes, however fast the others are.
  provider.next('embeddings', { type: 'hang' });
  const inputs = Array.from({ length: DOCUMENTS }, (_, index) => inputOf('deploy', index, 100));
  for (const input of inputs) expect((await person.upload(input.content, input.filename)).status).toBe(202);
  const conversation = await person.call<{ id: string }>('POST', '/conversations', {});
  const codes: number[] = [];
  for (let deploy = 0; deploy < DEPLOYS; deploy++) {
    await person.call('POST', `/conversations/${conversation.body.id}/messages`, { content: `question-${deploy}` });
    for (const worker of workers) {
      codes.push(await worker.terminate());
      await worker.up();
    }
  }
  await eventually(
    'everything has ended',
    async () => {
      const rows = await sql`select 1 from tasks where status in ('queued', 'running')
      union all select 1 from turns where status in ('queued', 'running')`;
      return rows.length === 0;
    },
    60_000,
  );
  expect(codes).toEqual(codes.map(() => 0));
  const tasks = await sql<
    { status: string; retry_count: number; attempt: number }[]
  >`select status, retry_count, attempt from tasks`;
  expect(tasks.map(({ status, retry_count }) => `${status} ${retry_count}`)).toEqual(inputs.map(() => 'succeeded 0'));
  const turns = await sql<{ status: string; retry_count: number }[]>`select status, retry_count from turns`;
  expect(turns.map(({ status, retry_count }) => `${status} ${retry_count}`)).toEqual(
    Array.from({ length: DEPLOYS }, () => 'completed 0'),
  );
  const handedBack = tasks.reduce((sum, { attempt }) => sum + attempt - 1, 0);
  say(`${codes.length} restarts: ${handedBack} documents were handed back in the middle and continued`);
  expect(handedBack).toBeGreaterThan(0);
  // A batch under way when its worker is told to go is the most that is bought again.
  const texts = installation
    .requests()
    .flatMap(({ route, body }) => (route === 'embeddings' ? (body['input'] as string[]) : []));
  expect(texts.length - new Set(texts).size).toBeLessThanOrEqual(128 * handedBack);
  const [row] = await sql<{ chunks: number; vectors: number }[]>`
    select (select count(*)::int from chunks) as chunks, (select count(*)::int from chunk_vectors) as vectors`;
  expect({ ...row }).toEqual({ chunks: 100 * DOCUMENTS, vectors: 100 * DOCUMENTS });
  expect(installation.crashes).toEqual([]);
}, 180_000);
