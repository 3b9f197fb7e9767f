import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import Redis from 'ioredis';
import type { EventOf } from '../../src/contracts/index.ts';
import { runAs, scopeIfAny } from '../../src/kernel/context.ts';
import { createDeltaWriter } from '../../src/realtime/delta-writer.ts';
import type { SnapshotSource } from '../../src/realtime/topic-log.ts';
import { type AnyRedis, startAnyRedis } from '../support/any-redis.ts';
import {
  append,
  completed,
  delta,
  type RealtimeNode,
  recorder,
  someone,
  started,
  startNode,
  turnTopic,
  uuid,
} from '../support/realtime.ts';
import { rememberAll } from '../support/redis-rollback.ts';
import { startRedis } from '../support/services.ts';

let redis: AnyRedis;
let one: RealtimeNode;
let two: RealtimeNode;
/** What the database would say, by topic; asked topics in order. */
const rows = new Map<string, { owner: string; snapshot: Record<string, unknown> }>();
const asked: string[] = [];
const source: SnapshotSource = {
  async snapshot(topic) {
    asked.push(topic);
    const row = rows.get(topic);
    return row && row.owner === scopeIfAny()?.userId ? { snapshot: row.snapshot } : null;
  },
};

beforeAll(async () => {
  redis = await startAnyRedis();
  one = await startNode({ url: redis.url, source });
  two = await startNode({ url: redis.url, source });
});
afterAll(async () => {
  await one.stop();
  await two.stop();
  await redis.stop();
});

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** A turn that exists in the database. */
function turnOf(owner = someone()) {
  const topic = turnTopic();
  rows.set(topic, { owner: owner.userId, snapshot: { id: topic.slice(5), status: 'running', text: '', attempt: 1 } });
  return { scope: owner, topic };
}

