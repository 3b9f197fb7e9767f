/** What is told of usage from outside, by processes that are killed in the middle of what they buy. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Cluster, startCluster } from '../support/cluster.ts';
import type { DreamhubProcess } from '../support/dreamhub.ts';
import { openSocket, type Person, register } from '../support/person.ts';

const REPLY = Array.from({ length: 20 }, (_, i) => `word-${i}`).join(' ');

interface Report {
  scope: string;
  groups: { model: string; prompt_tokens: number; completion_tokens: number; requests: number }[];
  totals: {
    prompt_tokens: number;
    completion_tokens: number;
    embedding_tokens: number;
    cost: number | null;
    unpriced_tokens: number;
    requests: number;
    storage_bytes: number;
  };
}

let cluster: Cluster;
let worker: DreamhubProcess;
beforeAll(async () => {
  const MODEL_PRICES = JSON.stringify({ 'fake-chat': { input: 1, output: 2 }, 'fake-embedding': { input: 0.5 } });
  const env = { MODEL_PRICES, VISIBILITY_TIMEOUT_MS: '2000', CHAT_VISIBILITY_TIMEOUT_MS: '2000' };
  cluster = await startCluster({ reply: () => REPLY, env });
  worker = await cluster.startWorker();
}, 120_000);
afterAll(() => cluster?.stop(), 120_000);

/** Each test has a tenant of its own: they run in any order. */
const newPerson = () => register(cluster.nodes[0].url);
const report = async (who: Person) => (await who.call<Report>('GET', '/usage?group_by=model')).body;

describe('usage', () => {
  test('of an answer whose worker is killed is that of the attempt that ended, once', async () => {
    const person = await newPerson();
    const socket = await openSocket(cluster.nodes[0].url, { token: person.token });
    cluster.provider.next('chat', { type: 'stepwise' });
    socket.send({ type: 'chat.send', id: 1, content: 'Tell me?', client_message_id: crypto.randomUUID() });
    await socket.until(({ id }) => id === 1);
    for (let i = 0; i < 5; i++) cluster.provider.step();
    await socket.until(({ type }) => type === 'turn.delta');
    worker.signal('SIGKILL');
    await worker.exited;
    worker = await cluster.startWorker();
    const { data } = await socket.until(({ type }) => type === 'turn.completed');
    socket.close();
    const usage = data?.['usage'] as { prompt_tokens: number; completion_tokens: number; cost: number };
    expect(usage.completion_tokens).toBeGreaterThan(0);
    const { groups, scope } = await report(person);
    expect(scope).toBe('tenant');
    expect(groups).toMatchObject([{ model: 'fake-chat', requests: 1, completion_tokens: usage.completion_tokens }]);
    expect(usage.cost).toBeCloseTo((usage.prompt_tokens + 2 * usage.completion_tokens) / 1e6, 9);
  }, 90_000);

  test('of a document whose worker is killed while it buys is what was kept, and tells a stranger nothing', async () => {
    const person = await newPerson();
    cluster.provider.next('embeddings', { type: 'hang' });
    const asked = cluster.provider.requests.length;
    const text = 'High tide in the harbour is at 14:20.';
    const { body } = await person.upload(text, 'tides.txt');
    await cluster.provider.waitFor((request) => cluster.provider.requests.indexOf(request) >= asked);
    worker.signal('SIGKILL');
    await worker.exited;
    worker = await cluster.startWorker();
    const socket = await openSocket(cluster.nodes[0].url, { token: person.token });
    socket.send({ type: 'subscribe', topic: `task:${body.task_id}` });
    await socket.until(({ type, topic }) => type === 'task.succeeded' && topic === `task:${body.task_id}`);
    socket.close();
    const { totals } = await report(person);
    expect(totals.requests).toBe(1);
    expect(totals.embedding_tokens).toBeGreaterThan(0);
    expect(totals).toMatchObject({ unpriced_tokens: 0, storage_bytes: text.length });
    const stranger = await register(cluster.nodes[1].url);
    expect((await report(stranger)).totals).toMatchObject({ requests: 0, storage_bytes: 0, cost: 0 });
  }, 90_000);

  test('that is spent refuses the next question with 429 until the period ends, on REST and socket alike', async () => {
    const person = await newPerson();
    expect((await person.call('POST', '/chat', { message: 'At first?' })).status).toBe(200);
    const set = await person.call('PUT', '/quotas', { max_tokens: 1, budget_period: 'day' });
    expect(set.status).toBe(200);
    const refused = await person.call<{ code: string }>('POST', '/chat', { message: 'And now?' });
    expect([refused.status, refused.body.code]).toEqual([429, 'quota_exceeded']);
    const after = Number(refused.headers.get('retry-after'));
    expect(after).toBeGreaterThan(0);
    expect(after).toBeLessThanOrEqual(86_400);
    const socket = await openSocket(cluster.nodes[0].url, { token: person.token });
    socket.send({ type: 'chat.send', id: 'more', content: 'And now?', client_message_id: crypto.randomUUID() });
    expect(await socket.until(({ id }) => id === 'more')).toMatchObject({ type: 'error', code: 'quota_exceeded' });
    socket.close();
    await person.call('PUT', '/quotas', { max_tokens: null });
    expect((await person.call('POST', '/chat', { message: 'And now?' })).status).toBe(200);
  }, 60_000);
});

test('statistics are told to administrators, and of a range that is none it is said what is wrong', async () => {
  const person = await newPerson();
  const socket = await person.socket();
  await person.learn(socket, 'Low tide is at 20:35.', 'tides.txt');
  socket.close();
  const tasks = await person.call<{ totals: { accepted: number; succeeded: number } }>('GET', '/admin/stats/tasks');
  expect(tasks.body.totals).toMatchObject({ accepted: 1, succeeded: 1 });
  const growth = await person.call<{ totals: { documents: number; users: number } }>('GET', '/admin/stats/growth');
  expect(growth.body.totals).toMatchObject({ documents: 1, users: 1 });
  for (const path of [
    '/admin/stats/tasks?bucket=week',
    '/admin/stats/growth?from=2026-02-30',
    '/usage?group_by=colour',
  ]) {
    const { status, body } = await person.call<{ code: string; errors: unknown[] }>('GET', path);
    expect([path, status, body.code, body.errors.length]).toEqual([path, 422, 'invalid_request', 1]);
  }
}, 60_000);
