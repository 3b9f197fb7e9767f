/**
 * Several API keys, used in turn. A key is `ready`; or `cooling` until a time, because the provider said so (429), because
 * it refused the key (401, 403), or because the key's breaker opened after failures in a row. When a breaker's time is
 * over the key is `probing`: one request may try it, and decides.
 *
 * Not cockatiel's breaker: that reads the wall clock and knows neither `Retry-After` nor other keys, and a key's three
 * reasons to rest must be one answer to "when can anybody try again".
 */
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { ProviderFailure } from './provider-failure.ts';

export interface KeyPoolOptions {
  /** Empty: the server wants none. */
  keys: readonly string[];
  clock: Clock;
  /** Failures in a row that open a key's breaker. Default 5. */
  failuresToOpen?: number;
  /** How long a breaker stays open the first time; doubled each time in a row, up to 16 ×. Default 10 s. */
  openMs?: number;
  /** How long a refused key rests. Default 60 s. */
  rejectedMs?: number;
}

export interface KeyLease {
  readonly key: string;
  /** The key's place in the list, from 1: for logs and metrics. */
  readonly label: string;
  succeeded(): void;
  failed(failure: ProviderFailure): void;
  /** The request ended for a reason that says nothing about the key. */
  abandoned(): void;
}

export interface KeyPool {
  /** The next usable key. Throws `provider_unavailable` with `retryAfterMs` when every key rests. */
  acquire(): KeyLease;
  /** True when `acquire` would not throw. */
  hasReady(): boolean;
  /** What `acquire` throws while every key rests: why, and when the first may be tried. */
  restingError(): AppError;
  readonly size: number;
}

interface Key {
  readonly key: string;
  readonly label: string;
  coolUntil: number;
  reason: string;
  failures: number;
  opened: number;
  probing: boolean;
}

/** A 429 that does not say for how long. */
const UNSAID_COOLDOWN_MS = 1_000;
const PROBE_WAIT_MS = 1_000;

export function createKeyPool({
  keys,
  clock,
  failuresToOpen = 5,
  openMs = 10_000,
  rejectedMs = 60_000,
}: KeyPoolOptions): KeyPool {
  const pool: Key[] = (keys.length > 0 ? keys : ['']).map((key, index) => ({
    key,
    label: String(index + 1),
    coolUntil: 0,
    reason: '',
    failures: 0,
    opened: 0,
    probing: false,
  }));
  let turn = 0;

  const isReady = (key: Key): boolean => key.coolUntil <= clock.now() && !(key.opened > 0 && key.probing);

  function rest(key: Key, ms: number, reason: string): void {
    key.coolUntil = Math.max(key.coolUntil, clock.now() + ms);
    key.reason = reason;
  }

  function lease(key: Key): KeyLease {
    key.probing = key.opened > 0;
    return {
      key: key.key,
      label: key.label,
      succeeded() {
        key.probing = false;
        key.failures = 0;
        key.opened = 0;
      },
      abandoned() {
        key.probing = false;
      },
      failed(failure) {
        key.probing = false;
        if (failure.kind === 'rate_limited') rest(key, failure.retryAfterMs ?? UNSAID_COOLDOWN_MS, failure.message);
        else if (failure.kind === 'key_rejected') rest(key, failure.retryAfterMs ?? rejectedMs, failure.message);
        else if (failure.kind === 'unavailable') {
          key.failures += 1;
          if (failure.retryAfterMs !== undefined) rest(key, failure.retryAfterMs, failure.message);
          if (key.failures >= failuresToOpen || key.opened > 0) {
            rest(key, openMs * 2 ** Math.min(key.opened, 4), failure.message);
            key.opened += 1;
          }
        }
      },
    };
  }

  function restingError(): AppError {
    const next = pool.reduce((soonest, key) => (key.coolUntil < soonest.coolUntil ? key : soonest));
    const detail =
      pool.length > 1 ? `None of the ${pool.length} API keys can be used now. ${next.reason}` : next.reason;
    return new AppError('provider_unavailable', detail, {
      retryAfterMs: Math.max(next.coolUntil - clock.now(), PROBE_WAIT_MS),
    });
  }

  return {
    size: pool.length,
    hasReady: () => pool.some(isReady),
    restingError,
    acquire() {
      for (let step = 0; step < pool.length; step += 1) {
        const key = pool[(turn + step) % pool.length];
        if (!key || !isReady(key)) continue;
        turn = (turn + step + 1) % pool.length;
        return lease(key);
      }
      throw restingError();
    },
  };
}
