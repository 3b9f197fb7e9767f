/** Topics whose end nobody told: who is asked for them, how often, and what their readers hear. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { EventOf, LogTopic } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { runAs } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createEndWatch, type OpenTopic, type TopicEnds } from '../../src/realtime/end-watch.ts';
import { createHub } from '../../src/realtime/hub.ts';
import { createEventPublisher } from '../../src/realtime/log.ts';
import { createLogReader } from '../../src/realtime/log-reader.ts';
import { createTopicEnds } from '../../src/services/topic-ends.ts';
import { createManualClock } from '../support/manual-clock.ts';
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
} from '../support/realtime.ts';
import { createRig, type Rig } from '../support/rig.ts';
import { startRedis, type TestRedis } from '../support/services.ts';

describe('the watch', () => {
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

  const QUIET_MS = 5_000;

  /** A hub and its watch in a time of their own; `rows` is what the database would say. */
  async function watching() {
    const clock = createManualClock();
    const rows = new Map<string, 'running' | 'ended'>();
    const asked: string[][] = [];
    /** What announcing does, once each. */
    const tell: (() => Promise<unknown>)[] = [];
    const source = { snapshot: async () => ({ snapshot: { status: 'running' } }) };
    // Its connections live in real time.
    const hub = createHub({ ...node, clock: { ...systemClock, now: clock.now }, source });
    const ends: TopicEnds = {
      async findEnded(topics) {
        asked.push(topics.map(({ topic }) => topic));
        return topics
          .filter(({ topic }) => rows.get(topic) !== 'running')
          .map((one) => ({ ...one, userId: someone().userId }));
      },
      async announce() {
        await tell.shift()?.();
      },
    };
    const watch = createEndWatch({ followed: hub.followed, ends, clock, logger: node.logger, quietMs: QUIET_MS });
    await hub.start();

    /** A topic with a log and a reader who has all of it. */
    async function follow(state: 'running' | 'ended', ...events: EventOf[]) {
      const scope = someone();
      const topic = turnTopic();
      rows.set(topic, state);
      await append(node.publisher, scope, topic, 1, started(topic, 1), delta('a'), ...events);
      const told = recorder();
      await runAs(scope, () => hub.subscribe(topic, told.reader));
      await told.until(() => told.events.length === 2 + events.length);
      return { scope, topic, told };
    }
    return { clock, hub, watch, asked, tell, follow };
  }

  test('asks once for all that are quiet, and for none whose readers know that it has ended', async () => {
    const { clock, hub, watch, asked, follow } = await watching();
    const quiet = [await follow('running'), await follow('running'), await follow('running')];
    await follow('ended', completed('a'));
    await watch.look();
    expect(asked).toEqual([]);
    clock.advance(QUIET_MS);
    expect(await watch.look()).toBe(0);
    expect(asked.map((topics) => topics.toSorted())).toEqual([quiet.map(({ topic }) => topic).toSorted()]);
    await hub.stop();
    clock.advance(10 * QUIET_MS);
    await watch.look();
    expect(asked).toHaveLength(1);
  });

  test('asks ever more seldom, and soon again after something was told', async () => {
    const { clock, hub, watch, asked, follow } = await watching();
    const { scope, topic, told } = await follow('running');
    const at: number[] = [];
    const begun = clock.now();
    for (let second = 1; second <= 200; second++) {
      clock.advance(1_000);
      const before = asked.length;
      await watch.look();
      if (asked.length > before) at.push((clock.now() - begun) / QUIET_MS);
    }
    expect(at).toEqual([1, 2, 4, 8, 16, 28, 40]);
    await append(node.publisher, scope, topic, 1, delta('b'));
    await told.until(() => told.events.length === 3);
    const before = asked.length;
    clock.advance(QUIET_MS);
    await watch.look();
    expect(asked.length).toBe(before + 1);
    await hub.stop();
  });

  test('has an end announced, again where that failed, and not once more', async () => {
    const { clock, hub, watch, tell, follow } = await watching();
    const { scope, topic, told } = await follow('ended');
    const failing = Promise.reject(new Error('Redis is away'));
    tell.push(() => failing);
    tell.push(() => append(node.publisher, scope, topic, 1, completed('a')));
    clock.advance(QUIET_MS);
    expect(await watch.look()).toBe(1);
    expect(told.events).toHaveLength(2);
    clock.advance(QUIET_MS);
    expect(await watch.look()).toBe(1);
    await told.untilType('turn.completed');
    expect(told.seqs()).toEqual([1, 2, 3]);
    expect(told.resets).toEqual([]);
    clock.advance(20 * QUIET_MS);
    expect(await watch.look()).toBe(0);
    expect(tell).toEqual([]);
    await hub.stop();
  });
});

