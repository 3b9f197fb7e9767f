/** A cut of the subscription in the middle of a reader's way: what was published meanwhile is in the log, and is read. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { createLogReader, type LogReader } from '../../src/realtime/log-reader.ts';
import { createTopicLog } from '../../src/realtime/topic-log.ts';
import {
  append,
  delta,
  type RealtimeNode,
  recorder,
  someone,
  started,
  startNode,
  turnTopic,
} from '../support/realtime.ts';
import { startRedis, type TestRedis } from '../support/services.ts';

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

/** Reads the real log; the first answers are held back, each until it is let go. */
function heldBack(count: number) {
  const real = createLogReader(node);
  const held = Array.from({ length: count }, () => ({
    read: Promise.withResolvers<void>(),
    go: Promise.withResolvers<void>(),
  }));
  let reads = 0;
  const log: LogReader = {
    ...real,
    async read(...wanted) {
      const page = await real.read(...wanted);
      const one = held[reads++];
      one?.read.resolve();
      await one?.go.promise;
      return page;
    },
  };
  return { log, held, reads: () => reads };
}

async function following(held: number) {
  const scope = someone();
  const topic = turnTopic();
  await append(node.publisher, scope, topic, 1, started(topic, 1), delta('a'));
  const {
    log,
    held: [first],
    reads,
  } = heldBack(held);
  const work: Promise<void>[] = [];
  const topicLog = createTopicLog({
    ...node,
    tenantId: scope.tenantId,
    topic,
    log,
    source: { snapshot: async () => ({ snapshot: {} }) },
    track: (one) => work.push(one),
  });
  const reader = recorder();
  const begun = topicLog
    .read(0)
    .then((read) => topicLog.attach(reader.reader, scope, { epoch: undefined, last: 0 }, read));
  await first?.read.promise;
  return {
    topicLog,
    reader,
    reads,
    /** Published, and its message lost. */
    miss: (text: string) => append(node.publisher, scope, topic, 1, delta(text)),
    /** The answer of before arrives; resolves when the reader has caught up. */
    async arrive() {
      first?.go.resolve();
      await begun;
      await Promise.all(work);
    },
  };
}

test('an event that was missed while the log was being read is read once the subscription is back', async () => {
  const { topicLog, reader, miss, arrive } = await following(1);
  await miss('b');
  // The subscription is back, and the answer of before the cut still on its way.
  topicLog.resync();
  await arrive();
  expect(reader.text()).toBe('ab');
  expect(reader.seqs()).toEqual([1, 2, 3]);
});

test('without a cut the answer is all there is, and nothing is read twice', async () => {
  const { reader, reads, arrive } = await following(1);
  await arrive();
  expect(reader.text()).toBe('a');
  expect(reads()).toBe(1);
});