describe('a log topic', () => {
  test('is told from its start, then live', async () => {
    const { scope, topic } = turnOf();
    await append(one.publisher, scope, topic, 1, started(topic, 1), delta('a'));
    const reader = recorder();
    const stop = await runAs(scope, () => one.hub.subscribe(topic, reader.reader));
    await append(one.publisher, scope, topic, 1, delta('b'), completed('ab'));
    await reader.untilType('turn.completed');
    expect(reader.seqs()).toEqual([1, 2, 3, 4]);
    expect(reader.text()).toBe('ab');
    expect(reader.resets).toEqual([]);
    stop();
  });

  test('continues on another node where the first left off', async () => {
    const { scope, topic } = turnOf();
    const first = recorder();
    await append(one.publisher, scope, topic, 1, started(topic, 1), delta('a'), delta('b'));
    const stop = await runAs(scope, () => one.hub.subscribe(topic, first.reader));
    await first.until(() => first.events.length === 3);
    stop();
    await append(one.publisher, scope, topic, 1, delta('c'));
    const { epoch, seq } = first.events.at(-1) ?? { epoch: '', seq: 0 };
    const second = recorder();
    const before = asked.length;
    await runAs(scope, () => two.hub.subscribe(topic, second.reader, { after: seq, epoch }));
    await append(one.publisher, scope, topic, 1, delta('d'));
    await second.until(() => second.events.length === 2);
    expect(second.seqs()).toEqual([4, 5]);
    expect(asked.length).toBe(before);
  });

  test('is reset once, with the whole state, for another epoch', async () => {
    const { scope, topic } = turnOf();
    await append(one.publisher, scope, topic, 1, started(topic, 1), delta('a'), delta('b'));
    const reader = recorder();
    await runAs(scope, () => one.hub.subscribe(topic, reader.reader, { after: 2, epoch: 'another' }));
    await append(one.publisher, scope, topic, 1, delta('c'));
    await reader.until(() => reader.events.length === 1);
    expect(reader.resets).toMatchObject([
      { topic, seq: 3, snapshot: { id: topic.slice(5), status: 'running', attempt: 1, text: 'ab' } },
    ]);
    expect(reader.text()).toBe('abc');
  });

  test('is reset with the whole state where its beginning was trimmed', async () => {
    const small = await startNode({ url: redis.url, source, publisher: { maxLen: 10 } });
    const { scope, topic } = turnOf();
    await append(small.publisher, scope, topic, 1, started(topic, 1), ...range(1, 50).map((i) => delta(`${i};`)));
    const reader = recorder();
    await runAs(scope, () => one.hub.subscribe(topic, reader.reader, { after: 3 }));
    await append(small.publisher, scope, topic, 1, delta('end'));
    await reader.until(() => reader.events.length === 1);
    expect(reader.resets.map(({ seq }) => seq)).toEqual([51]);
    expect(reader.text()).toBe(
      `${range(1, 50)
        .map((i) => `${i};`)
        .join('')}end`,
    );
    await small.stop();
  });

  test('that has no log is told from the database, and goes on in the epoch of its writer', async () => {
    const { scope, topic } = turnOf();
    const reader = recorder();
    await runAs(scope, () => one.hub.subscribe(topic, reader.reader));
    await reader.until(() => reader.resets.length === 1);
    expect(reader.resets).toMatchObject([{ seq: 0, snapshot: { status: 'running' } }]);
    await append(two.publisher, scope, topic, 1, started(topic, 1));
    await reader.until(() => reader.events.length === 1);
    expect(reader.events).toMatchObject([{ seq: 1, epoch: reader.resets[0]?.epoch }]);
  });

  test('is not found for another tenant, another user, or nobody', async () => {
    const { scope, topic } = turnOf();
    await append(one.publisher, scope, topic, 1, started(topic, 1), delta('canary'));
    const stranger = recorder();
    for (const other of [someone(), someone(scope.tenantId)]) {
      expect(runAs(other, () => one.hub.subscribe(topic, stranger.reader))).rejects.toThrow('no such topic');
    }
    for (const name of ['turn:x', 'turn:', `file:${uuid()}`, topic.toUpperCase(), `${topic} `, '']) {
      expect(runAs(scope, () => one.hub.subscribe(name, stranger.reader))).rejects.toThrow('no such topic');
    }
    await append(one.publisher, scope, topic, 1, delta('canary'));
    expect(stranger.log).toEqual([]);
  });

  test('of a document that the tenant shares is readable by all of it', async () => {
    const owner = someone();
    const topic = `task:${uuid()}` as const;
    const progress: EventOf = {
      type: 'task.progress',
      data: {
        task_id: topic.slice(5),
        document_id: uuid(),
        status: 'running',
        stage: 'chunking',
        progress: 0.5,
        chunks_done: 1,
        chunks_total: 2,
        attempt: 1,
      },
    };
    await append(one.publisher, owner, topic, 1, progress);
    const reader = recorder();
    await runAs(someone(owner.tenantId), () => one.hub.subscribe(topic, reader.reader));
    await reader.until(() => reader.events.length === 1);
    expect(runAs(someone(), () => one.hub.subscribe(topic, recorder().reader))).rejects.toThrow('no such topic');
  });

  test('survives a cut of the subscription without gap or repeat', async () => {
    const { scope, topic } = turnOf();
    const readers = [recorder(), recorder()];
    for (const { reader } of readers) await runAs(scope, () => one.hub.subscribe(topic, reader, { after: 0 }));
    for (let i = 1; i <= 40; i++) {
      await append(two.publisher, scope, topic, 1, delta(`${i};`));
      if (i % 10 === 0) await redis.everywhere('CLIENT', 'KILL', 'TYPE', 'pubsub');
    }
    await append(two.publisher, scope, topic, 1, completed('x'));
    for (const reader of readers) {
      await reader.untilType('turn.completed');
      expect(reader.seqs()).toEqual(range(1, 41));
    }
  });

  test('begins a new epoch when Redis loses everything, and the text is whole again', async () => {
    const { scope, topic } = turnOf();
    const reader = recorder();
    const writer = runAs(scope, () => createDeltaWriter({ ...one, topic, attempt: 1, windowMs: 1 }));
    await append(one.publisher, scope, topic, 1, started(topic, 1));
    await runAs(scope, () => two.hub.subscribe(topic, reader.reader));
    writer.write('before ');
    await writer.flush();
    await reader.until(() => reader.text() === 'before ');
    await redis.everywhere('FLUSHALL');
    writer.write('after');
    await writer.flush();
    await append(one.publisher, scope, topic, 1, completed(writer.text));
    await reader.untilType('turn.completed');
    expect(reader.resets.length).toBe(1);
    expect(reader.text()).toBe('before after');
  });

  test('begins a new epoch when Redis forgets what it had acknowledged, so that no number means two events', async () => {
    const rolled = await startRedis();
    const [writing, reading] = [
      await startNode({ url: rolled.url, source }),
      await startNode({ url: rolled.url, source }),
    ];
    const saboteur = new Redis({ path: rolled.socketPath });
    const { scope, topic } = turnOf();
    const reader = recorder();
    const writer = runAs(scope, () => createDeltaWriter({ ...writing, topic, attempt: 1, windowMs: 1 }));
    await append(writing.publisher, scope, topic, 1, started(topic, 1));
    await runAs(scope, () => reading.hub.subscribe(topic, reader.reader));
    writer.write('kept ');
    await writer.flush();
    const rollBack = await rememberAll(saboteur);
    for (const piece of ['told ', 'and ', 'forgotten ']) {
      writer.write(piece);
      await writer.flush();
    }
    await reader.until(() => reader.text() === 'kept told and forgotten ');
    const { epoch, seq } = reader.events.at(-1) ?? { epoch: '', seq: 0 };
    await rollBack();
    for (const piece of ['then ', 'said', '.']) {
      writer.write(piece);
      await writer.flush();
    }
    const whole = 'kept told and forgotten then said.';
    expect(await writer.finish(completed(whole))).toBe(true);
    await reader.untilType('turn.completed');
    expect(reader.text()).toBe(whole);
    expect(reader.resets).toHaveLength(1);
    expect(reader.events.at(-1)?.epoch).not.toBe(epoch);
    // As whoever was away meanwhile, and has numbers of before.
    const late = recorder();
    await runAs(scope, () => reading.hub.subscribe(topic, late.reader, { after: seq, epoch }));
    await late.untilType('turn.completed');
    expect(late.resets).toHaveLength(1);
    expect(late.text()).toBe(whole);
    saboteur.disconnect();
    await writing.stop();
    await reading.stop();
    await rolled.stop();
  });

  test('whose numbers are given out again by a writer who knows of no rollback is told anew to those who listen', async () => {
    const rolled = await startRedis();
    const [one, another] = [await startNode({ url: rolled.url, source }), await startNode({ url: rolled.url, source })];
    const saboteur = new Redis({ path: rolled.socketPath });
    const { scope, topic } = turnOf();
    const reader = recorder();
    await append(one.publisher, scope, topic, 1, started(topic, 1), delta('kept '));
    await runAs(scope, () => one.hub.subscribe(topic, reader.reader));
    const rollBack = await rememberAll(saboteur);
    await append(one.publisher, scope, topic, 1, delta('a'), delta('b'), delta('c'));
    await reader.until(() => reader.text() === 'kept abc');
    await rollBack();
    await append(another.publisher, scope, topic, 2, started(topic, 2), delta('new '));
    await append(another.publisher, scope, topic, 2, delta('text'), completed('new text'));
    await reader.untilType('turn.completed');
    expect(reader.text()).toBe('new text');
    saboteur.disconnect();
    await one.stop();
    await another.stop();
    await rolled.stop();
  });

  test('that was lost before the text came is told whole, though it begins with the sources', async () => {
    const { scope, topic } = turnOf();
    await append(one.publisher, scope, topic, 1, started(topic, 1));
    await redis.everywhere('FLUSHALL');
    const writer = runAs(scope, () => createDeltaWriter({ ...one, topic, attempt: 1, windowMs: 1 }));
    await append(one.publisher, scope, topic, 1, { type: 'turn.sources', data: { sources: [] } });
    writer.write('all ');
    await writer.flush();
    const reader = recorder();
    await runAs(scope, () => two.hub.subscribe(topic, reader.reader, { after: 1, epoch: 'lost' }));
    await reader.until(() => reader.resets.length === 1);
    writer.write('of it');
    await writer.finish(completed('all of it'));
    await reader.untilType('turn.completed');
    expect(reader.text()).toBe('all of it');
  });

  test('feeds a thousand readers the same event objects', async () => {
    const { scope, topic } = turnOf();
    await append(one.publisher, scope, topic, 1, started(topic, 1));
    const seen = new Set<unknown>();
    let count = 0;
    const all = Promise.withResolvers<void>();
    const reader = {
      event(event: unknown) {
        seen.add(event);
        count += 1;
        if (count === 11_000) all.resolve();
      },
      reset() {},
    };
    await runAs(scope, () => Promise.all(range(1, 1_000).map(() => one.hub.subscribe(topic, reader))));
    for (const i of range(1, 10)) await append(one.publisher, scope, topic, 1, delta(`${i}`));
    await all.promise;
    expect(seen.size).toBeLessThan(30);
  });

  test('waits for a reader that is full, and it misses nothing', async () => {
    const { scope, topic } = turnOf();
    let room: PromiseWithResolvers<void> | null = Promise.withResolvers();
    const slow = recorder({ ready: () => room?.promise ?? null });
    const quick = recorder();
    await runAs(scope, () => one.hub.subscribe(topic, slow.reader));
    await runAs(scope, () => one.hub.subscribe(topic, quick.reader));
    await append(one.publisher, scope, topic, 1, ...range(1, 700).map((i) => delta(`${i};`)));
    await quick.until(() => quick.events.length === 700);
    expect(slow.log).toEqual([]);
    room.resolve();
    room = null;
    await slow.until(() => slow.events.length === 700);
    expect(slow.seqs()).toEqual(range(1, 700));
  });

  test('calls its readers outside every scope', async () => {
    const { scope, topic } = turnOf();
    const scopes: unknown[] = [];
    const done = Promise.withResolvers<void>();
    const reader = {
      event: () => {
        scopes.push(scopeIfAny());
        if (scopes.length === 2) done.resolve();
      },
      reset() {},
    };
    await append(one.publisher, scope, topic, 1, started(topic, 1));
    await runAs(scope, () => one.hub.subscribe(topic, reader));
    await append(one.publisher, scope, topic, 1, delta('a'));
    await done.promise;
    expect(scopes).toEqual([undefined, undefined]);
  });

  test('gets nothing more once it is unsubscribed', async () => {
    const { scope, topic } = turnOf();
    const [gone, stays] = [recorder(), recorder()];
    const stop = await runAs(scope, () => one.hub.subscribe(topic, gone.reader));
    await runAs(scope, () => one.hub.subscribe(topic, stays.reader));
    stop();
    stop();
    await append(one.publisher, scope, topic, 1, started(topic, 1));
    await stays.until(() => stays.events.length === 1);
    expect(gone.events).toEqual([]);
  });
});

