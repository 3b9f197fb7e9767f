/**
 * Start and stop in phases. Parts are started in order and stopped in the opposite one, each within its own time, so that
 * a part that hangs cannot keep the others from handing their work back. States: new → running → stopped; `stop` may be
 * called at any time, also while starting, and any number of times.
 */
import type { Clock } from './kernel/clock.ts';
import { messageOf } from './kernel/errors.ts';
import type { Logger } from './kernel/logger.ts';
import type { Service } from './kernel/service.ts';
import { within } from './kernel/within.ts';

export interface Part extends Service {
  /** How long its stop may take, in milliseconds. Default 5,000. */
  stopMs?: number;
}

export interface Lifecycle {
  start(): Promise<void>;
  stop(): Promise<void>;
}

const DEFAULT_STOP_MS = 5_000;

export function createLifecycle({
  parts,
  clock,
  logger,
}: {
  parts: readonly Part[];
  clock: Clock;
  logger: Logger;
}): Lifecycle {
  const started: Part[] = [];
  let stopping: Promise<void> | undefined;

  async function stopPart(part: Part): Promise<void> {
    const limit = part.stopMs ?? DEFAULT_STOP_MS;
    try {
      await within(clock, limit, part.stop(), () =>
        logger.warn({ part: part.name, ms: limit }, `${part.name} did not stop in time`),
      );
    } catch (error) {
      logger.error({ err: error, part: part.name }, `${part.name} did not stop: ${messageOf(error)}`);
    }
  }

  async function stopAll(): Promise<void> {
    for (let part = started.pop(); part; part = started.pop()) await stopPart(part);
  }

  return {
    async start() {
      for (const part of parts) {
        if (stopping) break;
        // Counted as started before it has: what a failed start left behind is stopped too.
        started.push(part);
        try {
          await part.start();
        } catch (error) {
          stopping = stopAll();
          await stopping;
          throw error;
        }
      }
    },
    stop() {
      stopping ??= stopAll();
      return stopping;
    },
  };
}
