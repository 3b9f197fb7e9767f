/**
 * Reads topics for the sockets and SSE responses of this node. Log first, notify second: what is published over a
 * partition's channel is also in the topic's log, so a lost message costs a read, never an event. A log names its owner,
 * so a resume asks PostgreSQL nothing; it is asked where there is no log, or where the log cannot be continued.
 *
 * A tenant cannot reach another's topic: every key and route is built from the scope in which `subscribe` is called.
 * States: idle, running, stopped; readers are kept only while running.
 */
import { randomBytes } from 'node:crypto';
import type { Hub, LogTopic, Role, SubscribeOptions, TopicReader } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, runDetached, type Scope } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Service } from '../kernel/service.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { createSubscriber } from '../redis/subscriber.ts';
import { decodeBatch, hintRoute, numberHint } from './batch.ts';
import type { FollowedTopic } from './end-watch.ts';
import { createLogReader, type LogPage } from './log-reader.ts';
import { createTopicLog, type SnapshotSource, type TopicLog } from './topic-log.ts';
import { parseTopic } from './topics.ts';

export interface HubOptions {
  clients: RedisClients;
  keys: Keys;
  clock: Clock;
  logger: Logger;
  /** Asked in the reader's scope. For `conversation:{id}` only whether it is there matters. */
  source: SnapshotSource;
  /** How long a partition is listened to after its last reader, in milliseconds. Default 10,000. */
  lingerMs?: number;
}

interface Partition {
  readers: number;
  listening: Promise<void>;
  cancelLinger: () => void;
}

interface HintReader {
  reader: TopicReader;
  epoch: string;
  seq: number;
}

const ADMINS: ReadonlySet<Role> = new Set<Role>(['owner', 'admin']);
const notFound = () => new AppError('not_found', 'There is no such topic.');

export interface TopicHub extends Hub, Service {
  /** The log topics that readers of this node follow. */
  followed(): Iterable<FollowedTopic>;
}

