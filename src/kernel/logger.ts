/** Structured logs: one JSON object a line, each with the trace id and tenant of the work that wrote it. */
import pino from 'pino';
import { newTraceId, scopeIfAny } from './context.ts';

export type Logger = pino.Logger;

export interface LoggerOptions {
  level: string;
  role?: string;
  destination?: pino.DestinationStream;
}

export function createLogger({ level, role, destination }: LoggerOptions): Logger {
  // What belongs to no request (start, loops, stop) belongs to this process.
  const ownTraceId = newTraceId();
  const options: pino.LoggerOptions = {
    level,
    base: { service: 'dreamhub', ...(role && { role }) },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: ['password', '*.password', 'token', '*.token', 'authorization', '*.authorization', 'headers.authorization'],
    mixin() {
      const scope = scopeIfAny();
      return scope
        ? { trace_id: scope.traceId, tenant_id: scope.tenantId, user_id: scope.userId }
        : { trace_id: ownTraceId };
    },
  };
  return destination ? pino(options, destination) : pino(options);
}

export const silentLogger: Logger = pino({ level: 'silent' });
