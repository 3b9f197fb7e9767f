/** Runs one request with the pool's keys: another key at once where one was refused, else a few tries with full jitter. */
import { APIError } from 'openai';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import type { KeyLease, KeyPool } from './key-pool.ts';
import type { ProviderObserver } from './observer.ts';
import { classify, type ProviderFailure, toAppError } from './provider-failure.ts';
import type { Need } from './rate-limits.ts';

export interface AttemptPolicy {
  /** Requests at most, the first included; a key that refuses does not count. */
  attempts: number;
  /** Ceiling of the first pause; doubled each time (full jitter: 0…ceiling, Brooker 2015). */
  baseMs: number;
  /** A longer wait is the caller's: it gets the error with `retryAfterMs`. */
  maxWaitMs: number;
}

export interface AttemptOptions {
  pool: KeyPool;
  clock: Clock;
  random(): number;
  logger: Logger;
  observer: ProviderObserver;
  operation: 'chat' | 'embeddings';
  /** What the request takes of the provider's limits. */
  need: Need;
  policy: AttemptPolicy;
  signal: AbortSignal;
}

/** Resolves with the first success. Rejects with an `AppError`, or with the signal's reason when it aborts. */
export async function attempt<T>(options: AttemptOptions, call: (lease: KeyLease) => Promise<T>): Promise<T> {
  const { pool, clock, random, policy, signal } = options;
  let failures = 0;
  let refusals = 0;
  for (;;) {
    signal.throwIfAborted();
    if (failures > 0 && !pool.hasReady()) await waitForKey(options, false);
    const lease = pool.acquire(options.need, policy.maxWaitMs);
    if (!(await waitForLimit(options, lease))) continue;
    const started = clock.now();
    try {
      const result = await call(lease);
      lease.succeeded();
      options.observer.request?.({
        operation: options.operation,
        key: lease.label,
        status: '200',
        ms: clock.now() - started,
      });
      return result;
    } catch (error) {
      if (error instanceof APIError) answered(options, lease, error.headers);
      if (signal.aborted) {
        lease.abandoned();
        options.observer.request?.({
          operation: options.operation,
          key: lease.label,
          status: 'aborted',
          ms: clock.now() - started,
        });
        throw signal.reason;
      }
      const failure = classify(error, clock.now());
      report(options, lease, failure, clock.now() - started);
      if (failure.kind === 'bad_request' || failure.kind === 'unusable') throw toAppError(failure);
      if (failure.kind !== 'unavailable' && refusals < pool.size && pool.hasReady()) {
        refusals += 1;
        continue;
      }
      failures += 1;
      const spent = failures >= policy.attempts;
      if (failure.kind !== 'unavailable') {
        if (spent || !pool.hasReady()) await waitForKey(options, spent);
        continue;
      }
      const pause = failure.retryAfterMs ?? random() * policy.baseMs * 2 ** (failures - 1);
      if (spent || pause > policy.maxWaitMs) throw toAppError(failure);
      await clock.sleep(pause, signal);
    }
  }
}

/** Keeps what an answer's headers say of the key's limits, and tells the metrics. To be called with each answer. */
export function answered(
  { observer, operation }: Pick<AttemptOptions, 'observer' | 'operation'>,
  lease: KeyLease,
  headers: Headers | undefined,
): void {
  const limits = Object.values(lease.answered(headers));
  if (limits.length === 0) return;
  const usedPct = Math.max(...limits.map(({ limit, remaining }) => (100 * (limit - remaining)) / limit));
  observer.limit?.({ operation, key: lease.label, usedPct });
}

/** Waits for the provider's limits; false when the key began to rest meanwhile and another is to be asked for. */
async function waitForLimit({ clock, observer, operation, signal }: AttemptOptions, lease: KeyLease): Promise<boolean> {
  if (lease.waitMs === 0) return true;
  observer.waited?.({ operation, key: lease.label, kind: lease.waitsFor, ms: lease.waitMs });
  try {
    await clock.sleep(lease.waitMs, signal);
  } catch (error) {
    lease.giveBack();
    throw error;
  }
  if (lease.isUsable()) return true;
  lease.giveBack();
  return false;
}

/** Tells the pool, the log and the metrics of a failure. */
export function report(
  { logger, observer, operation }: AttemptOptions,
  lease: KeyLease,
  failure: ProviderFailure,
  ms: number,
): void {
  lease.failed(failure);
  observer.request?.({ operation, key: lease.label, status: failure.status, ms });
  logger.warn(
    { operation, key: lease.label, status: failure.status, retry_after_ms: failure.retryAfterMs },
    failure.message,
  );
}

/** Waits until a resting key may be tried; throws why none can where that takes too long, or where no try is left. */
async function waitForKey({ pool, clock, policy, signal }: AttemptOptions, spent: boolean): Promise<void> {
  const resting = pool.restingError();
  const wait = resting.retryAfterMs ?? 0;
  if (spent || wait > policy.maxWaitMs) throw resting;
  await clock.sleep(wait, signal);
}
