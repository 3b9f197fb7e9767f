/** What only a Redis Cluster can do to us: one server of three goes away and comes back, and slots move. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test';
import type { Delivery, Lane } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { runAs } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import type { Service } from '../../src/kernel/service.ts';
import { createFeeder } from '../../src/queue/feeder.ts';
import { createReconciler } from '../../src/queue/reconciler.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { assertSafeRedis, assertSamePartitions } from '../../src/redis/fitness.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { createLoginAttempts } from '../../src/redis/login-attempts.ts';
import { createSubscriber } from '../../src/redis/subscriber.ts';
import { useRedisCluster } from '../support/any-redis.ts';
import { startBacklog, type TestBacklog } from '../support/backlog.ts';
import { eventually } from '../support/eventually.ts';
import { jobFor, startQueue, type TestQueue, uuid } from '../support/queue.ts';
import { append, completed, delta, recorder, someone, startNode, turnTopic } from '../support/realtime.ts';
import type { RedisCluster } from '../support/redis-cluster.ts';

const PARTITIONS = 16;

const starting = useRedisCluster({ persist: true });
let cluster: RedisCluster;
let backlog: TestBacklog;
let queue: TestQueue;
let services: Service[] = [];

beforeAll(async () => {
  [cluster, backlog] = await Promise.all([starting, startBacklog()]);
}, 30_000);
afterAll(() => backlog.stop());
beforeEach(async () => {
  queue = await startQueue({ partitions: PARTITIONS });
});
afterEach(async () => {
  await Promise.all(services.map((service) => service.stop()));
  services = [];
  await queue.stop();
});

/** A tenant whose streams this server has, or another one. */
async function tenantAt(server: RedisCluster['servers'][number], is: boolean, lane: Lane = 'ingest'): Promise<string> {
  for (;;) {
    const tenant = uuid();
    if (((await cluster.serverOf(queue.keys.stream(lane, tenant))) === server) === is) return tenant;
  }
}

const some = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('there is none');
  return value;
};

test('every server is looked at: one that may evict is refused, one that is away makes Redis unfit', async () => {
  const { clients } = queue;
  const server = some(cluster.servers[2]);
  await assertSafeRedis(clients, silentLogger);
  await clients.check(2_000);
  await server.admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
  await expect(assertSafeRedis(clients, silentLogger)).rejects.toThrow('allkeys-lru');
  await server.admin.config('SET', 'maxmemory-policy', 'noeviction');
  await server.kill();
  await expect(clients.check(2_000)).rejects.toThrow('does not answer');
  await cluster.restart(server);
  await eventually('Redis answers', () =>
    clients.check(2_000).then(
      () => true,
      () => false,
    ),
  );
});

test('all processes spread tenants over the same number of partitions, or do not start', async () => {
  const { clients, keys } = queue;
  await assertSamePartitions(clients, keys);
  await assertSamePartitions(clients, keys);
  await expect(assertSamePartitions(clients, createKeys({ partitions: 4 }))).rejects.toThrow('PARTITIONS=16');
});

test('counts login attempts over all of its servers', async () => {
  const attempts = createLoginAttempts({ client: queue.clients.ops, keys: queue.keys });
  const emails = Array.from({ length: 12 }, () => `${uuid()}@example.com`);
  for (const email of emails) await attempts.count(email, '::1');
  for (const email of emails) await attempts.forget(email, '::1');
  expect(await queue.allKeys()).toEqual([]);
});

test('while a server is away, the tenants of the others go on; its own wait, and then go on', async () => {
  const server = some(cluster.servers[1]);
  const [away, here] = [await tenantAt(server, true), await tenantAt(server, false)];
  const waiting = jobFor(away);
  const worker = await queue.worker('a', { concurrency: 2 });
  await queue.producer.push('ingest', [jobFor(here)]);
  await worker.delivered(1);
  worker.finishAll();
  await server.kill();
  await expect(queue.producer.push('ingest', [jobFor(away)])).rejects.toThrow();
  for (let n = 2; n <= 20; n++) {
    await queue.producer.push('ingest', [jobFor(here)]);
    await worker.delivered(n);
  }
  expect(worker.tenants()).not.toContain(away);
  await cluster.restart(server);
  await queue.producer.push('ingest', [waiting]);
  await worker.until(() => worker.jobIds().includes(waiting.id));
  await eventually('all are acknowledged', async () => (await queue.allKeys()).length === 0);
}, 30_000);

