/**
 * The start/stop contract of everything that runs in the background. States: idle → running → stopped; `start` and
 * `stop` may each be called in any state and any number of times, concurrently too; a `start` that failed leaves idle.
 */
import type { Clock } from './clock.ts';
import { runDetached } from './context.ts';
import { messageOf } from './errors.ts';
import type { Logger } from './logger.ts';

export interface Service {
  readonly name: string;
  start(): Promise<void>;
  /** Resolves once nothing of the service runs any more. */
  stop(): Promise<void>;
}

export interface LoopOptions {
  name: string;
  /** Pause between the end of one round and the start of the next, in milliseconds. */
  everyMs: number;
  clock: Clock;
  logger: Logger;
  /** One round. A throw is logged and the loop goes on; return `true` to run the next round at once. */
  round(signal: AbortSignal): Promise<unknown>;
}

export interface Loop extends Service {
  /** Ends the current pause: a hint that there may be work. */
  wake(): void;
}

/** A background loop in no tenant's scope. `stop` aborts the round's signal and waits for the round to return. */
export function createLoop({ name, everyMs, clock, logger, round }: LoopOptions): Loop {
  let controller: AbortController | undefined;
  let running: Promise<void> = Promise.resolve();
  let awake = false;
  let endPause: (() => void) | undefined;

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let again = false;
      awake = false;
      try {
        again = (await round(signal)) === true;
      } catch (error) {
        if (!signal.aborted) logger.error({ err: error, loop: name }, `${name}: ${messageOf(error)}`);
      }
      if (signal.aborted || again || awake) continue;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(everyMs, resolve);
        endPause = () => {
          cancel();
          resolve();
        };
      });
      endPause = undefined;
    }
  }

  return {
    name,
    async start() {
      if (controller) return;
      const own = new AbortController();
      controller = own;
      // A round that a stop has not ended yet is waited for: there is never more than one.
      running = runDetached(() => running.then(() => run(own.signal)));
    },
    async stop() {
      controller?.abort(new Error(`${name} stopped`));
      controller = undefined;
      endPause?.();
      await running;
    },
    wake() {
      awake = true;
      endPause?.();
    },
  };
}
