import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test';
import { streamTopicAsSse } from '../../src/http/routes/turn-events.ts';
import { runAs, type Scope } from '../../src/kernel/context.ts';
import {
  append,
  completed,
  delta,
  type RealtimeNode,
  someone,
  started,
  startNode,
  turnTopic,
  uuid,
} from '../support/realtime.ts';
import { startRedis, type TestRedis } from '../support/services.ts';

let redis: TestRedis;
let node: RealtimeNode;
let server: Bun.Server<undefined>;
let scope: Scope;
const rows = new Map<string, Record<string, unknown>>();
beforeAll(async () => {
  redis = await startRedis();
  const source = {
    async snapshot(topic: string) {
      const snapshot = rows.get(topic);
      return snapshot ? { snapshot } : null;
    },
  };
  node = await startNode({ url: redis.url, source, publisher: { maxLen: 100_000 } });
  server = Bun.serve({
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      const url = new URL(request.url);
      const options = {
        ...node,
        topic: url.pathname.slice(1),
        signal: request.signal,
        after: Number(url.searchParams.get('after') ?? 0),
        epoch: url.searchParams.get('epoch') ?? undefined,
        heartbeatMs: 50,
      };
      try {
        return await runAs(scope, () => streamTopicAsSse(options));
      } catch (error) {
        return new Response(String(error), { status: 404 });
      }
    },
  });
});
afterEach(() => {
  scope = someone();
});
afterAll(async () => {
  await server.stop(true);
  await node.stop();
  await redis.stop();
});
scope = someone();

interface Told {
  event: string;
  id: string;
  data: { type: string; seq: number; data: Record<string, unknown>; snapshot: Record<string, unknown> };
}

function parse(text: string): Told[] {
  const blocks = text.split('\n\n').filter((block) => block !== '' && !block.startsWith(':'));
  return blocks.map((block) => {
    const fields = Object.fromEntries(
      block.split('\n').map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
    );
    return { event: fields['event'] ?? '', id: fields['id'] ?? '', data: JSON.parse(fields['data'] ?? 'null') };
  });
}

const get = (path: string) => fetch(`${server.url}${path}`);

test('events come as they are told, and the response ends with the last', async () => {
  const topic = turnTopic();
  await append(node.publisher, scope, topic, 1, started(topic, 1));
  const response = await get(topic);
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  await append(node.publisher, scope, topic, 1, delta('你好\n'), completed('你好\n'));
  const told = parse(await response.text());
  expect(told.map(({ event }) => event)).toEqual(['turn.started', 'turn.delta', 'turn.completed']);
  expect(told[1]?.data.data).toEqual({ text: '你好\n' });

  const [, second] = told;
  const [epoch, seq] = (second?.id ?? '').split(':');
  const rest = parse(await (await get(`${topic}?after=${seq}&epoch=${epoch}`)).text());
  expect(rest.map(({ event, data }) => [event, data.seq])).toEqual([['turn.completed', 3]]);
});

test('a silent stream is kept alive', async () => {
  const topic = turnTopic();
  await append(node.publisher, scope, topic, 1, started(topic, 1));
  const reader = (await get(topic)).body?.getReader();
  let text = '';
  while (!text.includes(': still here')) text += new TextDecoder().decode((await reader?.read())?.value);
  await reader?.cancel();
});

test('a finished turn without a log is one reset', async () => {
  const topic = turnTopic();
  rows.set(topic, { status: 'completed', text: 'kept' });
  const told = parse(await (await get(topic)).text());
  expect(told).toMatchObject([{ event: 'reset', data: { type: 'reset', seq: 0, snapshot: { text: 'kept' } } }]);
});

test('what is not the caller’s is refused before anything is sent', async () => {
  const topic = turnTopic();
  await append(node.publisher, someone(), topic, 1, started(topic, 1));
  expect((await get(topic)).status).toBe(404);
  expect((await get(`turn:${uuid()}`)).status).toBe(404);
});

test('a client that does not read is not fed, and misses nothing', async () => {
  const topic = turnTopic();
  await append(node.publisher, scope, topic, 1, started(topic, 1));
  const controller = new AbortController();
  let asked = 0;
  const hub: typeof node.hub = {
    ...node.hub,
    subscribe: (name, reader, options) =>
      node.hub.subscribe(
        name,
        {
          event: (event) => {
            asked += event.json.length;
            reader.event(event);
          },
          reset: (reset) => reader.reset(reset),
          ready: () => reader.ready?.() ?? null,
        },
        options,
      ),
  };
  const response = await runAs(scope, () => streamTopicAsSse({ ...node, hub, topic, signal: controller.signal }));
  const piece = 'x'.repeat(10_000);
  for (let i = 0; i < 10; i++) await append(node.publisher, scope, topic, 1, ...Array(100).fill(delta(piece)));
  await append(node.publisher, scope, topic, 1, completed('x'));
  expect(asked).toBeLessThan(200_000);
  const told = parse(await response.text());
  expect(told.map(({ data }) => data.seq)).toEqual(Array.from({ length: 1_002 }, (_, i) => i + 1));
});

test('a node that goes away ends its streams, which continue elsewhere', async () => {
  const topic = turnTopic();
  await append(node.publisher, scope, topic, 1, started(topic, 1));
  const leaving = await startNode({ url: redis.url });
  const { signal } = new AbortController();
  const response = await runAs(scope, () => streamTopicAsSse({ ...leaving, topic, signal }));
  const body = response.body?.getReader();
  const first = new TextDecoder().decode((await body?.read())?.value);
  await leaving.stop();
  expect(await body?.read()).toMatchObject({ done: true });
  const [epoch, seq] = (parse(first)[0]?.id ?? '').split(':');
  const rest = get(`${topic}?after=${seq}&epoch=${epoch}`);
  await append(node.publisher, scope, topic, 1, completed(''));
  expect(parse(await (await rest).text()).map(({ data }) => data.seq)).toEqual([2]);
});
