import { afterAll, beforeAll, expect, test } from 'bun:test';
import { runAs } from '../../src/kernel/context.ts';
import { eventually } from '../support/eventually.ts';
import { completed, delta, started, uuid } from '../support/realtime.ts';
import { startRedis, type TestRedis } from '../support/services.ts';
import { openRawSocket, principalOf, type SocketNode, startSocketNode } from '../support/sockets.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let redis: TestRedis;
let node: SocketNode;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  redis = await startRedis();
  // Nobody is closed for taking nothing: what is kept for them must be bounded all the same.
  const config = { maxConnectionsPerUser: 2_000, stallMs: 600_000 };
  folder = await temporaryFolder();
  // Over TCP the kernel itself would take 4 MB for each before anything waits here.
  node = await startSocketNode({ url: redis.url, publisher: { maxLen: 100_000 }, config, unix: `${folder.path}/ws` });
});
afterAll(async () => {
  await node.stop();
  await redis.stop();
  await folder.remove();
});

const STUCK = 1_000;
const PIECE = 'x'.repeat(20_000);
const MB = 2 ** 20;

test('a thousand clients that never read cost what fits into their outboxes, however much is told', async () => {
  const principal = principalOf();
  const scope = { tenantId: principal.tenantId, userId: principal.userId, traceId: '0' };
  const topic = `task:${uuid()}` as const;
  const tell = (...events: Parameters<typeof delta>[0][]) =>
    runAs(scope, () => node.publisher.append(events.map((text) => ({ topic, attempt: 1, event: delta(text) }))));
  await runAs(scope, () => node.publisher.append([{ topic, attempt: 1, event: started(topic, 1) }]));

  const headers = { authorization: `Bearer ${node.tokenFor(principal)}` };
  const open = () => openRawSocket('ws://localhost/ws', headers, `${folder.path}/ws`);
  const stuck: Awaited<ReturnType<typeof open>>[] = [];
  // More at once than the listener's queue takes would be refused.
  while (stuck.length < STUCK) stuck.push(...(await Promise.all(Array.from({ length: 100 }, open))));
  for (const socket of stuck) socket.send({ type: 'subscribe', topic });
  await Promise.all(stuck.map((socket) => socket.until(() => socket.frames.length === 3)));
  for (const socket of stuck) socket.pause();
  const reading = await open();
  reading.send({ type: 'subscribe', topic });

  const waiting = async () => (await node.metrics.wsOutboxBytes.get()).values[0]?.value ?? 0;
  const resident = () => {
    Bun.gc(true);
    return process.memoryUsage().rss;
  };
  let told = 1;
  const tellMore = async (pieces: number) => {
    for (let i = 0; i < pieces; i += 10) {
      await tell(...Array<string>(10).fill(PIECE));
      told += 10;
      await reading.until(() => reading.frames.at(-1)?.['seq'] === told);
    }
  };
  // The kernel's own buffers come first; then all wait with a full outbox.
  await eventually(
    'all have fallen behind',
    async () => {
      await tellMore(20);
      return (await waiting()) > STUCK * 65_536;
    },
    60_000,
  );
  const before = resident();

  // Another 4 MB for each.
  await tellMore(200);
  expect(await waiting()).toBeLessThan(STUCK * 2 * 65_536);
  expect(resident() - before).toBeLessThan(64 * MB);
  await runAs(scope, () => node.publisher.append([{ topic, attempt: 1, event: completed('done') }]));
  await reading.until(() => reading.frames.at(-1)?.type === 'turn.completed');
  expect(node.ws.count()).toBe(STUCK + 1);
  for (const socket of stuck) socket.end();
  reading.end();
}, 120_000);
