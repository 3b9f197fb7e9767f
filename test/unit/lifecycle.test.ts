import { describe, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createLoop } from '../../src/kernel/service.ts';
import { createLifecycle, type Part } from '../../src/lifecycle.ts';

function parts(log: string[], replace: Partial<Record<string, Partial<Part>>> = {}): Part[] {
  return ['a', 'b', 'c'].map((name) => ({
    name,
    start: async () => void log.push(`+${name}`),
    stop: async () => void log.push(`-${name}`),
    ...replace[name],
  }));
}
const lifecycleOf = (all: Part[]) => createLifecycle({ parts: all, clock: systemClock, logger: silentLogger });

describe('a lifecycle', () => {
  test('stops in the opposite order, once', async () => {
    const log: string[] = [];
    const life = lifecycleOf(parts(log));
    await life.start();
    await Promise.all([life.stop(), life.stop()]);
    expect(log).toEqual(['+a', '+b', '+c', '-c', '-b', '-a']);
  });

  test('undoes a start that failed, the failing part included', async () => {
    const log: string[] = [];
    const life = lifecycleOf(parts(log, { b: { start: () => Promise.reject(new Error('no')) } }));
    await expect(life.start()).rejects.toThrow('no');
    expect(log).toEqual(['+a', '-b', '-a']);
  });

  test('goes on when a part hangs or throws while stopping', async () => {
    const log: string[] = [];
    const life = lifecycleOf(
      parts(log, {
        c: { stop: () => new Promise(() => {}), stopMs: 5 },
        b: { stop: () => Promise.reject(new Error('no')) },
      }),
    );
    await life.start();
    await life.stop();
    expect(log.at(-1)).toBe('-a');
  });
});

describe('a loop', () => {
  const loopOf = (round: (signal: AbortSignal) => Promise<boolean | undefined>, everyMs = 60_000) =>
    createLoop({ name: 'loop', everyMs, clock: systemClock, logger: silentLogger, round });

  test('runs again at once when woken, even in the middle of a round', async () => {
    let rounds = 0;
    const third = Promise.withResolvers<void>();
    const loop = loopOf(async () => {
      rounds += 1;
      if (rounds === 1) loop.wake();
      if (rounds === 3) third.resolve();
      return undefined;
    });
    await loop.start();
    while (rounds < 2) await Promise.resolve();
    loop.wake();
    await third.promise;
    await loop.stop();
  });

  test('outlives a round that throws', async () => {
    let rounds = 0;
    const second = Promise.withResolvers<void>();
    const loop = loopOf(async () => {
      rounds += 1;
      if (rounds === 1) throw new Error('no');
      second.resolve();
      return undefined;
    }, 1);
    await loop.start();
    await second.promise;
    await loop.stop();
  });

  test('may be started and stopped in any order and number', async () => {
    let running = 0;
    const loop = loopOf(async (signal) => {
      running += 1;
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      running -= 1;
      return undefined;
    });
    await loop.stop();
    await Promise.all([loop.start(), loop.start()]);
    await Promise.all([loop.stop(), loop.stop()]);
    await loop.start();
    await loop.stop();
    expect(running).toBe(0);
  });
});
