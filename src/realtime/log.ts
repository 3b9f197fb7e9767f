/**
 * Writes the logs of topics. Everything that callers of this process append to one partition while a script is on its way
 * goes out with the next one (group commit): many streams share a round trip, an idle partition waits for nobody, and
 * order is kept because only one script per partition is under way.
 *
 * A group that was sent again, by us or by the Redis client, is recognised by its number and appends nothing twice. Where
 * a log is gone, or has lost what this process had appended, it begins anew under another epoch with what the attempt has
 * told before; so numbers that readers have already are never given out for something else.
 */
import { randomBytes } from 'node:crypto';
import type { EventPublisher, LogAppend } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, runDetached } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { CHANGED, createAppendBatches, type Group, isFinal, type Reply, ROLLED_BACK } from './append-batches.ts';
import { encodeHint, hintRoute } from './batch.ts';
import { createHintWriter } from './hint-writer.ts';
import { createLogNames } from './log-names.ts';
import type { ScriptArgument } from './script.ts';
import { appendScript } from './scripts.ts';

export interface EventPublisherOptions {
  clients: RedisClients;
  keys: Keys;
  clock: Clock;
  logger: Logger;
  /** How long a log without a final event is kept after its last event. */
  ttlSeconds: number;
  /** How long it is kept after a final event. Default: ten minutes, or `ttlSeconds` if that is less. */
  finalTtlSeconds?: number;
  /** Events kept per log; what is older is folded into the log's state. */
  maxLen: number;
  /** How long an append is tried again while Redis does not answer. Default 4,000. */
  giveUpMs?: number;
  /** How long a final event is tried again after that, behind its caller's back. Default ten minutes. */
  finalGiveUpMs?: number;
  /** Names a log's life and this writer: unguessable is not needed, unique is. */
  newName?: () => string;
}

interface Lane {
  waiting: Group[];
  busy: boolean;
}

const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 500;
const LATE_PAUSE_MS = 1_000;
const MAX_LATE = 10_000;

/** Replies by which a server says that it will be well again. */
const PASSING = /^(LOADING|READONLY|MASTERDOWN|TRYAGAIN|CLUSTERDOWN|BUSY|OOM)\b/;

