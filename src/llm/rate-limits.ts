/**
 * What a provider lets one key do a minute, learnt from the headers of its answers, and kept before a request is sent.
 *
 * Each of the two allowances (requests, tokens) is a bucket that fills steadily: OpenAI's `remaining` is what is in it now,
 * `reset` the time until it is full (platform.openai.com/docs/guides/rate-limits), so both give the rate, whether the limit
 * is per minute or per day. Servers with fixed windows fill theirs later than we think; their 429 then says so.
 *
 * A request takes its share before it is sent, in debt if need be: it waits until the debt is paid, and whoever comes next waits
 * longer, so nobody wakes in vain. `remaining` knows only requests that arrived, so those still under way are taken off it.
 */
export interface Need {
  /** Limits are the model's. */
  readonly model: string;
  /** Estimated tokens of the request. */
  readonly tokens: number;
}

export type LimitKind = 'requests' | 'tokens';

export interface LearntLimit {
  readonly limit: number;
  readonly remaining: number;
  /** Until all of `limit` is there again; undefined where the header is missing or unreadable. */
  readonly resetMs: number | undefined;
}

export type LearntLimits = Readonly<Partial<Record<LimitKind, LearntLimit>>>;

export interface Share {
  /** Milliseconds until the request may be sent. */
  readonly waitMs: number;
  /** The request was answered, with these headers. */
  answered(limits: LearntLimits): void;
  /** It ended with no answer: it may have been counted. */
  ended(): void;
  /** It was never sent. */
  giveBack(): void;
}

export interface RateLimits {
  /** Milliseconds until a request of this need could be sent, and what it would wait for. */
  waitFor(need: Need, now: number): { ms: number; kind: LimitKind };
  take(need: Need, clock: { now(): number }): Share;
}

interface Bucket {
  limit: number;
  /** What was in it at `at`; below zero: debt. */
  level: number;
  at: number;
  perMs: number;
}

interface ModelLimits {
  readonly buckets: Partial<Record<LimitKind, Bucket>>;
  /** Of requests that have taken their share and were not answered yet. */
  readonly underWay: Record<LimitKind, number>;
  /** The number of the latest request whose answer was learnt from. */
  newest: number;
}

const KINDS: readonly LimitKind[] = ['requests', 'tokens'];
const MINUTE_MS = 60_000;
/** Callers name models; more than these are forgotten, the longest unused first. */
const MAX_MODELS = 32;

export function createRateLimits(): RateLimits {
  const models = new Map<string, ModelLimits>();
  let sequence = 0;

  function limitsOf(model: string): ModelLimits {
    const known = models.get(model) ?? { buckets: {}, underWay: { requests: 0, tokens: 0 }, newest: 0 };
    models.delete(model);
    models.set(model, known);
    const oldest = models.keys().next().value;
    if (models.size > MAX_MODELS && oldest !== undefined) models.delete(oldest);
    return known;
  }

  return {
    waitFor({ model, tokens }, now) {
      const buckets = models.get(model)?.buckets ?? {};
      const requests = waitIn(buckets.requests, 1, now);
      const words = waitIn(buckets.tokens, tokens, now);
      return words > requests ? { ms: words, kind: 'tokens' } : { ms: requests, kind: 'requests' };
    },
    take({ model, tokens }, clock) {
      const limits = limitsOf(model);
      const needs: Record<LimitKind, number> = { requests: 1, tokens };
      sequence += 1;
      const number = sequence;
      const now = clock.now();
      let waitMs = 0;
      for (const kind of KINDS) {
        const bucket = limits.buckets[kind];
        waitMs = Math.max(waitMs, waitIn(bucket, needs[kind], now));
        limits.underWay[kind] += needs[kind];
        if (bucket) fill(bucket, now).level -= fitting(bucket, needs[kind]);
      }
      let settled = false;
      const settle = (): boolean => {
        if (settled) return false;
        settled = true;
        for (const kind of KINDS) limits.underWay[kind] -= needs[kind];
        return true;
      };
      return {
        waitMs,
        ended: () => void settle(),
        giveBack() {
          if (!settle()) return;
          for (const kind of KINDS) {
            const bucket = limits.buckets[kind];
            if (bucket) bucket.level = Math.min(bucket.limit, bucket.level + fitting(bucket, needs[kind]));
          }
        },
        answered(learnt) {
          settle();
          for (const kind of KINDS) {
            const news = learnt[kind];
            if (news) limits.buckets[kind] = learn(limits, kind, news, clock.now(), number >= limits.newest);
          }
          limits.newest = Math.max(limits.newest, number);
        },
      };
    },
  };
}

/** `latest` is false for the answer to a request older than one already learnt from: it may know too little. */
function learn(
  { buckets, underWay }: ModelLimits,
  kind: LimitKind,
  { limit, remaining, resetMs }: LearntLimit,
  now: number,
  latest: boolean,
): Bucket {
  const known = buckets[kind];
  const used = limit - remaining;
  const perMs = used > 0 && resetMs !== undefined && resetMs > 0 ? used / resetMs : (known?.perMs ?? limit / MINUTE_MS);
  const level = remaining - underWay[kind];
  return { limit, at: now, perMs, level: known && !latest ? Math.min(fill(known, now).level, level) : level };
}

function fill(bucket: Bucket, now: number): Bucket {
  bucket.level = Math.min(bucket.limit, bucket.level + Math.max(0, now - bucket.at) * bucket.perMs);
  bucket.at = now;
  return bucket;
}

/** What is larger than the bucket is sent when it is full: the provider shall say that it is too large. */
const fitting = (bucket: Bucket, need: number): number => Math.min(need, bucket.limit);

function waitIn(bucket: Bucket | undefined, need: number, now: number): number {
  if (!bucket) return 0;
  const lacking = fitting(bucket, need) - fill(bucket, now).level;
  return lacking > 0 ? Math.ceil(lacking / bucket.perMs) : 0;
}

/** Of what is counted by the day, with room to spare. */
const LONGEST_RESET_MS = 172_800_000;

/** `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; what is missing or makes no sense limits nothing. */
export function readRateLimits(headers: Headers | undefined): LearntLimits {
  const limits: Partial<Record<LimitKind, LearntLimit>> = {};
  for (const kind of KINDS) {
    const limit = amount(headers?.get(`x-ratelimit-limit-${kind}`));
    const remaining = amount(headers?.get(`x-ratelimit-remaining-${kind}`));
    if (limit === undefined || limit === 0 || remaining === undefined) continue;
    const resetMs = readDuration(headers?.get(`x-ratelimit-reset-${kind}`) ?? '');
    // A moment instead of a span, as some gateways say, would be half a century.
    const isSpan = resetMs !== undefined && resetMs <= LONGEST_RESET_MS;
    limits[kind] = { limit, remaining: Math.min(remaining, limit), resetMs: isSpan ? resetMs : undefined };
  }
  return limits;
}

function amount(text: string | null | undefined): number | undefined {
  const value = Number(text ?? Number.NaN);
  return text?.trim() && Number.isFinite(value) && value >= 0 ? value : undefined;
}

const UNIT_MS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Milliseconds of `1s`, `6m0s`, `120ms`, `1h2m3.5s`, or of a bare number of seconds; undefined for anything else. */
export function readDuration(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^\d+(?:\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1_000;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|[dhms]))+$/.test(trimmed)) return undefined;
  let sum = 0;
  for (const [, number, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|[dhms])/g)) {
    sum += Number(number) * (UNIT_MS[unit ?? ''] ?? 0);
  }
  return sum;
}
