/** W3C trace context: `00-<trace id>-<parent id>-<flags>`. */
import type { Scope } from './context.ts';

const TRACEPARENT = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The trace id of a `traceparent`, undefined where it is none. */
export function traceIdOf(traceparent: string | null | undefined): string | undefined {
  const id = TRACEPARENT.exec(traceparent ?? '')?.[1];
  return id === undefined || /^0+$/.test(id) ? undefined : id;
}

/** A `traceparent` that carries the scope's trace to whoever works on its behalf later. */
export function traceparentOf(scope: Scope): string {
  const parent = crypto.getRandomValues(new Uint8Array(8)).toHex();
  return `00-${scope.traceId}-${parent}-01`;
}
