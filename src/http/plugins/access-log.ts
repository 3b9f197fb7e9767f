/**
 * One line a request, written when its answer's head is ready; and the last net for what was thrown outside Elysia. What
 * went well is told at `debug`: writing it costs a fifth of a small request, and metrics count it anyway.
 */
import { Elysia } from 'elysia';
import type { Logger } from '../../kernel/logger.ts';
import { stateOf } from '../request-state.ts';
import type { RenderError } from './errors.ts';

export interface AccessLogOptions {
  logger: Logger;
  render: RenderError;
}

/** An upgraded socket has no response. */
const SWITCHED = 101;

export function accessLogPlugin({ logger, render }: AccessLogOptions) {
  return new Elysia({ name: 'access-log' }).wrap((handle, request) => async () => {
    const started = performance.now();
    let response: unknown;
    try {
      response = await handle(request);
    } catch (error) {
      response = render(error, request);
    }
    const { path, traceId, principal, operator } = stateOf(request);
    const status = response instanceof Response ? response.status : SWITCHED;
    const line = {
      method: request.method,
      path,
      status,
      ms: Math.round((performance.now() - started) * 10) / 10,
      trace_id: traceId,
      ...(operator && { operator }),
      ...(principal && { tenant_id: principal.tenantId, user_id: principal.userId }),
    };
    logger[status < 400 ? 'debug' : 'info'](line, 'request');
    return response;
  });
}
