/** How attempts at an upload end otherwise than by publishing: tried again, failed, dead, cancelled, handed back. */
import type { Scoped } from '../../actors/effect.ts';
import type { IngestAttempt } from '../../actors/upload-pipeline.ts';
import type { Job } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { ExtractError } from '../ingest/extract-error.ts';
import { backoffMs } from '../kernel/backoff.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { cancelled, failed, type Outcome, released, retryIn, superseded } from '../kernel/outcome.ts';
import { ProviderFailure } from '../llm/provider-failure.ts';
import { requeue } from '../repositories/attempts.ts';
import { deleteVersion } from '../repositories/chunks.ts';
import { setDocumentStatus } from '../repositories/documents.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import { appendTaskLog, dischargeTasks, endTask } from '../repositories/tasks.ts';
import type { Announcer } from './announcer.ts';
import type { IngestionAnnouncements } from './ingestion-announcements.ts';
import { keyOf, namesOf, Superseded, type Work } from './ingestion-work.ts';
import { CANCELLED_ERROR } from './tasks.ts';
import type { UsageMeter } from './usage-meter.ts';

export interface IngestionEndingsOptions {
  database: Database;
  announcer: Announcer;
  announcements: IngestionAnnouncements;
  random: () => number;
  logger: Logger;
  metrics: Metrics;
  maxAttempts: number;
  meter: Pick<UsageMeter, 'embedded'>;
  workOf(attempt: IngestAttempt): Work;
  forgetTextOfDeleted(work: Work): Promise<void>;
}

const RETRY = { baseMs: 1_000, maxMs: 300_000 };
/**
 * Codes of PostgreSQL for what is not the document's doing: no disk, no memory, a collision, a lock that others held. Not
 * those of a statement that took too long: its document may be why.
 */
const CROWDED = /^(53\w{3}|40P01|40001|55P03)$/;

/** How a failure is told to people, and whether trying again can help. `pauseMs`: where nobody says when. */
function classify(error: unknown, pauseMs: () => number): Outcome {
  if (error instanceof ExtractError) return failed(error.code, error.message);
  if (error instanceof AppError) {
    // What we stand on is away: that is not the document's failure, and says when to come back.
    if (error.kind === 'unavailable') return retryIn(error.retryAfterMs, 'internal', error.message);
    if (error.kind === 'quota_exceeded') return retryIn(error.retryAfterMs, 'quota_exceeded', error.message);
    if (error.kind === 'provider_unavailable')
      return retryIn(error.retryAfterMs, 'provider_unavailable', error.message);
    // A provider that refuses what it is sent: its operator may set that right meanwhile, and whoever waits reads why.
    if (error.cause instanceof ProviderFailure) return retryIn(undefined, 'provider_unavailable', error.message);
  }
  // As if it were away; but what was bought before it is refused is bought again, so ever more seldom.
  if (error instanceof Error && 'code' in error && CROWDED.test(String(error.code)))
    return retryIn(pauseMs(), 'internal', 'The database has no room at the moment.');
  return retryIn(undefined, 'internal', 'Something went wrong on our side.');
}

