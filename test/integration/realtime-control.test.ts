import { afterAll, beforeAll, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { runAs, scopeIfAny } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import type { Cancelled, Ended } from '../../src/realtime/control.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createSubscriber } from '../../src/redis/subscriber.ts';
import { type RealtimeNode, someone, startNode, uuid } from '../support/realtime.ts';
import { startRedis, type TestRedis } from '../support/services.ts';

let redis: TestRedis;
let one: RealtimeNode;
let two: RealtimeNode;
beforeAll(async () => {
  redis = await startRedis();
  one = await startNode({ url: redis.url });
  two = await startNode({ url: redis.url });
});
afterAll(async () => {
  await one.stop();
  await two.stop();
  await redis.stop();
});

test('every node hears of cancellations and ends, with their tenant and outside every scope', async () => {
  const scope = someone();
  const heard: (Cancelled | Ended)[] = [];
  const scopes = new Set<unknown>();
  const all = Promise.withResolvers<void>();
  const listener = (order: Cancelled | Ended) => {
    heard.push(order);
    scopes.add(scopeIfAny());
    if (heard.length === 4) all.resolve();
  };
  const stops = runAs(scope, () => [two.control.onCancel(listener), two.control.onEnded(listener)]);
  const [turn, session] = [uuid(), uuid()];
  await runAs(scope, async () => {
    await one.control.publishCancel('turn', turn);
    await one.control.endSession(session);
    await one.control.endUser(scope.userId);
    await one.control.endTenant();
  });
  await all.promise;
  const { tenantId } = scope;
  expect(heard).toEqual([
    { kind: 'turn', tenantId, id: turn },
    { kind: 'session', tenantId, id: session },
    { kind: 'user', tenantId, id: scope.userId },
    { kind: 'tenant', tenantId },
  ]);
  expect([...scopes]).toEqual([undefined]);
  for (const stop of stops) stop();
});

test('a subscription whose connection went silent is replaced', async () => {
  // A proxy that swallows everything of its first connection once it is told to, without closing it.
  let swallow = false;
  let connections = 0;
  type Pipe = { own: number; upstream: Bun.Socket | undefined; early: Buffer[] };
  const proxy = Bun.listen<Pipe>({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      async open(socket) {
        connections += 1;
        socket.data = { own: connections, upstream: undefined, early: [] };
        const upstream = await Bun.connect({
          unix: redis.socketPath,
          socket: {
            data: (_upstream, data) => {
              if (!(swallow && socket.data.own === 1)) socket.write(data);
            },
          },
        });
        socket.data.upstream = upstream;
        for (const data of socket.data.early) upstream.write(data);
      },
      data(socket, data) {
        if (swallow && socket.data.own === 1) return;
        if (socket.data.upstream) socket.data.upstream.write(data);
        else socket.data.early.push(Buffer.from(data));
      },
      close: (socket) => void socket.data.upstream?.end(),
    },
  });
  const clients = createRedisClients({ url: `redis://127.0.0.1:${proxy.port}`, logger: silentLogger });
  const again = Promise.withResolvers<void>();
  const message = Promise.withResolvers<string>();
  const subscriber = createSubscriber({
    name: 'test',
    clients: { ...clients, subscriber: clients.subscriber },
    clock: systemClock,
    logger: silentLogger,
    message: message.resolve,
    reconnected: again.resolve,
    probeMs: 100,
  });
  // The first connections are the producer's and the one for operations.
  clients.producer.disconnect();
  clients.ops.disconnect();
  connections = 0;
  await subscriber.start();
  await subscriber.add('{p0}:test');
  swallow = true;
  await again.promise;
  await one.clients.ops.spublish('{p0}:test', 'still there');
  expect(await message.promise).toBe('still there');
  await subscriber.stop();
  await clients.close();
  proxy.stop(true);
});

test('starting and stopping in any order is fine', async () => {
  const node = await startNode({ url: redis.url });
  await Promise.all([node.hub.start(), node.control.start()]);
  await Promise.all([node.hub.stop(), node.hub.stop(), node.control.stop()]);
  expect(runAs(someone(), () => node.hub.subscribe('user', { event() {}, reset() {} }))).rejects.toThrow(
    'not listening',
  );
  await node.hub.start();
  (await runAs(someone(), () => node.hub.subscribe('user', { event() {}, reset() {} })))();
  await node.stop();
  await node.hub.stop();
});
