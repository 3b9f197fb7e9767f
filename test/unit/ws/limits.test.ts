import { describe, expect, test } from 'bun:test';
import type { ServerWebSocket } from 'bun';
import { Outbox } from '../../../src/ws/outbox.ts';
import { TokenBucket } from '../../../src/ws/rate-limit.ts';
import { createManualClock } from '../../support/manual-clock.ts';

/** A socket whose peer reads when it is told to. */
function setUp() {
  const state = { waiting: 0, dropping: false };
  const take = (data: string | Uint8Array) => {
    if (state.dropping) return 0;
    state.waiting += data.length;
    return -1;
  };
  const socket = {
    sendText: take,
    sendBinary: take,
    getBufferedAmount: () => state.waiting,
  } as unknown as ServerWebSocket<unknown>;
  const clock = createManualClock();
  return { state, clock, outbox: new Outbox(socket, { budgetBytes: 200_000, stallMs: 1_000 }, clock) };
}

describe('an outbox', () => {
  test('asks for no more above the high mark, until little is left', async () => {
    const { outbox, state } = setUp();
    outbox.send('x'.repeat(60_000));
    expect(outbox.ready()).toBeNull();
    outbox.send('x'.repeat(10_000));
    const room = outbox.ready();
    expect(room).toBeInstanceOf(Promise);
    let resumed = false;
    void room?.then(() => {
      resumed = true;
    });
    state.waiting = 30_000;
    outbox.check();
    await null;
    expect(resumed).toBe(false);
    state.waiting = 10_000;
    outbox.check();
    await null;
    expect(resumed).toBe(true);
    expect(outbox.ready()).toBeNull();
  });

  test('takes one frame of any size, and none above the budget', () => {
    const { outbox } = setUp();
    expect(outbox.send('x'.repeat(1_000_000))).toBe(true);
    expect(outbox.send('x')).toBe(false);
  });

  test('is given up when nothing moves, and not while something does', () => {
    const { outbox, state, clock } = setUp();
    outbox.send('x'.repeat(100_000));
    expect(outbox.check()).toBe(true);
    for (let i = 0; i < 10; i++) {
      clock.advance(900);
      state.waiting -= 100;
      expect(outbox.check()).toBe(true);
    }
    clock.advance(1_000);
    expect(outbox.check()).toBe(false);
  });

  test('counts a dropped frame as the end', () => {
    const { outbox, state } = setUp();
    state.dropping = true;
    expect(outbox.send('x')).toBe(false);
  });

  test('is not behind any more once all is sent', () => {
    const { outbox, state, clock } = setUp();
    outbox.send('x'.repeat(100_000));
    state.waiting = 0;
    expect(outbox.check()).toBe(true);
    expect(outbox.behind).toBe(false);
    outbox.send('x'.repeat(100_000));
    clock.advance(900);
    expect(outbox.check()).toBe(true);
  });
});

test('a token bucket gives a burst, then so many a second, and says how long to wait', () => {
  const bucket = new TokenBucket(10, 3, 0);
  expect([0, 0, 0, 0].map((now) => bucket.take(now))).toEqual([0, 0, 0, 100]);
  expect(bucket.take(50)).toBe(50);
  expect(bucket.take(100)).toBe(0);
  expect(bucket.take(100)).toBe(100);
  expect([60_000, 60_000, 60_000, 60_000].map((now) => bucket.take(now))).toEqual([0, 0, 0, 100]);
});
