import { afterAll, beforeAll, expect, test } from 'bun:test';
import { append, completed, delta, started, turnTopic } from '../support/realtime.ts';
import { startRedis, type TestRedis } from '../support/services.ts';
import { openRawSocket, principalOf, type SocketNode, startSocketNode } from '../support/sockets.ts';

let redis: TestRedis;
let node: SocketNode;
let patient: SocketNode;
beforeAll(async () => {
  redis = await startRedis();
  const options = { url: redis.url, publisher: { maxLen: 100_000 } };
  node = await startSocketNode({ ...options, config: { stallMs: 1_000 } });
  patient = await startSocketNode({ ...options, config: { stallMs: 600_000 } });
});
afterAll(async () => {
  await node.stop();
  await patient.stop();
  await redis.stop();
});

const PIECE = 'x'.repeat(20_000);
const PIECES = 1_000;

test('a reader that takes nothing is closed with 4408, resumes, and nobody else notices', async () => {
  const principal = principalOf();
  const scope = { tenantId: principal.tenantId, userId: principal.userId, traceId: '0' };
  const topic = turnTopic();
  const headers = () => ({ authorization: `Bearer ${node.tokenFor(principal)}` });
  await append(node.publisher, scope, topic, 1, started(topic, 1));

  const stuck = await openRawSocket(node.base, headers());
  const quick = await node.connect(principal);
  stuck.send({ type: 'subscribe', topic });
  quick.send({ type: 'subscribe', topic });
  await stuck.until(() => stuck.frames.length === 3);
  stuck.pause();

  for (let i = 0; i < PIECES; i += 50) await append(node.publisher, scope, topic, 1, ...Array(50).fill(delta(PIECE)));
  await append(node.publisher, scope, topic, 1, completed('done'));
  await quick.find(({ type }) => type === 'turn.completed');
  expect(quick.events(topic).map((frame) => frame['seq'])).toEqual(Array.from({ length: PIECES + 2 }, (_, i) => i + 1));

  // Its close waits behind what it has not read, so in the end it is cut.
  await node.untilCount(1);
  stuck.resume();
  expect([4408, 1006]).toContain(await stuck.closed);
  const seen = stuck.frames.filter((frame) => 'ts' in frame);
  expect(seen.length).toBeLessThan(PIECES);

  const again = await openRawSocket(node.base, headers());
  const last = seen.at(-1);
  again.send({ type: 'subscribe', topic, after: last?.['seq'], epoch: last?.['epoch'] });
  await again.until(() => again.frames.at(-1)?.type === 'turn.completed');
  const all = [...seen, ...again.frames.filter((frame) => 'ts' in frame)];
  expect(all.map((frame) => frame['seq'])).toEqual(Array.from({ length: PIECES + 2 }, (_, i) => i + 1));
  again.end();
  await quick.close();
}, 30_000);

test('a reader that pauses is fed from the log when it reads again', async () => {
  const principal = principalOf();
  const scope = { tenantId: principal.tenantId, userId: principal.userId, traceId: '0' };
  const topic = turnTopic();
  await append(patient.publisher, scope, topic, 1, started(topic, 1));
  const slow = await openRawSocket(patient.base, { authorization: `Bearer ${patient.tokenFor(principal)}` });
  slow.send({ type: 'subscribe', topic });
  await slow.until(() => slow.frames.length === 3);
  slow.pause();
  for (let i = 0; i < PIECES; i += 100)
    await append(patient.publisher, scope, topic, 1, ...Array(100).fill(delta(PIECE)));
  await append(patient.publisher, scope, topic, 1, completed('done'));
  expect((await patient.metrics.wsOutboxBytes.get()).values[0]?.value).toBeLessThan(1_048_576);
  slow.resume();
  await slow.until(() => slow.frames.at(-1)?.type === 'turn.completed');
  const seqs = slow.frames.filter((frame) => 'ts' in frame).map((frame) => frame['seq']);
  expect(seqs).toEqual(Array.from({ length: PIECES + 2 }, (_, i) => i + 1));
  slow.end();
}, 30_000);
