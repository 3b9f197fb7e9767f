/** One line a request, written when its answer's head is ready; and the last net for what was thrown outside Elysia. */
import { Elysia } from 'elysia';
import type { Logger } from '../../kernel/logger.ts';
import { stateOf } from '../request-state.ts';
import type { RenderError } from './errors.ts';

export interface AccessLogOptions {
  logger: Logger;
  render: RenderError;
}

/** Asked for every few seconds by whoever watches the process: nobody wants to read that. */
const QUIET = new Set(['/health', '/healthz', '/readyz', '/metrics']);

export function accessLogPlugin({ logger, render }: AccessLogOptions) {
  return new Elysia({ name: 'access-log' }).wrap((handle, request) => async () => {
    const started = performance.now();
    let response: unknown;
    try {
      response = await handle(request);
    } catch (error) {
      response = render(error, request);
    }
    const { path, traceId, principal } = stateOf(request);
    const line = {
      method: request.method,
      path,
      // An upgraded socket has no response.
      status: response instanceof Response ? response.status : 101,
      ms: Math.round((performance.now() - started) * 10) / 10,
      trace_id: traceId,
      ...(principal && { tenant_id: principal.tenantId, user_id: principal.userId }),
    };
    logger[QUIET.has(path) ? 'debug' : 'info'](line, 'request');
    return response;
  });
}
