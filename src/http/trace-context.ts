/** W3C Trace Context (https://www.w3.org/TR/trace-context/): the part of it that arrives in and leaves by a header. */
import { newTraceId } from '../kernel/context.ts';

export interface TraceContext {
  /** 32 lower-case hex digits. */
  traceId: string;
  /** Names this request as the parent of what it causes. */
  traceparent: string;
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:$|-)/;

/** Continues the caller's trace in a span of our own; a header that is no valid traceparent starts a new one. */
export function continueTrace(header: string | null): TraceContext {
  const [, traceId = newTraceId(), flags = '01'] = TRACEPARENT.exec(header ?? '') ?? [];
  return { traceId, traceparent: `00-${traceId}-${newSpanId()}-${flags}` };
}

function newSpanId(): string {
  return newTraceId().slice(16);
}
