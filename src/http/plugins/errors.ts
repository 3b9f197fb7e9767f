/**
 * The one place where an error becomes an HTTP answer: `application/problem+json` (RFC 9457) with the contract's `code`.
 * Whatever is no `AppError` is `internal`, says nothing but its trace id, and is logged with its cause. Must be used
 * before the routes: Elysia gives a hook only to what is registered after it.
 */
import { Elysia, NotFoundError, ParseError, ValidationError } from 'elysia';
import { AppError, ERROR_KINDS, toAppError } from '../../kernel/errors.ts';
import type { Logger } from '../../kernel/logger.ts';
import { fieldErrorsOf } from '../field-errors.ts';
import { isOpenAiPath, openAiErrorResponse } from '../openai/errors.ts';
import { stateOf } from '../request-state.ts';

export type RenderError = (error: unknown, request: Request) => Response;

/** Seconds for `Retry-After` where the error does not know better. */
const DEFAULT_RETRY_SECONDS = 5;

function classify(error: unknown, request: Request): AppError {
  if (error instanceof ValidationError) return classifyValidation(error, request);
  // A parser's own refusal arrives wrapped.
  if (error instanceof ParseError) {
    return error.cause instanceof AppError
      ? error.cause
      : new AppError('malformed', 'The request body cannot be parsed.', { cause: error });
  }
  if (error instanceof NotFoundError) return new AppError('not_found', 'There is no such resource.');
  return toAppError(error);
}

function classifyValidation(error: ValidationError, request: Request): AppError {
  const errors = fieldErrorsOf(error);
  if (error.type === 'response') {
    const what = errors.map(({ path, message }) => `${path} ${message}`).join('; ');
    const cause = new Error(
      `the answer of ${request.method} ${stateOf(request).path} does not fit its schema: ${what}`,
    );
    return toAppError(cause);
  }
  // A path that cannot name a row names none.
  if (error.type === 'params') return new AppError('not_found', 'There is no such resource.');
  return new AppError(
    'invalid_request',
    `The ${error.type === 'query' ? 'query' : 'request'} does not fit its schema.`,
    { errors },
  );
}

function headersOf(error: AppError): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': 'application/problem+json' };
  if (error.status === 401) headers['www-authenticate'] = 'Bearer';
  const saysWhen = error.status === 409 && error.retryAfterMs !== undefined;
  if (error.status === 429 || error.status === 503 || saysWhen) {
    const seconds = error.retryAfterMs === undefined ? DEFAULT_RETRY_SECONDS : Math.ceil(error.retryAfterMs / 1_000);
    headers['retry-after'] = String(Math.max(1, seconds));
  }
  return headers;
}

export function createErrorRenderer({ logger }: { logger: Logger }): RenderError {
  return (thrown, request) => {
    const { traceId, path } = stateOf(request);
    const error = classify(thrown, request);
    if (error.kind === 'internal') {
      // Nobody is left to read the answer of a request that was broken off, and breaking off is no fault of ours.
      const level = request.signal.aborted ? 'debug' : 'error';
      logger[level]({ err: error.cause ?? error, trace_id: traceId, method: request.method }, 'a request failed');
    } else {
      // What may come again by itself is worth a look where there is something behind it.
      const level = error.kind === 'unavailable' && error.cause !== undefined ? 'warn' : 'debug';
      logger[level]({ err: error.cause ?? error, trace_id: traceId }, 'a request was refused');
    }
    if (isOpenAiPath(path)) return openAiErrorResponse(error, traceId, headersOf(error));
    const body = {
      type: 'about:blank',
      title: ERROR_KINDS[error.kind].title,
      status: error.status,
      code: error.code,
      detail: error.message,
      trace_id: traceId,
      ...(error.errors && { errors: error.errors }),
    };
    return new Response(JSON.stringify(body), { status: error.status, headers: headersOf(error) });
  };
}

export function errorsPlugin({ render }: { render: RenderError }) {
  return new Elysia({ name: 'errors' }).onError({ as: 'global' }, ({ error, request }) => render(error, request));
}
