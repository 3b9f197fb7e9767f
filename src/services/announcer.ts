/**
 * Tells readers what has been committed. An announcement that cannot be made is logged and let go: whoever waits for it
 * finds the state in PostgreSQL, and the hub sends it as a reset.
 */
import type {
  EventData,
  EventOf,
  EventPublisher,
  EventType,
  HintTopic,
  LogAppend,
  LogTopic,
  TaskResource,
} from '../contracts/index.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';

export interface Announcer {
  /** Appends to a topic's log; false where a newer attempt has fenced it off. Never rejects. */
  append(what: LogAppend): Promise<boolean>;
  /** As `append`, of one event. */
  log<T extends EventType>(
    topic: LogTopic,
    attempt: number,
    type: T,
    data: EventData[T],
    /** `user` for everything about a private document; default: the topic's own. */
    audience?: 'user' | 'tenant',
  ): Promise<boolean>;
  /** Never rejects. */
  hint<T extends EventType>(topic: HintTopic, type: T, data: EventData[T]): Promise<void>;
}

export function createAnnouncer({ publisher, logger }: { publisher: EventPublisher; logger: Logger }): Announcer {
  async function append(what: LogAppend): Promise<boolean> {
    try {
      const [appended] = await publisher.append([what]);
      return appended ?? false;
    } catch (error) {
      const { topic, event } = what;
      logger.warn({ err: error, topic, type: event.type }, `event not announced: ${messageOf(error)}`);
      return true;
    }
  }

  return {
    append,
    log(topic, attempt, type, data, audience) {
      // The pair is well typed by the signature; TypeScript cannot follow it into the union.
      const event = { type, data } as EventOf;
      return append({ topic, attempt, event, ...(audience && { audience }) });
    },
    async hint(topic, type, data) {
      try {
        await publisher.hint(topic, { type, data } as EventOf);
      } catch (error) {
        logger.warn({ err: error, topic, type }, `hint not announced: ${messageOf(error)}`);
      }
    },
  };
}

/** A task as its events show it. */
export function progressOf(task: TaskResource): EventData['task.progress'] {
  return {
    task_id: task.id,
    document_id: task.document_id,
    status: task.status,
    stage: task.stage,
    progress: task.progress,
    chunks_done: task.chunks_done,
    chunks_total: task.chunks_total,
    attempt: task.attempt,
    error: task.error,
  };
}
