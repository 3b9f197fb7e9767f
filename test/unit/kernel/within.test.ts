import { describe, expect, test } from 'bun:test';
import { within } from '../../../src/kernel/within.ts';
import { createCountingClock } from '../../support/counting-clock.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const never = new Promise<never>(() => {});

describe('within a time', () => {
  test('comes what the promise came to, and no timer stays behind', async () => {
    const clock = createCountingClock();
    expect(await within(clock, 60_000, Promise.resolve(1), () => 2)).toBe(1);
    const failed = within(clock, 60_000, Promise.reject(new Error('refused')), () => 2);
    expect(await failed.catch((error: Error) => error.message)).toBe('refused');
    expect(clock.waiting()).toBe(0);
  });

  test('comes what is given instead once the time is up, and not a moment before', async () => {
    const clock = createManualClock();
    let asked = 0;
    const answer = within(clock, 100, never, () => ++asked);
    clock.advance(99);
    await Promise.resolve();
    expect(asked).toBe(0);
    clock.advance(1);
    expect(await answer).toBe(1);
  });

  test('what is thrown instead is the rejection', async () => {
    const clock = createManualClock();
    const answer = within(clock, 100, never, () => {
      throw new Error('late');
    });
    clock.advance(100);
    expect(await answer.catch((error: Error) => error.message)).toBe('late');
  });

  test('a failure after the time is up harms nobody', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on('unhandledRejection', note);
    try {
      const clock = createManualClock();
      const step = Promise.withResolvers<never>();
      const answer = within(clock, 100, step.promise, () => 'late');
      clock.advance(100);
      expect(await answer).toBe('late');
      step.reject(new Error('too late to matter'));
      await new Promise((resolve) => setImmediate(resolve));
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });
});
