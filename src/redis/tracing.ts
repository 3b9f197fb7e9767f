/**
 * Tells ioredis whether anybody traces commands. It describes each one, arguments and all, and wraps its promise, unless
 * `TracingChannel.hasSubscribers` is false. Node.js has that property and Bun 1.4 has not, where it took an eighth of the
 * processor time of a call.
 */
import { tracingChannel } from 'node:diagnostics_channel';

const PARTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const;

/** Gives this process's tracing channels the property where it is missing. Fine to call twice. */
export function completeTracingChannels(): void {
  const prototype: object = Object.getPrototypeOf(tracingChannel('dreamhub'));
  if ('hasSubscribers' in prototype) return;
  Object.defineProperty(prototype, 'hasSubscribers', {
    configurable: true,
    get(this: ReturnType<typeof tracingChannel>): boolean {
      return PARTS.some((part) => this[part].hasSubscribers);
    },
  });
}
