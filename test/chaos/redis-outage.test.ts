/** Redis away, half-open, or emptied: uploads are accepted all the same, and work goes on by itself. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Input, inputOf } from '../support/chaos-documents.ts';
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

/** A half-open connection is given up after 5 s; then the reconcilers and the feeder find what nobody was told of. */
const RECOVERY_MS = 40_000;
let inputs = 0;

async function accept(count: number): Promise<string[]> {
  const taken: Input[] = Array.from({ length: count }, () => inputOf('outage', ++inputs, 3));
  const answers = await Promise.all(taken.map((input) => person.upload(input.content, input.filename)));
  expect(answers.map(({ status }) => status)).toEqual(taken.map(() => 202));
  return answers.map(({ body }) => body.task_id);
}

async function readiness(url: string) {
  const response = await fetch(`${url}/readyz`);
  const body = (await response.json()) as { status: string; checks: Record<string, string> };
  return { http: response.status, status: body.status, redis: body.checks['redis'] };
}

async function untilAllSucceeded(ids: readonly string[]): Promise<void> {
  await eventually(
    'all tasks have succeeded',
    async () => {
      const rows = await installation.sql<
        { status: string }[]
      >`select status from tasks where id = any(${[...ids]}::uuid[])`;
      return rows.length === ids.length && rows.every(({ status }) => status === 'succeeded');
    },
    RECOVERY_MS,
  );
  const [worst] = await installation.sql<{ retries: number }[]>`
    select max(retry_count) as retries from tasks where id = any(${[...ids]}::uuid[])`;
  expect(worst?.retries).toBe(0);
}

for (const mode of [{ type: 'refuse' }, { type: 'half-open' }, { type: 'cut-after-request' }] as const) {
  test(`Redis (${mode.type}) delays work and loses none, and nobody has to do anything`, async () => {
    const before = await accept(3);
    await installation.network.redis.set(mode);
    const during = await accept(5);
    await eventually('the server says degraded', async () => (await readiness(installation.url)).status === 'degraded');
    expect(await readiness(installation.url)).toMatchObject({ http: 200, status: 'degraded' });
    expect((await readiness(installation.url)).redis).not.toBe('ok');
    during.push(...(await accept(2)));
    await installation.network.redis.set({ type: 'pass' });
    await untilAllSucceeded([...before, ...during]);
    await eventually(
      'the server is well',
      async () => (await readiness(installation.url)).status === 'ok',
      RECOVERY_MS,
    );
    for (const worker of installation.workers) {
      await eventually(
        `${worker.name} is well`,
        async () => (await readiness(worker.url())).status === 'ok',
        RECOVERY_MS,
      );
    }
    await eventually('Redis holds no work', async () => (await installation.redis.keys('dh:*:q:*')).length === 0);
  }, 120_000);
}

test('Redis emptied again and again during work costs time and nothing else', async () => {
  const ids: string[] = [];
  for (let round = 0; round < 5; round++) {
    ids.push(...(await accept(4)));
    await installation.redis.flushall();
  }
  await untilAllSucceeded(ids);
}, 120_000);

test('no process has ended on its own', () => {
  expect(installation.crashes).toEqual([]);
});