export function createIngestionEndings(options: IngestionEndingsOptions) {
  const { database, announcer, logger, metrics, meter, workOf, forgetTextOfDeleted } = options;
  const { announceTask } = options.announcements;

  /** Settles the task and frees its place in the queue; false where another attempt owns it. */
  async function end(
    sql: Sql,
    taskId: string,
    attempt: number,
    status: 'succeeded' | 'failed' | 'cancelled' | 'dead',
    error: { code: string; message: string } | null,
  ): Promise<boolean> {
    const ended = await endTask(sql, taskId, attempt, { status, error });
    if (!ended) return false;
    await dischargeTasks(sql, 1, ended.size);
    return true;
  }

  async function fail({
    job,
    attempt,
    error,
  }: Scoped & { job: Job; attempt: IngestAttempt | undefined; error: unknown }): Promise<Outcome> {
    // Without an attempt nothing was begun, so nothing can be written down.
    if (!attempt) throw error;
    const work = workOf(attempt);
    if (error instanceof Superseded) {
      await forgetTextOfDeleted(work);
      return superseded;
    }
    const outcome = classify(error, () => backoffMs(work.attempt - 1, { ...RETRY, random: options.random }));
    logger.warn({ err: error, task_id: job.id, attempt: work.attempt }, `ingest attempt failed: ${messageOf(error)}`);
    if (outcome.type === 'retry') return retryOrDie(work, outcome);
    if (outcome.type === 'failed') return finishFailed(work, 'failed', outcome);
    return outcome;
  }

  async function retryOrDie(work: Work, outcome: Extract<Outcome, { type: 'retry' }>): Promise<Outcome> {
    // A provider that says when to come back is waited for; its pauses are not the document's failures.
    const counted = outcome.afterMs === undefined;
    if (counted && work.begun.retry_count + 1 >= options.maxAttempts) return finishFailed(work, 'dead', outcome);
    const afterMs = outcome.afterMs ?? backoffMs(work.begun.retry_count, { ...RETRY, random: options.random });
    const { code, message } = outcome;
    const requeued = await database.tenant(async (sql) => {
      if (!(await requeue(sql, keyOf(work), { afterMs, counted, error: { code, message } }))) return false;
      // It was paid for, whether or not something came of it.
      await meter.embedded(sql, work.bought);
      await appendTaskLog(sql, work.taskId, {
        attempt: work.attempt,
        level: 'warn',
        message: `${message} Trying again in ${Math.ceil(afterMs / 1_000)} s.`,
      });
      return true;
    });
    if (!requeued) return superseded;
    await announceTask(work);
    return outcome;
  }

  async function finishFailed(
    work: Work,
    status: 'failed' | 'dead',
    { code, message }: { code: string; message: string },
  ): Promise<Outcome> {
    const error = { code, message };
    const ended = await database.tenant(async (sql) => {
      if (!(await end(sql, work.taskId, work.attempt, status, error))) return false;
      await meter.embedded(sql, work.bought);
      await setDocumentStatus(sql, work.document.id, 'failed', error);
      const { document_id, task_id } = namesOf(work);
      if (status === 'dead')
        await appendOutbox(sql, 'task.dead', { document_id, task_id, attempt: work.attempt, error });
      await appendOutbox(sql, 'document.failed', { ...namesOf(work), error });
      await appendTaskLog(sql, work.taskId, { attempt: work.attempt, level: 'error', message });
      return true;
    });
    if (!ended) return superseded;
    metrics.tasks.inc({ kind: 'ingest', status });
    await announceTask(work);
    await announcer.hint('user', 'document.failed', {
      document_id: work.document.id,
      task_id: work.taskId,
      title: work.document.title,
      error,
    });
    return failed(code, message);
  }

  async function cancel(work: Work): Promise<Outcome> {
    const ended = await database.tenant(async (sql) => {
      if (!(await end(sql, work.taskId, work.attempt, 'cancelled', null))) return false;
      await meter.embedded(sql, work.bought);
      await setDocumentStatus(sql, work.document.id, 'failed', CANCELLED_ERROR);
      await deleteVersion(sql, work.document.id, work.begun.document_version);
      await appendOutbox(sql, 'document.failed', { ...namesOf(work), error: CANCELLED_ERROR });
      await appendTaskLog(sql, work.taskId, { attempt: work.attempt, level: 'info', message: 'Cancelled.' });
      return true;
    });
    if (!ended) {
      await forgetTextOfDeleted(work);
      return superseded;
    }
    metrics.tasks.inc({ kind: 'ingest', status: 'cancelled' });
    await announceTask(work);
    return cancelled;
  }

  async function release(work: Work): Promise<Outcome> {
    const handed = await database.tenant(async (sql) => {
      const requeued = await requeue(sql, keyOf(work), { afterMs: 0, counted: false, error: null });
      if (requeued) await meter.embedded(sql, work.bought);
      return requeued;
    });
    return handed ? released : superseded;
  }

  return { fail, finishFailed, cancel, release };
}
