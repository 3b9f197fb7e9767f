import { describe, expect, test } from 'bun:test';
import { AppError } from '../../../src/kernel/errors.ts';
import { createKeyPool } from '../../../src/llm/key-pool.ts';
import { type FailureKind, ProviderFailure } from '../../../src/llm/provider-failure.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const failure = (kind: FailureKind, retryAfterMs?: number) =>
  new ProviderFailure(kind, `failed: ${kind}`, { status: 'x', retryAfterMs });

function errorOf(fn: () => unknown): AppError {
  try {
    fn();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('key pool', () => {
  test('takes keys in turn', () => {
    const pool = createKeyPool({ keys: ['a', 'b', 'c'], clock: createManualClock() });
    expect([1, 2, 3, 4].map(() => pool.acquire().key)).toEqual(['a', 'b', 'c', 'a']);
  });

  test('has one empty key where the server wants none', () => {
    expect(createKeyPool({ keys: [], clock: createManualClock() }).acquire().key).toBe('');
  });

  test('rests a rate-limited key for as long as the provider says, however long', () => {
    const clock = createManualClock();
    const pool = createKeyPool({ keys: ['a', 'b'], clock });
    pool.acquire().failed(failure('rate_limited', 3_600_000));
    expect([1, 2].map(() => pool.acquire().key)).toEqual(['b', 'b']);
    clock.advance(3_599_999);
    expect(pool.acquire().key).toBe('b');
    clock.advance(1);
    expect(pool.acquire().key).toBe('a');
  });

  test('says when the first key may be tried again while all rest', () => {
    const pool = createKeyPool({ keys: ['a', 'b'], clock: createManualClock() });
    pool.acquire().failed(failure('rate_limited', 90_000));
    pool.acquire().failed(failure('rate_limited', 20_000));
    expect(pool.hasReady()).toBe(false);
    expect(errorOf(() => pool.acquire())).toMatchObject({ kind: 'provider_unavailable', retryAfterMs: 20_000 });
  });

  test('tries a refused key again after a while: it may have been renewed', () => {
    const clock = createManualClock();
    const pool = createKeyPool({ keys: ['a'], clock, rejectedMs: 60_000 });
    pool.acquire().failed(failure('key_rejected'));
    expect(errorOf(() => pool.acquire()).message).toContain('failed: key_rejected');
    clock.advance(60_000);
    expect(pool.acquire().key).toBe('a');
  });

  test('opens the breaker after failures in a row, then lets one probe decide', () => {
    const clock = createManualClock();
    const pool = createKeyPool({ keys: ['a'], clock, failuresToOpen: 3, openMs: 10_000 });
    for (let round = 0; round < 3; round += 1) pool.acquire().failed(failure('unavailable'));
    expect(errorOf(() => pool.acquire()).retryAfterMs).toBe(10_000);
    clock.advance(10_000);
    const probe = pool.acquire();
    expect(() => pool.acquire()).toThrow();
    probe.failed(failure('unavailable'));
    expect(errorOf(() => pool.acquire()).retryAfterMs).toBe(20_000);
    clock.advance(20_000);
    pool.acquire().succeeded();
    for (let round = 0; round < 2; round += 1) pool.acquire().failed(failure('unavailable'));
    expect(pool.hasReady()).toBe(true);
  });

  test('opens all breakers together where the provider fails for whichever key', () => {
    const clock = createManualClock();
    const keys = Array.from({ length: 20 }, (_, place) => `key-${place}`);
    const pool = createKeyPool({ keys, clock, failuresToOpen: 5, openMs: 10_000 });
    for (let failed = 0; failed < 5; failed += 1) {
      expect(pool.hasReady()).toBe(true);
      pool.acquire().failed(failure('unavailable'));
    }
    expect(errorOf(() => pool.acquire()).retryAfterMs).toBe(10_000);
    clock.advance(10_000);
    pool.acquire().succeeded();
    expect(pool.hasReady()).toBe(true);
  });

  test('goes on with the other keys where one fails by itself', () => {
    const pool = createKeyPool({ keys: ['good', 'bad'], clock: createManualClock(), failuresToOpen: 3 });
    for (let round = 0; round < 8; round += 1) {
      const lease = pool.acquire();
      if (lease.key === 'bad') lease.failed(failure('unavailable'));
      else lease.succeeded();
    }
    expect([1, 2, 3].map(() => pool.acquire().key)).toEqual(['good', 'good', 'good']);
  });

  test('opens a breaker once for requests that were under way together', () => {
    const clock = createManualClock();
    const pool = createKeyPool({ keys: ['a'], clock, failuresToOpen: 5, openMs: 10_000 });
    const leases = Array.from({ length: 64 }, () => pool.acquire());
    for (const lease of leases) lease.failed(failure('unavailable'));
    expect(errorOf(() => pool.acquire()).retryAfterMs).toBe(10_000);
    clock.advance(10_000);
    expect(pool.hasReady()).toBe(true);
  });

  test('frees the probe when its request was given up', () => {
    const clock = createManualClock();
    const pool = createKeyPool({ keys: ['a'], clock, failuresToOpen: 1, openMs: 1_000 });
    pool.acquire().failed(failure('unavailable'));
    clock.advance(1_000);
    pool.acquire().abandoned();
    expect(pool.hasReady()).toBe(true);
  });

  test('forgets failures that were not in a row', () => {
    const pool = createKeyPool({ keys: ['a'], clock: createManualClock(), failuresToOpen: 2 });
    for (let round = 0; round < 5; round += 1) {
      pool.acquire().failed(failure('unavailable'));
      pool.acquire().succeeded();
    }
    expect(pool.hasReady()).toBe(true);
  });
});