describe('a hint topic', () => {
  const hint = (conversation: string): EventOf => ({
    type: 'conversation.updated',
    data: { conversation_id: conversation, title: 'a\nb', message_count: 2 },
  });

  test('reaches its user on every node, numbered for each reader', async () => {
    const scope = someone();
    const conversation = uuid();
    rows.set(`conversation:${conversation}`, { owner: scope.userId, snapshot: {} });
    const mine = recorder();
    const named = recorder();
    const others = recorder();
    await runAs(scope, () => two.hub.subscribe('user', mine.reader));
    await runAs(scope, () => two.hub.subscribe(`conversation:${conversation}`, named.reader));
    await runAs(someone(scope.tenantId), () => two.hub.subscribe('user', others.reader));
    await runAs(scope, async () => {
      await one.publisher.hint('user', hint(conversation));
      await one.publisher.hint('user', hint(conversation));
      await one.publisher.hint(`conversation:${conversation}`, hint(conversation));
    });
    await named.until(() => named.events.length === 1);
    expect(mine.seqs()).toEqual([1, 2]);
    expect(mine.events[0]).toMatchObject({ topic: 'user', type: 'conversation.updated', data: { title: 'a\nb' } });
    expect(others.log).toEqual([]);
  });

  test('of the tenant is for its admins', async () => {
    const scope = someone();
    const admin = recorder();
    await runAs(someone(scope.tenantId), () => one.hub.subscribe('tenant', admin.reader, { role: 'admin' }));
    await runAs(scope, () => two.publisher.hint('tenant', hint(uuid())));
    await admin.until(() => admin.events.length === 1);
    for (const role of ['member', 'viewer', undefined] as const) {
      expect(runAs(scope, () => one.hub.subscribe('tenant', recorder().reader, { role }))).rejects.toThrow('admins');
    }
  });

  test('of a conversation that is not the reader’s is not found', async () => {
    const conversation = uuid();
    rows.set(`conversation:${conversation}`, { owner: uuid(), snapshot: {} });
    expect(
      runAs(someone(), () => one.hub.subscribe(`conversation:${conversation}`, recorder().reader)),
    ).rejects.toThrow('no such topic');
  });
});
