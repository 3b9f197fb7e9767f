/** A clock that moves only when told. `sleeping()` resolves once somebody waits, so that tests need not guess. */
import type { Clock } from '../../src/kernel/clock.ts';

export interface ManualClock extends Clock {
  /** Moves time on and runs what is due, in order of time. */
  advance(ms: number): void;
  /** Resolves with the milliseconds that the next `sleep` (or one going on) asked for; a sleep of 0 is none. */
  sleeping(): Promise<number>;
}

export function createManualClock(start = 1_000_000): ManualClock {
  let now = start;
  let timers: { at: number; fn: () => void }[] = [];
  const sleeps: number[] = [];
  const waiting: ((ms: number) => void)[] = [];

  const clock: ManualClock = {
    now: () => now,
    after(ms, fn) {
      const timer = { at: now + ms, fn };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        if (ms <= 0) return resolve();
        const cancel = clock.after(ms, resolve);
        signal?.addEventListener(
          'abort',
          () => {
            cancel();
            reject(signal.reason);
          },
          { once: true },
        );
        const reader = waiting.shift();
        if (reader) reader(ms);
        else sleeps.push(ms);
      });
    },
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const due = timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!due) break;
        timers = timers.filter((timer) => timer !== due);
        now = due.at;
        due.fn();
      }
      now = end;
    },
    sleeping() {
      const ms = sleeps.shift();
      return ms !== undefined ? Promise.resolve(ms) : new Promise((resolve) => waiting.push(resolve));
    },
  };
  return clock;
}

/** What a promise rejects with. Attached at once, unlike `expect(…).rejects`, which makes Bun wait for it there. */
export function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`It resolved, with ${JSON.stringify(value)}.`);
    },
    (error: unknown) => error,
  );
}