describe('rows', () => {
  let rig: Rig;
  let ends: TopicEnds;
  beforeAll(async () => {
    rig = await createRig();
    const { database, clients, keys } = rig;
    const base = { clients, keys, clock: systemClock, logger: silentLogger };
    const publisher = createEventPublisher({ ...base, ttlSeconds: 600, maxLen: 1_000 });
    ends = createTopicEnds({ database, publisher, logs: createLogReader({ clients, keys }) });
  });
  afterAll(() => rig.close());

  const named = (tenantId: string, kind: 'turn' | 'task', id: string): OpenTopic => ({
    tenantId,
    topic: `${kind}:${id}` as LogTopic,
  });

  test('of all tenants say at once what has ended and whose it is', async () => {
    const [one, two] = [await rig.newTenant(), await rig.newTenant()];
    const turn = await rig.as(one, () => rig.chat.send({ content: 'What?' }));
    const waits = await rig.as(two, () => rig.chat.send({ content: 'And this?' }));
    const { task_id: taskId } = (await rig.upload(two, 'a text')).receipt;
    await rig.deliver(one, 'chat', turn.turn_id);
    await rig.deliver(two, 'ingest', taskId);
    const found = await ends.findEnded([
      named(one.tenantId, 'turn', turn.turn_id),
      // The tenant is part of the name, and what is nowhere has not ended.
      named(two.tenantId, 'turn', turn.turn_id),
      named(two.tenantId, 'turn', waits.turn_id),
      named(two.tenantId, 'task', taskId),
      named(one.tenantId, 'task', crypto.randomUUID()),
    ]);
    expect(found).toEqual([
      { ...named(one.tenantId, 'turn', turn.turn_id), userId: one.userId },
      { ...named(two.tenantId, 'task', taskId), userId: two.userId },
    ]);
  });

  test('announce an end that is told already to nobody, and one of a lost log with all before it', async () => {
    const who = await rig.newTenant();
    const { turn_id: id } = await rig.as(who, () => rig.chat.send({ content: 'What?' }));
    await rig.deliver(who, 'chat', id);
    const topic = `turn:${id}` as const;
    const all = async () => {
      const told = recorder();
      const stop = await rig.as(who, () => rig.hub.subscribe(topic, told.reader));
      await told.untilType('turn.completed');
      stop();
      return told.events;
    };
    const before = await all();
    await rig.as(who, () => ends.announce(topic));
    expect(await all()).toEqual(before);

    await rig.clients.ops.del(rig.keys.log(who.tenantId, topic), rig.keys.logMeta(who.tenantId, topic));
    await Promise.all([1, 2, 3].map(() => rig.as(who, () => ends.announce(topic))));
    const after = await all();
    expect(after.map(({ seq }) => seq)).toEqual(after.map((_, i) => i + 1));
    expect(after.filter(({ type }) => type === 'turn.completed')).toHaveLength(1);
    const text = after
      .flatMap(({ type, data }) => (type === 'turn.delta' ? [(data as { text: string }).text] : []))
      .join('');
    expect(after.at(-1)?.data).toMatchObject({ text });
    expect(text).not.toBe('');
  });
});
