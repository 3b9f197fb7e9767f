import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { EventOf } from '../../src/contracts/index.ts';
import { runAs } from '../../src/kernel/context.ts';
import { logEvent } from '../../src/realtime/batch.ts';
import { parsePosition } from '../../src/realtime/log-position.ts';
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
import { startTcpProxy } from '../support/tcp-proxy.ts';

let redis: TestRedis;
let node: RealtimeNode;
beforeAll(async () => {
  redis = await startRedis();
  node = await startNode({ url: redis.url });
});
afterAll(async () => {
  await node.stop();
  await redis.stop();
});

/** The kept log, as [seq, type, data]. */
async function kept(tenantId: string, topic: string) {
  const entries = await node.clients.ops.xrange(node.keys.log(tenantId, topic), '-', '+');
  return entries.map(([id, [, entry = '']]) => {
    const { type, data } = logEvent(topic, '', 0, entry);
    return [id, type, JSON.parse(data)];
  });
}

const meta = (tenantId: string, topic: string) => node.clients.ops.hgetall(node.keys.logMeta(tenantId, topic));

const epochOf = async (tenantId: string, topic: string) =>
  parsePosition((await meta(tenantId, topic))['state'] ?? '').epoch;

describe('appending', () => {
  test('numbers the events of each topic from 1', async () => {
    const scope = someone();
    const [one, two] = [turnTopic(), turnTopic()];
    expect(await append(node.publisher, scope, one, 1, started(one, 1), delta('a'), delta('b'))).toEqual([
      true,
      true,
      true,
    ]);
    await append(node.publisher, scope, two, 1, started(two, 1));
    await append(node.publisher, scope, one, 1, delta('c'));
    expect((await kept(scope.tenantId, one)).map(([id]) => id)).toEqual(['1-0', '2-0', '3-0', '4-0']);
    expect((await kept(scope.tenantId, two)).map(([id]) => id)).toEqual(['1-0']);
  });

  test('keeps the order of calls that do not wait for each other, in few round trips', async () => {
    const scope = someone();
    const topics = Array.from({ length: 20 }, turnTopic);
    const before = await scriptRuns();
    await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        topics.map((topic) => append(node.publisher, scope, topic, 1, delta(`${i}`))),
      ).flat(),
    );
    expect((await scriptRuns()) - before).toBeLessThan(20);
    for (const topic of topics) {
      const texts = (await kept(scope.tenantId, topic)).map(([, , data]) => data.text);
      expect(texts).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
    }
  });

  test('to one partition waits for no answer about another', async () => {
    const slow = await startTcpProxy({ path: redis.socketPath });
    const far = await startNode({ url: `redis://127.0.0.1:${slow.port}` });
    try {
      const first = someone();
      let second = someone();
      while (far.keys.partitionOf(second.tenantId) === far.keys.partitionOf(first.tenantId)) second = someone();
      const [one, two] = [turnTopic(), turnTopic()];
      // Both are known to Redis' scripts, and the connection is there.
      await append(far.publisher, first, one, 1, started(one, 1));
      await append(far.publisher, second, two, 1, started(two, 1));
      await slow.set({ type: 'latency', ms: 150 });
      const answered = append(far.publisher, first, one, 1, delta('a'));
      // The first is on its way.
      for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate);
      const other = append(far.publisher, second, two, 1, delta('b'));
      await answered;
      expect((await kept(second.tenantId, two)).map(([id]) => id)).toEqual(['1-0', '2-0']);
      await other;
    } finally {
      await slow.set({ type: 'pass' });
      await far.stop();
      await slow.stop();
    }
  });

  test('lets a newer attempt take over and the older one append nothing more', async () => {
    const scope = someone();
    const topic = turnTopic();
    await append(node.publisher, scope, topic, 1, started(topic, 1), delta('old'));
    expect(await append(node.publisher, scope, topic, 2, started(topic, 2))).toEqual([true]);
    expect(await append(node.publisher, scope, topic, 1, delta('late'), completed('late'))).toEqual([false, false]);
    expect(await append(node.publisher, scope, topic, 2, delta('new'))).toEqual([true]);
    expect((await kept(scope.tenantId, topic)).map(([, type]) => type)).toEqual([
      'turn.started',
      'turn.delta',
      'turn.started',
      'turn.delta',
    ]);
  });

  test('takes nothing of an attempt after its final event, until it is queued again', async () => {
    const scope = someone();
    const topic = turnTopic();
    expect(await append(node.publisher, scope, topic, 1, completed('x'), delta('late'))).toEqual([true, false]);
    expect(await append(node.publisher, scope, topic, 1, delta('later'))).toEqual([false]);
    const queued = {
      type: 'turn.queued',
      data: { turn_id: uuid(), conversation_id: uuid(), message_id: uuid() },
    } as const;
    expect(await append(node.publisher, scope, topic, 1, queued)).toEqual([true]);
    expect(await append(node.publisher, scope, topic, 2, started(topic, 2))).toEqual([true]);
  });

  test('keeps a finished log for a shorter time than a running one', async () => {
    const scope = someone();
    const topic = turnTopic();
    const brief = await startNode({ url: redis.url, publisher: { ttlSeconds: 5_000, finalTtlSeconds: 60 } });
    const ttl = () => node.clients.ops.ttl(node.keys.log(scope.tenantId, topic));
    await append(brief.publisher, scope, topic, 1, delta('a'));
    expect(await ttl()).toBeGreaterThan(4_000);
    await append(brief.publisher, scope, topic, 1, completed('a'));
    expect(await ttl()).toBeLessThanOrEqual(60);
    expect(await node.clients.ops.ttl(node.keys.logMeta(scope.tenantId, topic))).toBeLessThanOrEqual(60);
    await brief.stop();
  });

  test('remembers the owner, and private stays private', async () => {
    const owner = someone();
    const admin = someone(owner.tenantId);
    const topic = `task:${uuid()}` as const;
    const event = {
      type: 'task.progress',
      data: {
        task_id: uuid(),
        document_id: null,
        status: 'running',
        stage: null,
        progress: 0,
        chunks_done: 0,
        chunks_total: null,
        attempt: 1,
      },
    } as const;
    await runAs(owner, () => node.publisher.append([{ topic, attempt: 1, event, audience: 'user' }]));
    await runAs(admin, () => node.publisher.append([{ topic, attempt: 1, event }]));
    expect(await meta(owner.tenantId, topic)).toMatchObject({ user: owner.userId, audience: 'user' });
  });

  test('begins a new epoch when the log is gone, with what the writer restores', async () => {
    const scope = someone();
    const topic = turnTopic();
    const write = (text: string, told: string) =>
      runAs(scope, () =>
        node.publisher.append([
          { topic, attempt: 1, event: delta(text), restore: () => [started(topic, 1), ...(told ? [delta(told)] : [])] },
        ]),
      );
    expect(await write('a', '')).toEqual([true]);
    await write('b', 'a');
    const before = await epochOf(scope.tenantId, topic);
    await node.clients.ops.del(node.keys.log(scope.tenantId, topic), node.keys.logMeta(scope.tenantId, topic));
    expect(await write('c', 'ab')).toEqual([true]);
    expect(await epochOf(scope.tenantId, topic)).not.toBe(before);
    expect((await kept(scope.tenantId, topic)).map(([, type, data]) => data.text ?? type)).toEqual([
      'turn.started',
      'ab',
      'c',
    ]);
  });

  test('folds what it trims, so that the state stays whole', async () => {
    const scope = someone();
    const topic = turnTopic();
    const small = await startNode({ url: redis.url, publisher: { maxLen: 20 } });
    const sources: EventOf = { type: 'turn.sources', data: { sources: [] } };
    await append(small.publisher, scope, topic, 1, started(topic, 1), sources);
    for (let i = 0; i < 100; i++) await append(small.publisher, scope, topic, 1, delta(`"${i}"\n`));
    const { base_text: base } = await meta(scope.tenantId, topic);
    const rest = (await kept(scope.tenantId, topic)).map(([, , data]) => data.text).join('');
    expect(JSON.parse(`"${base}"`) + rest).toBe(Array.from({ length: 100 }, (_, i) => `"${i}"\n`).join(''));
    expect((await kept(scope.tenantId, topic)).length).toBeLessThanOrEqual(20);
    await small.stop();
  });

  test('refuses a topic that is no log, and needs a scope', async () => {
    const bad = 'turn:nonsense' as const;
    expect(append(node.publisher, someone(), bad, 1, delta('x'))).rejects.toThrow('No log');
    expect(node.publisher.append([{ topic: turnTopic(), attempt: 1, event: delta('x') }])).rejects.toThrow(
      'tenant scope',
    );
  });
});

/** How many scripts this Redis has run. */
async function scriptRuns(): Promise<number> {
  const stats = await node.clients.ops.info('commandstats');
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}
