/**
 * One error class and one table of kinds. Whatever goes wrong and is meant for somebody's eyes is an `AppError`;
 * the table says which HTTP status and WebSocket close code it gets and whether trying again can help.
 * It is rendered in one place for each delivery: `http/plugins/errors.ts`, `ws/connection.ts`.
 */
export const ERROR_KINDS = {
  unauthenticated: { status: 401, title: 'Not authenticated', closeCode: 4401, retryable: false },
  forbidden: { status: 403, title: 'Forbidden', closeCode: 4403, retryable: false },
  not_found: { status: 404, title: 'Not found', closeCode: 4404, retryable: false },
  malformed: { status: 400, title: 'Malformed request', closeCode: 4400, retryable: false },
  invalid_request: { status: 422, title: 'Invalid request', closeCode: 4400, retryable: false },
  conflict: { status: 409, title: 'Conflict', closeCode: 4400, retryable: false },
  payload_too_large: { status: 413, title: 'Payload too large', closeCode: 4409, retryable: false },
  unsupported_media_type: { status: 415, title: 'Unsupported media type', closeCode: 4400, retryable: false },
  malware_detected: { status: 422, title: 'Malware detected', closeCode: 4400, retryable: false },
  rate_limited: { status: 429, title: 'Too many requests', closeCode: 4429, retryable: true },
  queue_full: { status: 429, title: 'Queue full', closeCode: 4429, retryable: true },
  quota_exceeded: { status: 429, title: 'Quota exceeded', closeCode: 4429, retryable: true },
  provider_unavailable: { status: 503, title: 'Model provider unavailable', closeCode: 4408, retryable: true },
  unavailable: { status: 503, title: 'Temporarily unavailable', closeCode: 4408, retryable: true },
  internal: { status: 500, title: 'Internal error', closeCode: 4500, retryable: true },
} as const;

export type ErrorKind = keyof typeof ERROR_KINDS;

export interface FieldError {
  /** JSON pointer or field name of the offending input, `''` for the whole body. */
  path: string;
  message: string;
}

export interface AppErrorOptions {
  cause?: unknown;
  errors?: FieldError[];
  /** Milliseconds after which another try makes sense; becomes `Retry-After` on 429 and 503. */
  retryAfterMs?: number;
  /** HTTP status where a protocol has one of its own for this (tus: 412, 460); default: the kind's. */
  status?: number;
}

/** `detail` is shown to the caller word for word, so it never holds secrets, SQL or another tenant's data. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly kind: ErrorKind;
  readonly errors: FieldError[] | undefined;
  readonly retryAfterMs: number | undefined;
  readonly #status: number | undefined;

  constructor(kind: ErrorKind, detail: string, options: AppErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.errors = options.errors;
    this.retryAfterMs = options.retryAfterMs;
    this.#status = options.status;
  }

  get status(): number {
    return this.#status ?? ERROR_KINDS[this.kind].status;
  }

  /** The contract's `code`: `malformed` is `invalid_request` to the outside, with status 400. */
  get code(): string {
    return this.kind === 'malformed' ? 'invalid_request' : this.kind;
  }

  get retryable(): boolean {
    return ERROR_KINDS[this.kind].retryable;
  }
}

/** Codes of PostgreSQL for what was waited for too long, collided with something else, or found no room. */
const BUSY = /^(57014|55P03|40P01|40001|53\w{3})$/;

/**
 * Wraps anything thrown: what a database says that is only busy is `unavailable`; whatever else is not an `AppError` becomes
 * an `internal` that says nothing of its cause.
 */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof Error && 'code' in error && BUSY.test(String(error.code))) {
    return new AppError('unavailable', 'The database is busy.', { cause: error, retryAfterMs: 1_000 });
  }
  return new AppError('internal', 'Something went wrong on our side.', { cause: error });
}

/** The text of anything thrown, for logs. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
