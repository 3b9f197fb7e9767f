/** Waits for what no event tells of (a row, a key of Redis): asks again and again until it holds or the deadline passes. */
import { systemClock } from '../../src/kernel/clock.ts';

const PAUSE_MS = 5;

export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = 20_000,
): Promise<void> {
  const deadline = systemClock.now() + withinMs;
  while (!(await holds())) {
    if (systemClock.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await systemClock.sleep(PAUSE_MS);
  }
}
