/** Many sockets that read one topic are told together; nobody may notice but by the speed. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Principal } from '../../src/contracts/index.ts';
import { eventually } from '../support/eventually.ts';
import { append, completed, delta, started, turnTopic } from '../support/realtime.ts';
import { startRedis, type TestRedis } from '../support/services.ts';
import { openRawSocket, principalOf, type SocketNode, startSocketNode, type TestSocket } from '../support/sockets.ts';

let redis: TestRedis;
let node: SocketNode;
beforeAll(async () => {
  redis = await startRedis();
  node = await startSocketNode({
    url: redis.url,
    publisher: { maxLen: 100_000 },
    config: { stallMs: 600_000, framesPerSecond: 10_000, frameBurst: 10_000 },
  });
});
afterAll(async () => {
  await node.stop();
  await redis.stop();
});

const scopeOf = ({ tenantId, userId }: Principal) => ({ tenantId, userId, traceId: '0' });
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
const seqs = (socket: Pick<TestSocket, 'frames'>) =>
  socket.frames.filter((frame) => 'ts' in frame).map((frame) => frame['seq']);

async function room(readers: number) {
  const principal = principalOf();
  const topic = turnTopic();
  const tell = (...events: Parameters<typeof append>[4][]) =>
    append(node.publisher, scopeOf(principal), topic, 1, ...events);
  await tell(started(topic, 1));
  const sockets = await Promise.all(
    numbers(readers).map((n) =>
      node.connect(principal, { protocol: n % 2 === 0 ? 'dreamhub.v1.msgpack' : 'dreamhub.v1.json' }),
    ),
  );
  for (const socket of sockets)
    expect(await socket.request({ type: 'subscribe', topic })).toMatchObject({ type: 'ack' });
  /** Whatever came before this is seated or not, whatever comes after is the same for both. */
  const all = (holds: (socket: TestSocket) => boolean) =>
    Promise.all(sockets.map((socket) => socket.until(() => holds(socket))));
  await all((socket) => seqs(socket).length === 1);
  return { principal, topic, tell, sockets, all };
}

describe('a room with many readers', () => {
  test('tells each of them everything in order, in both protocols, from being few to being many and back', async () => {
    const { principal, topic, tell, sockets, all } = await room(24);
    for (const i of numbers(40)) await tell(delta(`${i};`));
    await all((socket) => seqs(socket).length === 41);
    const late = await node.connect(principal);
    await late.request({ type: 'subscribe', topic });
    for (const i of numbers(40)) await tell(delta(`${i};`), delta(`${i}.`));
    for (const socket of sockets.slice(2)) await socket.request({ type: 'unsubscribe', topic });
    for (const i of numbers(10)) await tell(delta(`${i}!`));
    await tell(completed('done'));
    const total = 1 + 40 + 80 + 10 + 1;
    for (const socket of [late, ...sockets.slice(0, 2)]) {
      await socket.find(({ type }) => type === 'turn.completed');
      expect(seqs(socket)).toEqual(numbers(total));
    }
    for (const socket of sockets.slice(2)) expect(seqs(socket)).toEqual(numbers(121));
    for (const socket of [late, ...sockets]) await socket.close();
  });

  test('takes a burst that is larger than any outbox without cutting anybody', async () => {
    const { tell, sockets } = await room(12);
    const large = 'x'.repeat(20_000);
    for (const _ of numbers(5)) await tell(...numbers(200).map(() => delta(large)));
    await tell(completed('done'));
    for (const socket of sockets) {
      await socket.find(({ type }) => type === 'turn.completed');
      expect(seqs(socket)).toEqual(numbers(1_002));
    }
    for (const socket of sockets) await socket.close();
  }, 30_000);

  test('lets one who reads nothing go, feeds it from the log when it reads again, and holds nobody up', async () => {
    const { principal, topic, tell, sockets, all } = await room(12);
    const slow = await openRawSocket(node.base, { authorization: `Bearer ${node.tokenFor(principal)}` });
    slow.send({ type: 'subscribe', topic });
    await slow.until(() => slow.frames.length === 3);
    await tell(delta('all are live'));
    await tell(delta('and told together'));
    await slow.until(() => slow.frames.length === 5);
    slow.pause();
    const piece = 'x'.repeat(10_000);
    for (const i of numbers(1_000)) {
      await tell(delta(piece));
      if (i % 100 === 0) await all((socket) => seqs(socket).length === 3 + i);
    }
    // What waits for it is bounded, though nearly 10 MB were told.
    const waiting = async () => (await node.metrics.wsOutboxBytes.get()).values[0]?.value ?? 0;
    await eventually('it is seen to be behind', async () => (await waiting()) > 0);
    expect(await waiting()).toBeLessThan(1_048_576);
    slow.resume();
    await tell(completed('done'));
    await slow.until(() => slow.frames.at(-1)?.type === 'turn.completed');
    expect(seqs(slow)).toEqual(numbers(1_004));
    slow.end();
    for (const socket of sockets) {
      await socket.find(({ type }) => type === 'turn.completed');
      expect(seqs(socket)).toEqual(numbers(1_004));
      await socket.close();
    }
  }, 30_000);

  test(
    'loses and repeats nothing, whoever comes and goes and whatever Redis forgets to say',
    async () => {
      const step = fc.oneof(
        {
          weight: 6,
          arbitrary: fc.record({ do: fc.constant('tell' as const), times: fc.integer({ min: 1, max: 30 }) }),
        },
        { weight: 6, arbitrary: fc.record({ do: fc.constant('flip' as const), who: fc.nat(15) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const) }) },
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
          const { topic, tell, sockets } = await room(16);
          const away = new Set<TestSocket>();
          let told = 1;
          for (const one of steps) {
            const socket = one.do === 'flip' ? sockets[one.who] : undefined;
            if (one.do === 'tell') {
              for (const _ of numbers(one.times)) await tell(delta(`${++told}`));
            } else if (one.do === 'cut') await node.clients.ops.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
            else if (socket && away.delete(socket)) await resume(socket, topic);
            else if (socket) {
              away.add(socket);
              await socket.request({ type: 'unsubscribe', topic });
            }
          }
          for (const socket of away) await resume(socket, topic);
          await tell(completed('done'));
          for (const socket of sockets) {
            await socket.find(({ type }) => type === 'turn.completed');
            expect(seqs(socket)).toEqual(numbers(told + 1));
            await socket.close();
          }
        }),
        { numRuns: Number(Bun.env['RUNS'] ?? (Bun.env['SOAK'] ? 500 : 25)) },
      );
    },
    Bun.env['SOAK'] ? 3_600_000 : 120_000,
  );
});

async function resume(socket: TestSocket, topic: string): Promise<void> {
  const after = Number(seqs(socket).at(-1));
  const answer = await socket.request({ type: 'subscribe', topic, after });
  // Redis is being cut: a client tries again.
  if (answer.type === 'error') await resume(socket, topic);
}
