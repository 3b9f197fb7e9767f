/** A tenant with a long queue beside one with a single document. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { say } from '../support/chaos-say.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register } from '../support/person.ts';

let installation: Installation;
beforeAll(async () => {
  installation = await startInstallation({ workers: 1 });
}, 120_000);
afterAll(() => installation?.stop());

const CROWD = 200;
const SINGLES = 5;
/** WORKER_CONCURRENCY of the installation: jobs that run when the single one comes cannot be overtaken. */
const RUNNING = 4;

/** Milliseconds from the upload's answer to the pushed end. */
async function timeOf(person: Person, number: number): Promise<number> {
  const socket = await person.socket();
  try {
    const input = inputOf(person.tenant, number, 2);
    const started = performance.now();
    const { end } = await person.learn(socket, input.content, input.filename);
    expect(end.type).toBe('task.succeeded');
    return performance.now() - started;
  } finally {
    socket.close();
  }
}

async function finishedOf(person: Person): Promise<number> {
  const [row] = await installation.sql<{ count: number }[]>`
    select count(*)::int as count from tasks where tenant_id = ${person.session.tenant.id} and status = 'succeeded'`;
  return row?.count ?? 0;
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

test('the single document is among the next to be done, however long the other queue is', async () => {
  const [single, crowd] = [await register(installation.url), await register(installation.url)];
  const solo: number[] = [];
  for (let i = 0; i < SINGLES; i++) solo.push(await timeOf(single, i));

  for (let i = 0; i < CROWD; i++) {
    const input = inputOf(crowd.tenant, i, 2);
    expect((await crowd.upload(input.content, input.filename)).status).toBe(202);
  }
  await eventually('the crowd is being worked on', async () => (await finishedOf(crowd)) > 0);
  const beside: number[] = [];
  const overtaken: number[] = [];
  for (let i = 0; i < SINGLES; i++) {
    const before = await finishedOf(crowd);
    beside.push(await timeOf(single, SINGLES + i));
    overtaken.push((await finishedOf(crowd)) - before);
  }
  const left = CROWD - (await finishedOf(crowd));
  say(
    `a single document: ${median(solo).toFixed(0)} ms alone, ${median(beside).toFixed(0)} ms beside ${CROWD} (${left} left); ` +
      `of those ${overtaken.join(', ')} were done meanwhile`,
  );
  expect(left).toBeGreaterThan(0);
  // Those that ran, those that a fair turn gives, and as many that were under way while it ran itself.
  expect(median(overtaken)).toBeLessThanOrEqual(3 * RUNNING);
}, 120_000);
