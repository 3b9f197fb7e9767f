/** PostgreSQL that kills its backends, goes away, or falls silent: processes survive, and nothing accepted is lost. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { expectedChunks, inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register } from '../support/person.ts';

let installation: Installation;
let person: Person;
beforeAll(async () => {
  installation = await startInstallation({ workers: 2 });
  person = await register(installation.url);
}, 120_000);
afterAll(() => installation?.stop());

const RECOVERY_MS = 40_000;
const DOCUMENTS = 12;
const ROUNDS = 15;
const ROUND_MS = 300;
let inputs = 0;

/** Uploads until it is answered with a document, as a client does. */
async function insist(sections: number): Promise<{ documentId: string; chunks: number }> {
  const input = inputOf('postgres', ++inputs, sections);
  let documentId = '';
  await eventually(
    `${input.mark} is accepted`,
    async () => {
      const answer = await person.upload(input.content, input.filename).catch(() => undefined);
      if (answer && (answer.status === 202 || answer.status === 200)) documentId = answer.body.document_id;
      return documentId !== '';
    },
    RECOVERY_MS,
  );
  return { documentId, chunks: (await expectedChunks(input)).length };
}

async function untilReady(accepted: readonly { documentId: string; chunks: number }[]): Promise<void> {
  const ids = accepted.map(({ documentId }) => documentId);
  const { sql } = installation;
  await eventually(
    'all documents are ready',
    async () =>
      (await sql`select 1 from documents where id = any(${ids}::uuid[]) and status = 'ready'`).length === ids.length,
    RECOVERY_MS,
  );
  const rows = await sql<{ id: string; chunks: number; vectors: number }[]>`
    select document_id as id, count(*)::int as chunks,
      (select count(*)::int from chunk_vectors v where v.document_id = c.document_id) as vectors
    from chunks c where document_id = any(${ids}::uuid[]) group by document_id`;
  const found = new Map(rows.map((row) => [row.id, row]));
  for (const { documentId, chunks } of accepted)
    expect(found.get(documentId)).toMatchObject({ chunks, vectors: chunks });
  expect(await sql`select 1 from tasks where status in ('dead', 'failed')`).toHaveLength(0);
}

test('backends that die three times a second delay work and lose none', async () => {
  const accepted = Promise.all(Array.from({ length: DOCUMENTS }, () => insist(80)));
  let killed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await systemClock.sleep(ROUND_MS);
    killed += await installation.killBackends(0.5);
  }
  expect(killed).toBeGreaterThan(ROUNDS);
  await untilReady(await accepted);
  expect(installation.crashes).toEqual([]);
}, 120_000);

test('a server that is away is waited for', async () => {
  const before = await insist(80);
  await installation.network.postgres.set({ type: 'refuse' });
  const during = insist(3);
  await eventually(
    'the server says that it cannot accept',
    async () => (await fetch(`${installation.url}/readyz`)).status === 503,
  );
  await systemClock.sleep(installation.visibilityMs);
  await installation.network.postgres.set({ type: 'pass' });
  await untilReady([before, await during]);
  expect(installation.crashes).toEqual([]);
}, 120_000);
