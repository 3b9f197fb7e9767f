/** What a failed request to a provider means: whose fault it is, whether another key or another try can help, and when. */
import { APIConnectionError, APIConnectionTimeoutError, APIError } from 'openai';
import { AppError } from '../kernel/errors.ts';

/**
 * `rate_limited` this key must wait · `key_rejected` this key is no good · `unavailable` the provider fails ·
 * `unusable` it answers, but with something that another try would not better (no such model, other dimensions) ·
 * `bad_request` our request is at fault.
 */
export type FailureKind = 'rate_limited' | 'key_rejected' | 'unavailable' | 'unusable' | 'bad_request';

export class ProviderFailure extends Error {
  override readonly name = 'ProviderFailure';
  readonly kind: FailureKind;
  /** For metrics: an HTTP status or a word. */
  readonly status: string;
  readonly retryAfterMs: number | undefined;

  constructor(
    kind: FailureKind,
    detail: string,
    options: { status: string; retryAfterMs?: number | undefined; cause?: unknown },
  ) {
    super(detail, { cause: options.cause });
    this.kind = kind;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** An account without credit stays so for a while; asking again each second helps nobody. */
const NO_CREDIT_MS = 600_000;
/** Whatever a provider says: it is asked again after a day. */
const LONGEST_REST_MS = 86_400_000;

/** `now` in milliseconds since the epoch: a `Retry-After` may be a date. */
export function classify(error: unknown, now: number): ProviderFailure {
  if (error instanceof ProviderFailure) return error;
  if (error instanceof APIConnectionTimeoutError) return timedOut(error);
  if (error instanceof APIConnectionError) {
    return new ProviderFailure('unavailable', 'The model provider cannot be reached.', {
      status: 'connection',
      cause: error,
    });
  }
  if (error instanceof APIError) return fromStatus(error, now);
  return new ProviderFailure('unavailable', 'The model provider broke off or sent something unreadable.', {
    status: 'malformed',
    cause: error,
  });
}

export function timedOut(cause?: unknown): ProviderFailure {
  return new ProviderFailure('unavailable', 'The model provider did not answer in time.', { status: 'timeout', cause });
}

export function malformed(what: string): ProviderFailure {
  return new ProviderFailure('unavailable', `The model provider sent ${what}.`, { status: 'malformed' });
}

function fromStatus(error: InstanceType<typeof APIError>, now: number): ProviderFailure {
  // An error inside a stream has no status; its code tells the common case.
  const status = error.status ?? (error.code === 'rate_limit_exceeded' ? 429 : 500);
  const options = { status: String(status), retryAfterMs: retryAfter(error.headers, now), cause: error };
  const code = typeof error.code === 'string' && /^[\w.-]{1,64}$/.test(error.code) ? ` (${error.code})` : '';
  switch (status) {
    case 401:
    case 403:
      return new ProviderFailure('key_rejected', 'The model provider refuses the API key.', options);
    case 429:
      return new ProviderFailure('rate_limited', `The model provider asks to slow down${code}.`, {
        ...options,
        retryAfterMs: options.retryAfterMs ?? (error.code === 'insufficient_quota' ? NO_CREDIT_MS : undefined),
      });
    case 404:
      return new ProviderFailure('unusable', `The model provider does not know this model or address${code}.`, options);
    case 400:
    case 413:
    case 422:
      return new ProviderFailure('bad_request', `The model provider refuses this request${code}.`, options);
    default:
      return new ProviderFailure('unavailable', `The model provider fails with status ${status}${code}.`, options);
  }
}

/**
 * Milliseconds from `Retry-After` (seconds or a date) or OpenAI's `retry-after-ms`; `undefined` where there is none. Between
 * nothing and a day: a number beyond all days is a mistake, and would be none that a clock or a database can add.
 */
function retryAfter(headers: Headers | undefined, now: number): number | undefined {
  const exact = Number.parseFloat(headers?.get('retry-after-ms') ?? '');
  if (exact >= 0) return bounded(exact);
  const value = headers?.get('retry-after') ?? '';
  const seconds = Number(value);
  if (value.trim() !== '' && !Number.isNaN(seconds)) return bounded(seconds * 1000);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : bounded(date - now);
}

const bounded = (ms: number): number => Math.min(Math.max(0, ms), LONGEST_REST_MS);

/** What callers see. `retryAfterMs` of a failure that says none is left to the caller's own policy. */
export function toAppError(failure: ProviderFailure): AppError {
  const options = { cause: failure, ...(failure.retryAfterMs !== undefined && { retryAfterMs: failure.retryAfterMs }) };
  return failure.kind === 'bad_request'
    ? new AppError('invalid_request', failure.message, options)
    : new AppError('provider_unavailable', failure.message, options);
}
