/** A worker that dies or stands still, at every stage of its work: another one goes on where it stopped. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { expectedChunks, type Input, inputOf } from '../support/chaos-documents.ts';
import { followTurn } from '../support/chaos-follow.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import type { Supervised } from '../support/chaos-processes.ts';
import { chaosReply, TOKEN_MS } from '../support/chaos-run.ts';
import { say } from '../support/chaos-say.ts';
import { expectWhole } from '../support/chaos-whole.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register, type Socket } from '../support/person.ts';

let installation: Installation;
let person: Person;
let socket: Socket;
beforeAll(async () => {
  installation = await startInstallation({ workers: 2, reply: chaosReply });
  person = await register(installation.url);
  socket = await person.socket();
}, 120_000);
afterAll(async () => {
  socket?.close();
  await installation?.stop();
});

/** How long a takeover may take after the claim has run out. */
const TAKEOVER_MS = 5_000;
const BATCH = 128;
let inputs = 0;
const newInput = (sections: number) => inputOf('death', ++inputs, sections);

async function accept(input: Input) {
  const { status, body } = await person.upload(input.content, input.filename);
  expect(status).toBe(202);
  socket.send({ type: 'subscribe', topic: `task:${body.task_id}` });
  return body;
}

/** The one that has something to do, as its own metrics say. */
async function busyWorker(): Promise<Supervised> {
  let found: Supervised | undefined;
  await eventually('a worker is busy', async () => {
    for (const worker of installation.workers) {
      const metrics = await fetch(`${worker.url()}/metrics`).then(
        (response) => response.text(),
        () => '',
      );
      if (/^dreamhub_workers_busy(?:\{[^}]*\})? [1-9]/m.test(metrics)) found = worker;
    }
    return found !== undefined;
  });
  if (!found) throw new Error('no worker is busy');
  return found;
}

async function untilSucceeded(taskId: string): Promise<Record<string, unknown>> {
  const end = await socket.until(
    ({ topic, type }) => topic === `task:${taskId}` && /succeeded|failed|dead|cancelled/.test(type),
  );
  expect(end.type).toBe('task.succeeded');
  const { body } = await person.call('GET', `/tasks/${taskId}`);
  return body;
}

/** Texts of the document in requests for embeddings, each as often as it was bought. */
function bought({ mark }: Input): string[] {
  return installation.requests().flatMap(({ route, body }) => {
    const texts = route === 'embeddings' && Array.isArray(body['input']) ? body['input'].map(String) : [];
    return texts.filter((text) => text.includes(`of ${mark}\n`));
  });
}

test('killed in the middle of 1,000 chunks, is followed by another that goes on, and at most one batch is bought twice', async () => {
  const { provider, visibilityMs } = installation;
  const input = newInput(1_000);
  expect(await expectedChunks(input)).toHaveLength(1_000);
  // The worst moment: after five batches one is ordered whose vectors will reach nobody.
  provider.next('embeddings', ...Array.from({ length: 5 }, () => ({ type: 'floats' }) as const), { type: 'hang' });
  const { document_id: documentId, task_id: taskId } = await accept(input);
  await provider.waitFor(({ route, fault }) => route === 'embeddings' && fault === 'hang');
  const worker = await busyWorker();
  worker.kill();
  const killed = systemClock.now();
  const task = await untilSucceeded(taskId);
  const tookMs = systemClock.now() - killed;
  const again = bought(input).length - 1_000;
  say(
    `1,000 chunks: finished ${tookMs} ms after the kill (visibility ${visibilityMs} ms), ${again} chunks bought again`,
  );
  expect(tookMs).toBeLessThan(visibilityMs + TAKEOVER_MS);
  expect(again).toBeLessThanOrEqual(BATCH);
  expect(task).toMatchObject({ attempt: 2, retry_count: 0 });
  await expectWhole(installation, documentId, input);
}, 100_000);

describe.each(['extracting', 'chunking', 'embedding', 'publishing'] as const)('a worker at %s', (stage) => {
  async function atStage(sections: number) {
    await Promise.all(installation.workers.map((worker) => worker.up()));
    const input = newInput(sections);
    const receipt = await accept(input);
    const topic = `task:${receipt.task_id}`;
    await socket.until(
      (frame) => frame.topic === topic && (frame.data?.['stage'] === stage || frame.type === 'task.succeeded'),
    );
    return { input, documentId: receipt.document_id, taskId: receipt.task_id };
  }

  test('that is killed loses nothing and repeats nothing', async () => {
    const { input, documentId, taskId } = await atStage(150);
    for (const worker of installation.workers) worker.kill();
    const task = await untilSucceeded(taskId);
    expect(task).toMatchObject({ retry_count: 0 });
    expect(bought(input).length - 150).toBeLessThanOrEqual(BATCH * (Number(task['attempt']) - 1));
    await expectWhole(installation, documentId, input);
  }, 100_000);

  test('that stands still for longer than its claim cannot write when it comes back', async () => {
    const { input, documentId, taskId } = await atStage(150);
    const [first, second] = installation.workers;
    // Whoever has it stands still; the other one must not be the one that is frozen.
    const metrics = await fetch(`${first?.url()}/metrics`).then((response) => response.text());
    const frozen = /^dreamhub_workers_busy(?:\{[^}]*\})? [1-9]/m.test(metrics) ? first : second;
    frozen?.freeze();
    try {
      await untilSucceeded(taskId);
    } finally {
      frozen?.thaw();
    }
    await eventually('the one that came back serves', async () => (await fetch(`${frozen?.url()}/readyz`)).ok);
    await eventually('its claims are given up', async () => (await installation.redis.keys('dh:*:q:*')).length === 0);
    await expectWhole(installation, documentId, input);
  }, 100_000);
});

test('killed while it answers, is followed by one whose answer the same reader gets whole', async () => {
  await Promise.all(installation.workers.map((worker) => worker.up()));
  installation.provider.always('chat', { type: 'slow', tokenMs: TOKEN_MS });
  const { body } = await person.call<{ id: string }>('POST', '/conversations', {});
  const question = `question-${crypto.randomUUID()}`;
  const asked = await person.call<{ turn_id: string }>('POST', `/conversations/${body.id}/messages`, {
    content: question,
  });
  const turnId = asked.body.turn_id;
  socket.send({ type: 'subscribe', topic: `turn:${turnId}` });
  const following = followTurn({ url: installation.url, token: person.token, turnId }, AbortSignal.timeout(50_000));
  await socket.until(({ topic, type }) => topic === `turn:${turnId}` && type === 'turn.delta');
  for (const worker of installation.workers) worker.kill();
  const view = await following;
  expect(view).toMatchObject({ attempt: 2, status: 'completed', problems: [], resets: 0 });
  expect(view.text).toBe(view.finalText ?? '');
  const turn = await person.call<{ text: string; status: string }>('GET', `/turns/${turnId}`);
  expect(turn.body).toMatchObject({ status: 'completed', text: view.text });
  const messages = await person.call<{ items: { role: string; content: string }[] }>(
    'GET',
    `/conversations/${body.id}/messages`,
  );
  expect(messages.body.items.map(({ role, content }) => [role, content])).toEqual([
    ['user', question],
    ['assistant', view.text],
  ]);
}, 100_000);
