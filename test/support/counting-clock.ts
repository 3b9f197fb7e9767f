/** The system's clock, which knows who still waits for it. */
import { type Clock, systemClock } from '../../src/kernel/clock.ts';

export interface CountingClock extends Clock {
  /** Timers and sleeps that have neither ended nor been cancelled. */
  waiting(): number;
}

export function createCountingClock(): CountingClock {
  let waiting = 0;
  return {
    now: systemClock.now,
    waiting: () => waiting,
    async sleep(ms, signal) {
      waiting += 1;
      try {
        await systemClock.sleep(ms, signal);
      } finally {
        waiting -= 1;
      }
    },
    after(ms, fn) {
      let open = true;
      waiting += 1;
      const close = () => {
        if (open) waiting -= 1;
        open = false;
      };
      const cancel = systemClock.after(ms, () => {
        close();
        fn();
      });
      return () => {
        close();
        cancel();
      };
    },
  };
}
