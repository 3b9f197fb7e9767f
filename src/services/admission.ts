/** What somebody is told whose document was not admitted to the queue. */
import type { Sql } from '../db/database.ts';
import { AppError } from '../kernel/errors.ts';
import { getByteLimit, type QueueLimits } from '../repositories/admission.ts';

/** How long somebody whose queue is full should wait before trying again. */
const RETRY_MS = 5_000;

/** `queue_full`, or `payload_too_large` for a document that no empty queue would take: waiting would not help it. */
export async function refusalOf(sql: Sql, size: number, limits: QueueLimits): Promise<AppError> {
  const most = await getByteLimit(sql, limits);
  return size > most
    ? new AppError('payload_too_large', `At most ${most} bytes of this tenant may be waiting to be processed.`)
    : new AppError('queue_full', 'Too many documents are waiting to be processed.', { retryAfterMs: RETRY_MS });
}
