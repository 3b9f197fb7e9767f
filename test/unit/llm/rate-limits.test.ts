import { describe, expect, test } from 'bun:test';
import { createKeyPool } from '../../../src/llm/key-pool.ts';
import { createRateLimits, type LearntLimits, readDuration, readRateLimits } from '../../../src/llm/rate-limits.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const MODEL = 'model';
const need = (tokens = 0) => ({ model: MODEL, tokens });
const requests = (limit: number, remaining: number, resetMs: number | undefined): LearntLimits => ({
  requests: { limit, remaining, resetMs },
});

describe('durations of rate-limit headers', () => {
  test.each<[string, number | undefined]>([
    ['1s', 1_000],
    ['6m0s', 360_000],
    ['120ms', 120],
    ['1h2m3.5s', 3_723_500],
    ['2d', 172_800_000],
    ['7.5', 7_500],
    ['0s', 0],
    ['', undefined],
    ['soon', undefined],
    ['-1s', undefined],
    ['1s later', undefined],
  ])('%p is %p milliseconds', (text, ms) => expect(readDuration(text)).toBe(ms));
});

describe('rate-limit headers', () => {
  test('are read for requests and tokens apart', () => {
    const headers = new Headers({
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '59',
      'x-ratelimit-reset-requests': '1s',
      'x-ratelimit-limit-tokens': '150000',
      'x-ratelimit-remaining-tokens': '149984',
      'x-ratelimit-reset-tokens': '6m0s',
    });
    expect(readRateLimits(headers)).toEqual({
      requests: { limit: 60, remaining: 59, resetMs: 1_000 },
      tokens: { limit: 150_000, remaining: 149_984, resetMs: 360_000 },
    });
  });

  test('that name a moment where a span belongs are not waited for until then', () => {
    const headers = new Headers({
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '1893456000',
    });
    expect(readRateLimits(headers)).toEqual(requests(60, 0, undefined));
  });

  test('limit nothing where they are missing, half there or nonsense', () => {
    expect(readRateLimits(undefined)).toEqual({});
    expect(readRateLimits(new Headers())).toEqual({});
    expect(readRateLimits(new Headers({ 'x-ratelimit-limit-requests': '60' }))).toEqual({});
    const nonsense = { 'x-ratelimit-limit-requests': '0', 'x-ratelimit-remaining-requests': '0' };
    expect(readRateLimits(new Headers(nonsense))).toEqual({});
    const words = { 'x-ratelimit-limit-tokens': 'many', 'x-ratelimit-remaining-tokens': '-5' };
    expect(readRateLimits(new Headers(words))).toEqual({});
  });
});

describe("a key's limits", () => {
  test('let everything through until something is known', () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    for (let i = 0; i < 1_000; i += 1) expect(limits.take(need(1e9), clock).waitMs).toBe(0);
  });

  test('give each who waits a later moment than the one before, and the first to what is left', () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    limits.take(need(), clock).answered(requests(60, 1, 59_000));
    expect([1, 2, 3].map(() => limits.take(need(), clock).waitMs)).toEqual([0, 1_000, 2_000]);
  });

  test('fill at the rate that limit, remaining and reset tell, whatever the window', () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    limits.take(need(), clock).answered(requests(200, 0, 86_400_000));
    expect(limits.waitFor(need(), clock.now()).ms).toBe(432_000);
    clock.advance(432_000);
    expect(limits.waitFor(need(), clock.now()).ms).toBe(0);
  });

  test('never hold more than the limit, however long nothing was sent', () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    limits.take(need(), clock).answered(requests(2, 1, 30_000));
    clock.advance(3_600_000);
    expect([1, 2, 3].map(() => limits.take(need(), clock).waitMs)).toEqual([0, 0, 30_000]);
  });

  test('take off what is under way: the provider has not counted it yet', () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    const first = limits.take(need(), clock);
    const second = limits.take(need(), clock);
    first.answered(requests(60, 1, 59_000));
    expect(limits.waitFor(need(), clock.now()).ms).toBe(1_000);
    second.answered(requests(60, 0, 60_000));
    expect(limits.waitFor(need(), clock.now()).ms).toBe(1_000);
  });

  test('believe the later request where answers come in the other order', () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    const first = limits.take(need(), clock);
    const second = limits.take(need(), clock);
    second.answered(requests(60, 0, 60_000));
    first.answered(requests(60, 1, 59_000));
    expect(limits.waitFor(need(), clock.now()).ms).toBeGreaterThanOrEqual(1_000);
  });

  test('get back the share of a request that was never sent', () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    limits.take(need(), clock).answered(requests(60, 1, 59_000));
    limits.take(need(), clock).giveBack();
    expect(limits.waitFor(need(), clock.now()).ms).toBe(0);
  });

  test('send a request larger than the whole allowance when that is full, so that the provider can refuse it', () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    limits.take(need(), clock).answered({ tokens: { limit: 1_000, remaining: 500, resetMs: 30_000 } });
    expect(limits.waitFor(need(5_000), clock.now())).toEqual({ ms: 30_000, kind: 'tokens' });
  });

  test("are each model's own", () => {
    const clock = createManualClock();
    const limits = createRateLimits();
    limits.take(need(), clock).answered(requests(60, 0, 60_000));
    expect(limits.waitFor({ model: 'other', tokens: 0 }, clock.now()).ms).toBe(0);
  });
});

describe('a pool with learnt limits', () => {
  const headers = new Headers({
    'x-ratelimit-limit-requests': '60',
    'x-ratelimit-remaining-requests': '0',
    'x-ratelimit-reset-requests': '60s',
  });

  test('takes the key that need not wait, then the one that waits least', () => {
    const pool = createKeyPool({ keys: ['a', 'b'], clock: createManualClock() });
    pool.acquire(need()).answered(headers);
    expect([1, 2, 3].map(() => pool.acquire(need()).key)).toEqual(['b', 'b', 'b']);
    pool.acquire(need()).answered(headers);
    expect([1, 2].map(() => pool.acquire(need())).map(({ key, waitMs }) => `${key} ${waitMs}`)).toEqual([
      'a 1000',
      'a 2000',
    ]);
  });

  test('says when to come back instead of lending a key for longer than anybody waits', () => {
    const pool = createKeyPool({ keys: ['a'], clock: createManualClock() });
    pool.acquire(need()).answered(headers);
    expect(() => pool.acquire(need(), 500)).toThrow(
      expect.objectContaining({ kind: 'provider_unavailable', retryAfterMs: 1_000 }),
    );
    expect(pool.acquire(need(), 1_000).waitMs).toBe(1_000);
  });
});
