/**
 * Makes the end of a topic certain for those who listen. A worker that is killed between its commit and its last event
 * leaves that event to whoever gets its stream entry next; where Redis has lost that too, nobody tells it. So a topic whose
 * readers have been told nothing for a while is looked up: one round, one question for all of them. Where the row has
 * ended, the end is appended to the log, which refuses a second one, and the readers catch up from there.
 *
 * A topic whose readers know that it has ended is never asked for, and one that goes on being quiet ever more seldom.
 */
import type { LogTopic } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';

export interface OpenTopic {
  readonly tenantId: string;
  readonly topic: LogTopic;
}

export interface TopicEnds {
  /**
   * Which of these have ended by their rows, and whose they are; what has no row has not ended. Called in no scope.
   */
  findEnded(topics: readonly OpenTopic[]): Promise<(OpenTopic & { userId: string })[]>;
  /** Appends the end of a topic of the scope's user to its log. Rejects with `unavailable` when it could not. */
  announce(topic: LogTopic): Promise<void>;
}

/** A topic that readers of this node follow. */
export interface FollowedTopic extends OpenTopic {
  /** When its readers were last told something, in milliseconds since the epoch; null where nobody waits for an end. */
  waitingSince(): number | null;
  /** Everybody catches up from the log. */
  resync(): void;
}

export interface EndWatchOptions {
  /** All topics that readers of this node follow. */
  followed(): Iterable<FollowedTopic>;
  ends: TopicEnds;
  clock: Clock;
  logger: Logger;
  /** Default 1,000. */
  everyMs?: number;
  /** For how long a topic is quiet before it is looked up, in milliseconds. Default 5,000. */
  quietMs?: number;
}

export interface EndWatch extends Service {
  /** One round; returns how many topics were found to have ended. */
  look(): Promise<number>;
}

/** So that a round is a small question, whoever waits for how much. */
const MOST_AT_ONCE = 1_000;
/** Ends that are appended at one time: those of a partition share a script anyway. */
const ANNOUNCED_AT_ONCE = 64;
/** A topic that goes on is asked for at pauses that double, up to this many times the first. */
const MOST_PATIENCE = 12;

interface Mark {
  since: number;
  dueAt: number;
  pauseMs: number;
}

export function createEndWatch(options: EndWatchOptions): EndWatch {
  const { followed, ends, clock, logger, everyMs = 1_000, quietMs = 5_000 } = options;
  const marks = new WeakMap<FollowedTopic, Mark>();

  function markOf(topic: FollowedTopic, since: number): Mark {
    const known = marks.get(topic);
    if (known?.since === since) return known;
    const mark = { since, dueAt: since + quietMs, pauseMs: quietMs };
    marks.set(topic, mark);
    return mark;
  }

  /** Those that are due, the longest first; each is then due again later. */
  function takeDue(): FollowedTopic[] {
    const now = clock.now();
    const due: { topic: FollowedTopic; mark: Mark }[] = [];
    for (const topic of followed()) {
      const since = topic.waitingSince();
      if (since === null || since + quietMs > now) continue;
      const mark = markOf(topic, since);
      if (mark.dueAt <= now) due.push({ topic, mark });
    }
    due.sort((a, b) => a.mark.dueAt - b.mark.dueAt);
    const taken = due.slice(0, MOST_AT_ONCE);
    for (const { mark } of taken) {
      mark.dueAt = now + mark.pauseMs;
      mark.pauseMs = Math.min(2 * mark.pauseMs, MOST_PATIENCE * quietMs);
    }
    return taken.map(({ topic }) => topic);
  }

  async function end(followedTopic: FollowedTopic, userId: string): Promise<void> {
    const { tenantId, topic } = followedTopic;
    try {
      await runAs({ tenantId, userId, traceId: newTraceId() }, () => ends.announce(topic));
    } catch (error) {
      logger.warn({ err: error, topic }, `an end is not announced yet: ${messageOf(error)}`);
      return;
    }
    followedTopic.resync();
  }

  async function look(): Promise<number> {
    const due = takeDue();
    if (due.length === 0) return 0;
    const byName = new Map(due.map((one) => [`${one.tenantId} ${one.topic}`, one]));
    const found = await ends.findEnded(due.map(({ tenantId, topic }) => ({ tenantId, topic })));
    for (let at = 0; at < found.length; at += ANNOUNCED_AT_ONCE) {
      await Promise.all(
        found.slice(at, at + ANNOUNCED_AT_ONCE).map(async ({ tenantId, topic, userId }) => {
          const one = byName.get(`${tenantId} ${topic}`);
          if (one) await end(one, userId);
        }),
      );
    }
    if (found.length > 0) logger.info({ topics: found.length }, 'told ends that nobody had told');
    return found.length;
  }

  const loop = createLoop({ name: 'end-watch', everyMs, clock, logger, round: look });
  return { name: loop.name, start: loop.start, stop: loop.stop, look };
}