export function createHub({ clients, keys, clock, logger, source, lingerMs = 10_000 }: HubOptions): TopicHub {
  const log = createLogReader({ clients, keys });
  const partitions = new Map<number, Partition>();
  const logs = new Map<string, { topicLog: TopicLog; holders: number }>();
  const hints = new Map<string, Set<HintReader>>();
  const subscriptions = new Map<() => void, TopicReader>();
  const underway = new Set<Promise<void>>();
  /** Grows with every stop: what was begun before it must not outlive it. */
  let life = 0;

  const wanted = {
    log: (route: string) => logs.get(route)?.topicLog.topic,
    hint: (route: string) => hints.has(route),
  };

  const subscriber = createSubscriber({
    name: 'hub',
    clients,
    clock,
    logger,
    message(text) {
      for (const batch of decodeBatch(text, wanted)) {
        if (batch.kind === 'log') logs.get(batch.route)?.topicLog.publish(batch.events);
        else for (const frame of batch.frames) tellHint(batch.route, batch.topic, frame);
      }
    },
    reconnected() {
      for (const { topicLog } of logs.values()) topicLog.resync();
    },
  });

  function tellHint(route: string, topic: string, frame: string): void {
    for (const hint of [...(hints.get(route) ?? [])]) {
      hint.seq += 1;
      try {
        hint.reader.event(numberHint(frame, topic, hint.epoch, hint.seq));
      } catch (error) {
        logger.error({ err: error, topic }, `a reader failed: ${messageOf(error)}`);
        hints.get(route)?.delete(hint);
      }
    }
  }

  function track(work: Promise<void>): void {
    underway.add(work);
    const forget = () => underway.delete(work);
    work.then(forget, forget);
  }

  /** Counts a reader of the partition; resolves with what releases it once all later messages arrive here. */
  async function listen(tenantId: string): Promise<() => void> {
    const number = keys.partitionOf(tenantId);
    const channel = keys.events(number);
    const partition = partitions.get(number) ?? {
      readers: 0,
      listening: subscriber.add(channel),
      cancelLinger: () => {},
    };
    partitions.set(number, partition);
    partition.readers += 1;
    partition.cancelLinger();
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      partition.readers -= 1;
      if (partition.readers > 0 || partitions.get(number) !== partition) return;
      partition.cancelLinger = clock.after(lingerMs, () => {
        partitions.delete(number);
        subscriber.remove(channel);
      });
    };
    try {
      await partition.listening;
    } catch (error) {
      // The next reader tries anew.
      if (partitions.get(number) === partition) partitions.delete(number);
      throw error;
    }
    return release;
  }

  /** The topic's log on this node, for as long as somebody holds it. */
  function hold(tenantId: string, topic: LogTopic): { topicLog: TopicLog; letGo: () => void } {
    const route = keys.logMeta(tenantId, topic);
    const held = logs.get(route) ?? {
      topicLog: createTopicLog({ tenantId, topic, log, source, clock, logger, track }),
      holders: 0,
    };
    logs.set(route, held);
    held.holders += 1;
    return {
      topicLog: held.topicLog,
      letGo() {
        held.holders -= 1;
        if (held.holders === 0) logs.delete(route);
      },
    };
  }

  async function mayRead(scope: Scope, topic: string, page: LogPage | null): Promise<boolean> {
    if (page && page.userId !== '') return page.audience === 'tenant' || page.userId === scope.userId;
    return (await source.snapshot(topic)) !== null;
  }

  async function readLog(
    scope: Scope,
    topic: LogTopic,
    reader: TopicReader,
    options: SubscribeOptions,
  ): Promise<() => void> {
    const after = options.after ?? 0;
    const { topicLog, letGo } = hold(scope.tenantId, topic);
    try {
      const first = await topicLog.read(after);
      if (!(await mayRead(scope, topic, first.page))) throw notFound();
      const detach = topicLog.attach(reader, scope, { epoch: options.epoch, last: after }, first);
      return () => {
        detach();
        letGo();
      };
    } catch (error) {
      letGo();
      if (error instanceof AppError) throw error;
      throw new AppError('unavailable', 'The topic cannot be read right now.', { cause: error, retryAfterMs: 1_000 });
    }
  }

  function readHints(route: string, reader: TopicReader): () => void {
    const hint: HintReader = { reader, epoch: randomBytes(8).toString('hex'), seq: 0 };
    const readers = hints.get(route) ?? new Set();
    hints.set(route, readers.add(hint));
    return () => {
      readers.delete(hint);
      if (readers.size === 0 && hints.get(route) === readers) hints.delete(route);
    };
  }

  async function begin(
    name: string,
    scope: Scope,
    reader: TopicReader,
    options: SubscribeOptions,
  ): Promise<() => void> {
    const topic = parseTopic(name);
    if (!topic) throw notFound();
    if (topic.kind === 'log') return readLog(scope, topic.topic, reader, options);
    if (topic.kind === 'tenant' && !(options.role && ADMINS.has(options.role))) {
      throw new AppError('forbidden', 'This topic is for the admins of the tenant.');
    }
    if (topic.kind === 'conversation' && (await source.snapshot(topic.topic)) === null) throw notFound();
    return readHints(hintRoute(scope.tenantId, scope.userId, topic.topic), reader);
  }

  return {
    name: 'hub',
    async subscribe(topic, reader, options = {}) {
      const scope = currentScope();
      const begun = life;
      const release = await listen(scope.tenantId);
      try {
        const stopReading = await begin(topic, scope, reader, options);
        if (begun !== life) {
          stopReading();
          throw new AppError('unavailable', 'This process is going away.', { retryAfterMs: 1_000 });
        }
        const end = () => {
          if (!subscriptions.delete(end)) return;
          stopReading();
          release();
        };
        subscriptions.set(end, reader);
        return end;
      } catch (error) {
        release();
        throw error;
      }
    },
    *followed() {
      for (const { topicLog } of logs.values()) yield topicLog;
    },
    start: () => runDetached(() => subscriber.start()),
    async stop() {
      life += 1;
      for (const [end, reader] of [...subscriptions]) {
        end();
        reader.over?.();
      }
      for (const { cancelLinger } of partitions.values()) cancelLinger();
      partitions.clear();
      await subscriber.stop();
      await Promise.allSettled(underway);
    },
  };
}
