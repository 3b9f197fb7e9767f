/**
 * Writes the logs of topics. Everything that callers of this process append to one partition while a script is on its way
 * goes out with the next one (group commit): many streams share a round trip, an idle partition waits for nobody, and
 * order is kept because only one script per partition is under way.
 *
 * A group that was sent again, by us or by the Redis client, is recognised by its number and appends nothing twice.
 */
import { randomBytes } from 'node:crypto';
import { type EventOf, type EventPublisher, FINAL_EVENTS, type LogAppend } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, runDetached, type Scope } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { encodeHint, hintRoute } from './batch.ts';
import type { ScriptArgument } from './script.ts';
import { appendScript } from './scripts.ts';
import { parseTopic } from './topics.ts';

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

interface Group {
  scope: Scope;
  append: LogAppend;
  events: EventOf[];
  /** Grows in the order of sending, and stays the same when a script is sent again. */
  number: number;
  epoch: string;
  /** How many events `restore` put in front. */
  restored: number;
  /** Set once it is tried again behind its caller's back. */
  until?: number;
  resolve(appended: number): void;
  reject(error: unknown): void;
}

interface Lane {
  waiting: Group[];
  busy: boolean;
}

const MAX_GROUPS = 256;
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
  const writer = newName();
  const lanes = new Map<number, Lane>();
  let groups = 0;
  let late = 0;

  function argumentsOf(group: Group): ScriptArgument[] {
    const { scope, append, events } = group;
    const { topic, attempt } = append;
    const audience = append.audience ?? (topic.startsWith('turn:') ? 'user' : 'tenant');
    const mode = append.rebuild ? 'rebuild' : append.restore ? 'restorable' : 'plain';
    const ts = new Date(clock.now()).toISOString();
    const args: ScriptArgument[] = [
      scope.tenantId,
      topic,
      attempt,
      scope.userId,
      audience,
      group.number,
      mode,
      group.epoch,
      events.length,
    ];
    for (const event of events) args.push(event.type, classOf(event), ts, dataOf(event));
    return args;
  }

  async function send(partition: number, batch: Group[]): Promise<number[]> {
    const scriptKeys = batch.flatMap(({ scope, append: { topic } }) => [
      keys.logMeta(scope.tenantId, topic),
      keys.log(scope.tenantId, topic),
    ]);
    const now = Math.floor(clock.now() / 1_000);
    const args: ScriptArgument[] = [keys.events(partition), writer, ttlSeconds, finalTtlSeconds, maxLen, now];
    for (const group of batch) args.push(...argumentsOf(group));
    const deadline = clock.now() + giveUpMs;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      try {
        return (await appendScript.run(clients.producer, scriptKeys, args)) as number[];
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

  function settle(lane: Lane, group: Group, appended: number): void {
    if (appended >= 0) {
      group.resolve(appended - group.restored);
      return;
    }
    // The log is gone: a new one begins with what the attempt has told before.
    try {
      const before = group.append.restore?.() ?? [];
      const { restore: _, ...append } = group.append;
      lane.waiting.unshift({
        ...group,
        append,
        events: [...before, ...group.events],
        restored: before.length,
        epoch: newName(),
      });
    } catch (error) {
      group.reject(error);
    }
  }

  async function pump(partition: number, lane: Lane): Promise<void> {
    lane.busy = true;
    // Whoever appends in the same moment comes along.
    await null;
    while (lane.waiting.length > 0) {
      const batch = lane.waiting.splice(0, MAX_GROUPS);
      for (const group of batch) group.number = ++groups;
      try {
        const replies = await send(partition, batch);
        // Backwards, because restored groups go in front of what waits and must keep their order.
        for (let i = batch.length - 1; i >= 0; i--) {
          const group = batch[i];
          if (group) settle(lane, group, replies[i] ?? 0);
        }
      } catch (error) {
        for (const group of batch) {
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
      enqueue(partition, { ...group, append: { ...append, rebuild: true }, events, until, resolve() {}, reject() {} });
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
      const outcomes: Promise<boolean[]>[] = [];
      for (const run of runsOf(appends)) {
        const [append] = run;
        if (!append) continue;
        if (parseTopic(append.topic)?.kind !== 'log')
          throw new AppError('internal', `No log has the name "${append.topic}".`);
        const { promise, resolve, reject } = Promise.withResolvers<number>();
        const events = run.map(({ event }) => event);
        outcomes.push(promise.then((appended) => run.map((_, index) => index < appended)));
        enqueue(partition, { scope, append, events, number: 0, epoch: newName(), restored: 0, resolve, reject });
      }
      return (await Promise.all(outcomes)).flat();
    },

    async hint(topic, event) {
      const { tenantId, userId } = currentScope();
      const ts = new Date(clock.now()).toISOString();
      const message = encodeHint(hintRoute(tenantId, userId, topic), topic, event.type, ts, event.data);
      try {
        await clients.producer.spublish(keys.events(keys.partitionOf(tenantId)), message);
      } catch (error) {
        logger.debug({ err: error, topic }, `a hint was not published: ${messageOf(error)}`);
      }
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

const isFinal = ({ type }: EventOf) => FINAL_EVENTS.has(type);

function classOf(event: EventOf): 'final' | 'queued' | '-' {
  if (isFinal(event)) return 'final';
  return event.type.endsWith('.queued') ? 'queued' : '-';
}

/** Deltas and sources have exactly this form, which folding (in `scripts.ts`) takes apart by position. */
function dataOf(event: EventOf): string {
  if (event.type === 'turn.delta') return JSON.stringify({ text: event.data.text });
  if (event.type === 'turn.sources') return JSON.stringify({ sources: event.data.sources });
  return JSON.stringify(event.data);
}
