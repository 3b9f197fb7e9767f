/** How attempts at a turn end: with an answer, tried again, failed, cancelled, handed back. */
import type { ChatAttempt } from '../../actors/chat-session.ts';
import type { Scoped } from '../../actors/effect.ts';
import type { EventOf, Job } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { backoffMs } from '../kernel/backoff.ts';
import { AppError, type ErrorKind, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { cancelled, done, failed, type Outcome, released, retryIn, superseded } from '../kernel/outcome.ts';
import { requeue } from '../repositories/attempts.ts';
import { countAnswer, insertMessage } from '../repositories/conversations.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import { endTurn, type TurnEnd } from '../repositories/turns.ts';
import type { Announcer } from './announcer.ts';
import { settleUsage } from './answering-usage.ts';
import { keyOf, namesOf, textOf, topicOf, type Work } from './answering-work.ts';
import type { UsageMeter } from './usage-meter.ts';

export interface AnsweringEndingsOptions {
  database: Database;
  announcer: Announcer;
  random: () => number;
  logger: Logger;
  metrics: Metrics;
  maxAttempts: number;
  meter: UsageMeter;
  workOf(attempt: ChatAttempt): Work;
}

const RETRY = { baseMs: 500, maxMs: 30_000 };
/** Failures of ours, that another attempt is made after. */
const OURS: ReadonlySet<ErrorKind> = new Set<ErrorKind>(['internal', 'unavailable']);

/** Each commits the end, if the attempt still owns the turn (else `superseded`), and then tells it. */
export function createAnsweringEndings(options: AnsweringEndingsOptions) {
  const { database, announcer, logger, metrics, meter, workOf } = options;

  /** Through the writer of the text, which restores all of it where the log was lost just before its end. */
  async function tellEnd(
    work: Work,
    event: EventOf<'turn.completed'> | EventOf<'turn.failed'> | EventOf<'turn.cancelled'>,
  ): Promise<void> {
    if (!work.writer) {
      await announcer.log(topicOf(work.turnId), work.attempt, event.type, event.data);
      return;
    }
    try {
      await work.writer.finish(event);
    } catch (error) {
      // It is committed; the log gets its end when Redis is back, and until then readers see the row.
      logger.warn({ err: error, turn_id: work.turnId }, `the end is not announced yet: ${messageOf(error)}`);
    }
  }

  async function persist(work: Work): Promise<Outcome> {
    const { conversation_id: conversationId, answer_id: answerId, message_id: messageId, position } = work.begun;
    const record = settleUsage(work, meter);
    const { sources, usage } = work;
    const text = textOf(work);
    const end: TurnEnd = { status: 'completed', text, sources, usage, error: null };
    const conversation = await database.tenant(async (sql) => {
      if (!(await endTurn(sql, work.turnId, work.attempt, end))) return undefined;
      await record(sql);
      await insertMessage(sql, {
        id: answerId,
        conversationId,
        position: position + 1,
        role: 'assistant',
        content: text,
        sources,
        turnId: work.turnId,
        parentId: messageId,
      });
      await appendOutbox(sql, 'turn.completed', { ...namesOf(work), message_id: answerId, usage });
      return countAnswer(sql, conversationId);
    });
    if (!conversation) return superseded;
    metrics.tasks.inc({ kind: 'turn', status: 'completed' });
    await tellEnd(work, { type: 'turn.completed', data: { message_id: answerId, text, sources, usage } });
    const { id, title, message_count } = conversation;
    const update = { conversation_id: id, title, message_count };
    await announcer.hint(`conversation:${id}`, 'conversation.updated', update);
    await announcer.hint('user', 'conversation.updated', update);
    return done;
  }

  async function fail({
    job,
    attempt,
    error,
  }: Scoped & { job: Job; attempt: ChatAttempt | undefined; error: unknown }): Promise<Outcome> {
    // Without an attempt nothing was begun, so nothing can be written down.
    if (!attempt) throw error;
    const work = workOf(attempt);
    logger.warn({ err: error, turn_id: job.id, attempt: work.attempt }, `answer failed: ${messageOf(error)}`);
    // The provider has been tried again already; somebody who waits is told rather than kept waiting. A database that was
    // away for a moment is no answer to a question: another attempt is.
    const known = error instanceof AppError && !OURS.has(error.kind) ? error : undefined;
    if (!known && work.begun.retry_count + 1 < options.maxAttempts) {
      const afterMs = backoffMs(work.begun.retry_count, { ...RETRY, random: options.random });
      const requeued = await requeueRecorded(work, { afterMs, counted: true });
      return requeued ? retryIn(afterMs, 'internal', messageOf(error)) : superseded;
    }
    const code = known?.code ?? 'internal';
    const message = known?.message ?? 'Something went wrong on our side.';
    return endFailed(work, { code, message, retryable: known?.retryable ?? true });
  }

  /** Puts the turn back; what the attempt has used was used. */
  async function requeueRecorded(work: Work, how: { afterMs: number; counted: boolean }): Promise<boolean> {
    const record = settleUsage(work, meter);
    return database.tenant(async (sql) => {
      const requeued = await requeue(sql, keyOf(work), { ...how, error: null });
      if (requeued) await record(sql);
      return requeued;
    });
  }

  async function endFailed(
    work: Work,
    { code, message, retryable }: { code: string; message: string; retryable: boolean },
  ): Promise<Outcome> {
    const record = settleUsage(work, meter);
    const { sources, usage } = work;
    const end: TurnEnd = { status: 'failed', text: textOf(work), sources, usage, error: { code, message } };
    const ended = await database.tenant(async (sql) => {
      if (!(await endTurn(sql, work.turnId, work.attempt, end))) return false;
      await record(sql);
      await appendOutbox(sql, 'turn.failed', { ...namesOf(work), error: { code, message } });
      return true;
    });
    if (!ended) return superseded;
    metrics.tasks.inc({ kind: 'turn', status: 'failed' });
    await tellEnd(work, { type: 'turn.failed', data: { code, message, retryable } });
    return failed(code, message);
  }

  async function cancel(work: Work): Promise<Outcome> {
    await work.writer?.end();
    const record = settleUsage(work, meter);
    const { sources, usage } = work;
    const text = textOf(work);
    const end: TurnEnd = { status: 'cancelled', text, sources, usage, error: null };
    const ended = await database.tenant(async (sql) => {
      if (!(await endTurn(sql, work.turnId, work.attempt, end))) return false;
      await record(sql);
      await appendOutbox(sql, 'turn.cancelled', namesOf(work));
      return true;
    });
    if (!ended) return superseded;
    metrics.tasks.inc({ kind: 'turn', status: 'cancelled' });
    await tellEnd(work, { type: 'turn.cancelled', data: { text } });
    return cancelled;
  }

  async function release(work: Work): Promise<Outcome> {
    await work.writer?.end();
    const handed = await requeueRecorded(work, { afterMs: 0, counted: false });
    return handed ? released : superseded;
  }

  return { persist, fail, endFailed, cancel, release };
}