test('what a killed server had been given is there again with it, delivered or not', async () => {
  const server = some(cluster.servers[0]);
  const tenant = await tenantAt(server, true);
  const jobs = [jobFor(tenant), jobFor(tenant), jobFor(tenant)];
  await queue.producer.push('ingest', jobs);
  const worker = await queue.worker('a', { concurrency: 1, visibilityMs: 1_000 });
  await worker.delivered(1);
  await server.kill();
  await cluster.restart(server);
  worker.finishAll();
  await worker.until(() => jobs.every(({ id }) => worker.jobIds().includes(id)));
  await eventually('all are acknowledged', async () => (await queue.allKeys()).length === 0);
}, 30_000);

test('killing a server in the middle, its files lost too: every task ends, once', async () => {
  const { producer, clients, keys, logger } = queue;
  const tenants = await Promise.all(Array.from({ length: 9 }, () => backlog.tenant()));
  for (const tenant of tenants) await backlog.manyTasks(tenant, 30);
  const all = tenants.length * 30;
  const settled: string[] = [];
  const base = { database: backlog.database, producer, clock: systemClock, logger };
  const feeder = createFeeder({ ...base, windows: { ingest: 8, chat: 1 }, sweepMs: 50 });
  services.push(feeder.service, createReconciler({ ...base, clients, keys, everyMs: 50, graceMs: 500 }));
  for (const service of services) await service.start();
  const options = {
    visibilityMs: 1_000,
    onAcknowledged: (tenantId: string, undelivered: number) => feeder.finished('ingest', tenantId, undelivered),
    async handle({ job }: Delivery) {
      const rows = await backlog.sql`
        update tasks set status = 'succeeded', finished_at = now() where id = ${job.id} and status = 'queued' returning 1`;
      if (rows.length > 0) settled.push(job.id);
    },
  };
  await queue.worker('a', options);
  await queue.worker('b', options);
  for (const [blow, server] of cluster.servers.entries()) {
    await eventually('some have ended', () => settled.length >= (blow + 1) * 50);
    await server.kill();
    if (blow === 1) await server.loseData();
    await cluster.restart(server);
  }
  await eventually('all have ended', () => settled.length === all, 60_000);
  expect(new Set(settled).size).toBe(all);
  await eventually('nothing is left in Redis', async () => (await queue.allKeys()).length === 0);
}, 120_000);

test('a reader misses nothing of a turn whose server was killed in the middle of it', async () => {
  const server = some(cluster.servers[1]);
  const [tenantId, topic] = [await tenantAt(server, true), turnTopic()];
  const scope = someone(tenantId);
  const node = { url: cluster.url, partitions: PARTITIONS };
  const [one, two] = [await startNode(node), await startNode({ ...node, publisher: { giveUpMs: 20_000 } })];
  const reader = recorder();
  await runAs(scope, () => one.hub.subscribe(topic, reader.reader, { after: 0 }));
  const cancelled = Promise.withResolvers<string>();
  one.control.onCancel(({ id }) => cancelled.resolve(id));
  for (let i = 1; i <= 10; i++) await append(two.publisher, scope, topic, 1, delta(`${i};`));
  await reader.until(() => reader.events.length === 10);
  await server.kill();
  const during = append(two.publisher, scope, topic, 1, delta('during;'));
  await cluster.restart(server);
  await during;
  for (let i = 11; i <= 20; i++) await append(two.publisher, scope, topic, 1, delta(`${i};`));
  await append(two.publisher, scope, topic, 1, completed('x'));
  await reader.untilType('turn.completed');
  expect(reader.seqs()).toEqual(Array.from({ length: 22 }, (_, i) => i + 1));
  await runAs(scope, () => two.control.publishCancel('turn', 'order'));
  expect(await cancelled.promise).toBe('order');
  await one.stop();
  await two.stop();
}, 60_000);

test('a channel whose slot moves to another server is heard there', async () => {
  const channel = '{moving}:channel';
  const heard: string[] = [];
  let again = 0;
  const subscriber = createSubscriber({
    name: 'test',
    clients: queue.clients,
    clock: systemClock,
    logger: silentLogger,
    message: (text) => heard.push(text),
    reconnected: () => again++,
    // Following a move must not need it.
    probeMs: 3_600_000,
  });
  await subscriber.start();
  await subscriber.add(channel);
  await queue.clients.producer.spublish(channel, 'before');
  await eventually('it is heard', () => heard.length === 1);
  await cluster.moveSlotOf(channel);
  await eventually('it is listened to again', () => again === 1);
  await queue.clients.producer.spublish(channel, 'after');
  await eventually('it is heard', () => heard.length === 2);
  expect(heard).toEqual(['before', 'after']);
  await subscriber.stop();
}, 30_000);

test('clients of a cluster that is not there fail instead of waiting', async () => {
  const clients = createRedisClients({ url: 'redis+cluster://127.0.0.1:1,127.0.0.1:2', logger: silentLogger });
  await expect(clients.check(500)).rejects.toThrow('does not answer');
  await expect(clients.producer.set('a', 'b')).rejects.toThrow();
  await clients.close();
});
