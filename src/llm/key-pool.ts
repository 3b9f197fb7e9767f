/**
 * Several API keys, used in turn. A key is `ready`; or `cooling` until a time, because the provider said so (429), because
 * it refused the key (401, 403), or because the key's breaker opened after failures in a row. When a breaker's time is
 * over the key is `probing`: one request may try it, and decides. Beside that each key has the provider's allowance a minute
 * (`rate-limits.ts`): a ready key whose allowance is used up is lent with the time to wait before the request is sent.
 *
 * A provider that fails for whichever key opens the breakers of all together: one key after the other, a document would have spent
 * its attempts before the last one opens. And a breaker opens once for what was sent before it did: sixteen requests that break
 * together are one failure, and not fifteen more.
 *
 * Not cockatiel's breaker: that reads the wall clock and knows neither `Retry-After` nor other keys, and a key's three
 * reasons to rest must be one answer to "when can anybody try again".
 */
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { ProviderFailure } from './provider-failure.ts';
import { createRateLimits, type LimitKind, type Need, type RateLimits, readRateLimits } from './rate-limits.ts';

export interface KeyPoolOptions {
  /** Empty: the server wants none. */
  keys: readonly string[];
  clock: Clock;
  /** Failures in a row that open a key's breaker; failures in a row whatever the keys open those of all. Default 5. */
  failuresToOpen?: number;
  /** How long a breaker stays open the first time; doubled each time in a row, up to 16 ×. Default 10 s. */
  openMs?: number;
  /** How long a refused key rests. Default 60 s. */
  rejectedMs?: number;
  /** What all keys are called in logs and metrics; default: each by its place in the list. */
  label?: string | undefined;
}

export interface KeyLease {
  readonly key: string;
  /** The key's place in the list, from 1: for logs and metrics. */
  readonly label: string;
  /** Milliseconds that the provider's limits ask to wait before the request is sent, and which of them does. */
  readonly waitMs: number;
  readonly waitsFor: LimitKind;
  /** False when the key began to rest while somebody waited. */
  isUsable(): boolean;
  /** Learns the limits from the headers of an answer, good or bad; returns them. */
  answered(headers: Headers | undefined): ReturnType<typeof readRateLimits>;
  succeeded(): void;
  failed(failure: ProviderFailure): void;
  /** The request ended for a reason that says nothing about the key. */
  abandoned(): void;
  /** The request was never sent. */
  giveBack(): void;
}

export interface KeyPool {
  /**
   * The next usable key, of those that need not wait if there are any, else the one that waits least. Throws
   * `provider_unavailable` with `retryAfterMs` when every key rests, or has to wait longer than `maxWaitMs`.
   */
  acquire(need?: Need, maxWaitMs?: number): KeyLease;
  /** True when some key does not rest. */
  hasReady(): boolean;
  /** What `acquire` throws while every key rests: why (its cause: the failure), and when the first may be tried. */
  restingError(): AppError;
  readonly size: number;
}

interface Key {
  readonly key: string;
  readonly label: string;
  coolUntil: number;
  reason: ProviderFailure | undefined;
  failures: number;
  opened: number;
  probing: boolean;
  readonly limits: RateLimits;
}

const NO_NEED: Need = { model: '', tokens: 0 };
/** A 429 that does not say for how long, of a key whose limits are not known either. */
const UNSAID_COOLDOWN_MS = 1_000;
const PROBE_WAIT_MS = 1_000;

