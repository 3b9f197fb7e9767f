/** What `/metrics` says after real work: every name and label of the contract, with the values of that work. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Dreamhub, startDreamhub } from '../support/dreamhub.ts';
import { eventually } from '../support/eventually.ts';
import { type FakeOpenAi, startFakeOpenAi } from '../support/fake-openai.ts';
import { type Person, register, type Socket } from '../support/person.ts';

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

let provider: FakeOpenAi;
let hub: Dreamhub;
let person: Person;
let socket: Socket;

beforeAll(async () => {
  provider = await startFakeOpenAi();
  provider.limitKeys({ requests: 10_000, tokens: 10_000_000 });
  hub = await startDreamhub('all', {
    OPENAI_BASE_URL: provider.url,
    OPENAI_API_KEYS: 'one',
    EMBEDDING_MODEL: 'fake-embedding',
    EMBEDDING_DIMENSIONS: '64',
    CHAT_MODEL: 'fake-chat',
    QUEUE_MAX_DEPTH: '4',
  });
  person = await register(hub.url);
  socket = await person.socket();
  await person.learn(socket, 'High tide in the harbour is at 14:20.', 'tides.txt');
  await person.call('POST', '/search', { query: 'high tide', top_k: 1 });
  socket.send({ type: 'chat.send', id: 'ask', content: 'When is high tide?', client_message_id: crypto.randomUUID() });
  await socket.until(({ type }) => type === 'turn.completed');
  // Stands still at the provider, so that something waits, and something runs.
  provider.always('embeddings', { type: 'hang' });
  await person.upload('This one waits for its vectors.', 'waits.txt');
  await provider.waitFor(({ fault }) => fault === 'hang');
}, 120_000);
afterAll(async () => {
  socket?.close();
  provider?.always('embeddings', null);
  provider?.release();
  await hub?.stop();
  await provider?.stop();
}, 60_000);

async function read(): Promise<Sample[]> {
  const answer = await fetch(`${hub.url}/metrics`);
  expect(answer.status).toBe(200);
  const lines = (await answer.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', text = '']) => [key, text]);
    return { name, labels: Object.fromEntries(pairs), value: Number(value) };
  });
}

/** What the contract lists: a sample that is to be there, and what is known of its value. */
const EXPECTED: [name: string, labels: Record<string, string>, holds: (value: number) => boolean][] = [
  ['queue_length', { queue: 'ingest' }, (value) => value === 1],
  ['queue_length', { queue: 'chat' }, (value) => value === 0],
  ['queue_oldest_seconds', { queue: 'ingest' }, (value) => value >= 0],
  ['workers_busy', {}, (value) => value === 1],
  ['task_total', { kind: 'ingest', status: 'succeeded' }, (value) => value === 1],
  ['task_total', { kind: 'turn', status: 'completed' }, (value) => value === 1],
  ['task_seconds_count', { stage: 'extracting' }, (value) => value >= 1],
  ['task_seconds_count', { stage: 'chunking' }, (value) => value >= 1],
  ['task_seconds_count', { stage: 'embedding' }, (value) => value >= 1],
  ['task_seconds_count', { stage: 'publishing' }, (value) => value >= 1],
  ['task_seconds_sum', { stage: 'publishing' }, (value) => value > 0],
  ['embedding_seconds_count', {}, (value) => value >= 1],
  ['embedding_seconds_sum', {}, (value) => value > 0],
  ['search_latency_ms_count', { mode: 'hybrid' }, (value) => value >= 2],
  ['search_latency_ms_sum', { mode: 'hybrid' }, (value) => value > 0],
  ['openai_req_total', { key: '1', status: '200' }, (value) => value >= 3],
  ['openai_error_rate', {}, (value) => value === 0],
  ['openai_tokens_total', { kind: 'prompt', model: 'fake-chat' }, (value) => value > 0],
  ['openai_tokens_total', { kind: 'completion', model: 'fake-chat' }, (value) => value > 0],
  ['openai_tokens_total', { kind: 'embedding', model: 'fake-embedding' }, (value) => value > 0],
  ['quota_used_pct', { scope: 'key', name: 'chat/1' }, (value) => value > 0 && value < 100],
  ['quota_used_pct', { scope: 'tenant', name: 'other' }, (value) => value === 0],
  ['ws_connections', {}, (value) => value === 1],
  ['ws_frames_total', { direction: 'in' }, (value) => value >= 1],
  ['ws_frames_total', { direction: 'out' }, (value) => value >= 3],
  ['ws_outbox_bytes', {}, (value) => value >= 0],
  ['token_latency_ms_count', {}, (value) => value >= 1],
  ['dead_letters_total', {}, (value) => value === 0],
];

/** A sample with these labels, and no others but the service's own. */
const find = (samples: readonly Sample[], name: string, labels: Record<string, string>) =>
  samples.find(
    (sample) =>
      sample.name === `dreamhub_${name}` &&
      JSON.stringify({ ...labels, service: 'dreamhub' }, Object.keys({ ...labels, service: '' }).sort()) ===
        JSON.stringify(sample.labels, Object.keys(sample.labels).sort()),
  );

describe('after real work', () => {
  test.each(EXPECTED)(
    'dreamhub_%s %j tells it',
    async (name, labels, holds) => {
      // Some are read from the database, every few seconds.
      await eventually(
        `dreamhub_${name} ${JSON.stringify(labels)} is as it should be`,
        async () => {
          const sample = find(await read(), name, labels);
          return sample !== undefined && holds(sample.value);
        },
        40_000,
      );
    },
    45_000,
  );

  test('a tenant’s share of what it may have waiting is told under its id', async () => {
    await eventually(
      'a quarter is used',
      async () => {
        const labels = { scope: 'tenant', name: person.session.tenant.id };
        return find(await read(), 'quota_used_pct', labels)?.value === 25;
      },
      40_000,
    );
  }, 45_000);

  test('the process tells of itself', async () => {
    const names = new Set((await read()).map(({ name }) => name));
    expect(names.has('process_cpu_seconds_total')).toBe(true);
    expect(names.has('process_resident_memory_bytes')).toBe(true);
  });
});
