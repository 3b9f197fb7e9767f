import { type Clock, systemClock } from '../../src/kernel/clock.ts';

/** Time that a test moves by hand; what waits, waits by the real one. */
export function movableClock(): Clock & { forward(ms: number): void } {
  let offset = 0;
  return {
    ...systemClock,
    now: () => systemClock.now() + offset,
    forward(ms) {
      offset += ms;
    },
  };
}