export function createEventPublisher(options: EventPublisherOptions): EventPublisher {
  const { clients, keys, clock, logger, ttlSeconds, maxLen } = options;
  const finalTtlSeconds = options.finalTtlSeconds ?? Math.min(600, ttlSeconds);
  const giveUpMs = options.giveUpMs ?? 4_000;
  const finalGiveUpMs = options.finalGiveUpMs ?? 600_000;
  const newName = options.newName ?? (() => randomBytes(8).toString('hex'));
  const lanes = new Map<number, Lane>();
  const names = createLogNames(keys);
  const hints = createHintWriter({
    publish: (partition, message) => clients.producer.spublish(keys.events(partition), message),
    logger,
  });
  const batches = createAppendBatches({ clock, ttlSeconds, finalTtlSeconds, maxLen, newName });
  let late = 0;

  async function send(batch: readonly Group[], args: readonly ScriptArgument[]): Promise<Reply[]> {
    const scriptKeys: string[] = [];
    for (const { meta, log } of batch) scriptKeys.push(meta, log);
    const deadline = clock.now() + giveUpMs;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      try {
        return (await appendScript.run(clients.producer, scriptKeys, args)) as Reply[];
      } catch (error) {
        const final = error instanceof Error && error.name === 'ReplyError' && !PASSING.test(error.message);
        if (final || clock.now() + pause >= deadline) {
          throw new AppError('unavailable', 'Events could not be published.', { cause: error, retryAfterMs: 1_000 });
        }
        logger.debug({ err: error }, `events are tried again: ${messageOf(error)}`);
        await clock.sleep(pause);
      }
    }
  }

  /** Settles the group, or returns what is to be sent in its place. */
  function settle(group: Group, reply: Reply): Group | undefined {
    const appended = batches.learn(group, reply);
    if (appended === CHANGED) return group;
    if (appended >= 0) {
      group.resolve(appended - group.restored);
      return;
    }
    // The log is gone, or a part of it: a new one begins with what the attempt has told before.
    try {
      const before = group.append.restore?.() ?? [];
      const { restore: _, ...append } = group.append;
      const events = [...before, ...group.events];
      const rebuild = appended === ROLLED_BACK;
      return {
        ...group,
        append: { ...append, ...(rebuild && { rebuild }) },
        events,
        restored: before.length,
        number: 0,
      };
    } catch (error) {
      group.reject(error);
      return;
    }
  }

  async function pump(partition: number, lane: Lane): Promise<void> {
    lane.busy = true;
    // Whoever appends in the same moment comes along.
    await null;
    const channel = keys.events(partition);
    while (lane.waiting.length > 0) {
      const { batch, args } = batches.take(lane.waiting, channel);
      try {
        const replies = await send(batch, args);
        const again = batch
          .map((group, index) => settle(group, replies[index] ?? 0))
          .filter((group) => group !== undefined);
        if (again.length > 0) lane.waiting.unshift(...again);
      } catch (error) {
        for (const group of batch) {
          batches.doubt(group);
          group.reject(error);
          if (group.events.some(isFinal)) tryLater(partition, group);
        }
      }
    }
    lane.busy = false;
    lanes.delete(partition);
  }

  /**
   * A final event that could not be told would leave its readers waiting. It says the whole state, so the log, of which
   * nobody knows what it holds, begins anew with it; if it was there after all, it is refused.
   */
  function tryLater(partition: number, group: Group): void {
    const until = group.until ?? clock.now() + finalGiveUpMs;
    if (clock.now() >= until || late >= MAX_LATE) return;
    late += 1;
    clock.after(LATE_PAUSE_MS, () => {
      late -= 1;
      const { restore, ...append } = group.append;
      const events = [...(restore?.() ?? []), ...group.events];
      enqueue(partition, {
        ...group,
        append: { ...append, rebuild: true },
        events,
        number: 0,
        until,
        resolve() {},
        reject() {},
      });
    });
  }

  function enqueue(partition: number, group: Group): void {
    const lane = lanes.get(partition) ?? { waiting: [], busy: false };
    lanes.set(partition, lane);
    lane.waiting.push(group);
    if (!lane.busy) void runDetached(() => pump(partition, lane));
  }

  return {
    async append(appends) {
      const scope = currentScope();
      const partition = keys.partitionOf(scope.tenantId);
      const outcomes = runsOf(appends).map((run): Promise<boolean[]> => {
        const [append] = run;
        if (!append) return Promise.resolve([]);
        const { meta, log } = names.of(scope.tenantId, append.topic);
        const events = run.map(({ event }) => event);
        return new Promise((resolve, reject) => {
          enqueue(partition, {
            scope,
            append,
            events,
            meta,
            log,
            number: 0,
            restored: 0,
            continuesTo: 0,
            resolve: (appended) => resolve(run.map((_, index) => index < appended)),
            reject,
          });
        });
      });
      const [only] = outcomes;
      return outcomes.length === 1 && only ? only : (await Promise.all(outcomes)).flat();
    },

    async hint(topic, event) {
      const { tenantId, userId } = currentScope();
      const ts = new Date(clock.now()).toISOString();
      const message = encodeHint(hintRoute(tenantId, userId, topic), topic, event.type, ts, event.data);
      await hints.send(keys.partitionOf(tenantId), message);
    },
  };
}

/** Neighbours of one topic and attempt are appended together; what asks for a new log, or for restoring, stands alone. */
function runsOf(appends: readonly LogAppend[]): LogAppend[][] {
  const runs: LogAppend[][] = [];
  for (const append of appends) {
    const run = runs.at(-1);
    const head = run?.[0];
    const joins =
      head &&
      head.topic === append.topic &&
      head.attempt === append.attempt &&
      head.audience === append.audience &&
      !append.rebuild &&
      !append.restore &&
      !head.restore;
    if (joins) run.push(append);
    else runs.push([append]);
  }
  return runs;
}