export function createKeyPool({
  keys,
  clock,
  failuresToOpen = 5,
  openMs = 10_000,
  rejectedMs = 60_000,
  label,
}: KeyPoolOptions): KeyPool {
  const pool: Key[] = (keys.length > 0 ? keys : ['']).map((key, index) => ({
    key,
    label: label ?? String(index + 1),
    coolUntil: 0,
    reason: undefined,
    failures: 0,
    opened: 0,
    probing: false,
    limits: createRateLimits(),
  }));
  let turn = 0;
  /** Failures of the provider since anything succeeded, of all keys. */
  let failuresInRow = 0;

  const isReady = (key: Key): boolean => key.coolUntil <= clock.now() && !(key.opened > 0 && key.probing);

  function rest(key: Key, ms: number, reason: ProviderFailure): void {
    key.coolUntil = Math.max(key.coolUntil, clock.now() + ms);
    key.reason = reason;
  }

  function open(key: Key, reason: ProviderFailure): void {
    rest(key, openMs * 2 ** Math.min(key.opened, 4), reason);
    key.opened += 1;
  }

  /** `opened`: how often the breaker had opened when the request was sent. */
  function countFailure(key: Key, opened: number, failure: ProviderFailure): void {
    if (failure.retryAfterMs !== undefined) rest(key, failure.retryAfterMs, failure);
    if (key.opened > opened) return;
    key.failures += 1;
    failuresInRow += 1;
    if (key.failures >= failuresToOpen || key.opened > 0) open(key, failure);
    if (failuresInRow < failuresToOpen) return;
    for (const other of pool) if (other.opened === 0) open(other, failure);
  }

  function lease(key: Key, need: Need, waitsFor: LimitKind): KeyLease {
    key.probing = key.opened > 0;
    const { opened } = key;
    const share = key.limits.take(need, clock);
    return {
      key: key.key,
      label: key.label,
      waitMs: share.waitMs,
      waitsFor,
      isUsable: () => key.coolUntil <= clock.now(),
      answered(headers) {
        const limits = readRateLimits(headers);
        share.answered(limits);
        return limits;
      },
      giveBack() {
        key.probing = false;
        share.giveBack();
      },
      succeeded() {
        share.ended();
        key.probing = false;
        key.failures = 0;
        key.opened = 0;
        failuresInRow = 0;
      },
      abandoned() {
        share.ended();
        key.probing = false;
      },
      failed(failure) {
        share.ended();
        key.probing = false;
        if (failure.kind === 'rate_limited') {
          const learnt = Math.max(key.limits.waitFor(need, clock.now()).ms, UNSAID_COOLDOWN_MS);
          rest(key, failure.retryAfterMs ?? learnt, failure);
        } else if (failure.kind === 'key_rejected') rest(key, failure.retryAfterMs ?? rejectedMs, failure);
        else if (failure.kind === 'unavailable') countFailure(key, opened, failure);
      },
    };
  }

  function restingError(): AppError {
    const next = pool.reduce((soonest, key) => (key.coolUntil < soonest.coolUntil ? key : soonest));
    const reason = next.reason?.message ?? '';
    const detail = pool.length > 1 ? `None of the ${pool.length} API keys can be used now. ${reason}` : reason;
    return new AppError('provider_unavailable', detail, {
      cause: next.reason,
      retryAfterMs: Math.max(next.coolUntil - clock.now(), PROBE_WAIT_MS),
    });
  }

  return {
    size: pool.length,
    hasReady: () => pool.some(isReady),
    restingError,
    acquire(need = NO_NEED, maxWaitMs = Number.POSITIVE_INFINITY) {
      let least: { key: Key; place: number; ms: number; kind: LimitKind } | undefined;
      for (let step = 0; step < pool.length && least?.ms !== 0; step += 1) {
        const place = (turn + step) % pool.length;
        const key = pool[place];
        if (!key || !isReady(key)) continue;
        const wait = key.limits.waitFor(need, clock.now());
        if (!least || wait.ms < least.ms) least = { key, place, ...wait };
      }
      if (!least) throw restingError();
      if (least.ms > maxWaitMs) {
        const detail = `The limit of ${least.kind} that the model provider sets is used up for now.`;
        throw new AppError('provider_unavailable', detail, { retryAfterMs: least.ms });
      }
      turn = (least.place + 1) % pool.length;
      return lease(least.key, need, least.kind);
    },
  };
}
