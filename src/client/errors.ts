/** What a call rejects with: a problem document of the server's, or a failure on the way to it. */
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  code?: string;
  detail?: string;
  trace_id?: string;
  errors?: { path: string; message: string }[];
}

/**
 * `network`: no answer arrived. `timeout`: no acknowledgement in time. `closed`: the connection was closed by its owner.
 * `invalid_response`: something between us and the server answered in its place. The others are the contract's.
 */
export type ClientErrorCode =
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'invalid_request'
  | 'conflict'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'malware_detected'
  | 'rate_limited'
  | 'queue_full'
  | 'quota_exceeded'
  | 'provider_unavailable'
  | 'unavailable'
  | 'internal'
  | 'network'
  | 'timeout'
  | 'closed'
  | 'invalid_response'
  | (string & {});

export interface ClientErrorOptions {
  status?: number | undefined;
  traceId?: string | undefined;
  fields?: { path: string; message: string }[] | undefined;
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly code: ClientErrorCode;
  /** The HTTP status; 0 where there was none. */
  readonly status: number;
  readonly traceId: string | undefined;
  readonly fields: readonly { path: string; message: string }[];
  /** When another try makes sense, in milliseconds from now. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ClientErrorCode, message: string, options: ClientErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status ?? 0;
    this.traceId = options.traceId;
    this.fields = options.fields ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The error of an answer that is not 2xx. `body` is the text as it came; anything but problem+json is named as such. */
export function errorOfAnswer(status: number, body: string, retryAfter: string | null): ClientError {
  const problem = parseProblem(body);
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  return new ClientError(
    problem?.code ?? (status === 401 ? 'unauthenticated' : status >= 500 ? 'unavailable' : 'invalid_response'),
    problem?.detail ?? problem?.title ?? `The server answered with status ${status}.`,
    {
      status,
      traceId: problem?.trace_id,
      fields: problem?.errors,
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : undefined,
    },
  );
}

function parseProblem(body: string): Problem | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Problem) : undefined;
  } catch {
    return undefined;
  }
}

/** The session is over: no refresh will help, somebody has to log in. */
export function isSignedOut(error: unknown): boolean {
  return error instanceof ClientError && error.code === 'unauthenticated';
}
