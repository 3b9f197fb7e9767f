/**
 * Errors as clients of OpenAI's API read them: `{error: {message, type, param, code}}`. The status decides which error class
 * a client throws and whether it tries again, so what does not fit a schema is 400 here, as it is there; `code` is OpenAI's
 * own word where it has one, else the contract's.
 */
import type { AppError, ErrorKind } from '../../kernel/errors.ts';

interface Form {
  status?: number;
  type: string;
  code?: string;
}

const REQUEST: Form = { type: 'invalid_request_error' };
const BAD_REQUEST: Form = { ...REQUEST, status: 400 };
const SERVER: Form = { type: 'server_error' };
const LIMIT: Form = { type: 'rate_limit_error' };

const FORMS: Readonly<Record<ErrorKind, Form>> = {
  unauthenticated: { ...REQUEST, code: 'invalid_api_key' },
  forbidden: { ...REQUEST, code: 'insufficient_permissions' },
  not_found: REQUEST,
  malformed: BAD_REQUEST,
  invalid_request: BAD_REQUEST,
  conflict: REQUEST,
  payload_too_large: REQUEST,
  unsupported_media_type: BAD_REQUEST,
  malware_detected: BAD_REQUEST,
  rate_limited: { ...LIMIT, code: 'rate_limit_exceeded' },
  queue_full: LIMIT,
  quota_exceeded: { type: 'insufficient_quota', code: 'insufficient_quota' },
  provider_unavailable: SERVER,
  unavailable: SERVER,
  internal: SERVER,
};

/** What TypeBox says of a property that its schema does not name. */
const UNNAMED = 'Never';

export interface OpenAiError {
  message: string;
  type: string;
  /** Which parameter is wrong, as in `messages[0].content`. */
  param: string | null;
  code: string;
}

/** Whether errors of this address are told in OpenAI's shape. */
export function isOpenAiPath(path: string): boolean {
  return path === '/v1' || path.startsWith('/v1/');
}

/** `/messages/0/content` as `messages[0].content`. */
function paramOf(path: string): string | null {
  const parts = path.split('/').filter(Boolean);
  const named = parts.reduce((name, part) => (/^\d+$/.test(part) ? `${name}[${part}]` : `${name}.${part}`), '');
  return named.replace(/^\./, '') || null;
}

/** What an error says, in an answer of its own or inside a stream that has begun. */
export function toOpenAiError(error: AppError, traceId: string): OpenAiError {
  const { type, code = error.code } = FORMS[error.kind];
  const [first] = error.errors ?? [];
  const told = (error.errors ?? []).map(
    ({ path, message }) => `${paramOf(path) ?? 'the body'}: ${message === UNNAMED ? 'Unknown parameter' : message}`,
  );
  const traced = error.kind === 'internal' ? [`(trace ${traceId})`] : told;
  return {
    message: [error.message, ...traced].join(' '),
    type,
    param: first === undefined ? null : paramOf(first.path),
    code,
  };
}

/** `headers`: those of the same error anywhere else, `Retry-After` among them. */
export function openAiErrorResponse(error: AppError, traceId: string, headers: Record<string, string>): Response {
  // A client tries 409 and 429 again by itself, where nothing but waiting for days would help.
  const final = !error.retryable || error.kind === 'quota_exceeded';
  return new Response(JSON.stringify({ error: toOpenAiError(error, traceId) }), {
    status: FORMS[error.kind].status ?? error.status,
    headers: {
      ...headers,
      'content-type': 'application/json',
      ...(final && error.retryAfterMs === undefined && { 'x-should-retry': 'false' }),
    },
  });
}
