/**
 * Sends what is due to webhooks, each event until it is answered with 2xx: at least once. Attempts are spaced by exponential
 * backoff with full jitter, over about half a day, or by what the receiver asks for in `Retry-After` where that is longer; 410
 * ends the webhook. A slow receiver takes its own tenant's slots alone, and slots that are free go to the tenants that have had
 * least of them in the last minutes: the backlogs of a few whose receivers hang are older than whatever happens to others now.
 *
 * States of a delivery here: claimed (its row says when this attempt counts as lost) → sent → recorded. A process that
 * dies in between leaves it to whoever claims it then; one that stops hands it back uncounted.
 */
import type { Database } from '../db/database.ts';
import type { DatabaseClock } from '../db/database-clock.ts';
import { backoffMs } from '../kernel/backoff.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Sealer } from '../kernel/sealing.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import {
  type AttemptResult,
  type ClaimedDelivery,
  claimDeliveries,
  deactivateWebhook,
  endDelivery,
  handBackDelivery,
  postponeDelivery,
  pruneDeliveries,
  resealSecret,
} from '../repositories/webhook-deliveries.ts';
import { NotSent, type WebhookRequests } from './webhook-request.ts';
import { secretContext, signedHeaders } from './webhook-signature.ts';

export interface WebhookSender extends Service {
  /** Sends what is due now; resolves when every attempt is recorded, with their number. */
  send(): Promise<number>;
}

export interface WebhookSenderOptions {
  database: Database;
  requests: Pick<WebhookRequests, 'post'>;
  /** Undefined where this process was not given the secret to open them with: what is sealed waits for another one. */
  sealer: Sealer | undefined;
  /** What senders of several processes agree on, if they are to share the work: when things are due is in their rows. */
  clock: Clock & Partial<Pick<DatabaseClock, 'agree'>>;
  random: () => number;
  logger: Logger;
  everyMs?: number;
  /** Requests at once, of all tenants and of one. */
  concurrency?: number;
  tenantConcurrency?: number;
}

const MAX_ATTEMPTS = 14;
const RETRY = { baseMs: 10_000, maxMs: 12 * 3_600_000 };
/** Well above what a request may take. */
const LEASE_MS = 120_000;
const KEEP_MS = 7 * 86_400_000;
const PRUNE_EVERY_MS = 600_000;
const PRUNED_AT_ONCE = 5_000;
const USER_AGENT = 'DreamHub-Webhooks/1';
const GONE = 410;
/** What a receiver may ask for at most: above, our own pauses are long enough. */
const MAX_RETRY_AFTER_MS = 86_400_000;
/** Until another process may have taken what this one cannot open. */
const NOT_OURS_MS = 60_000;

const cannotOpen = (): AppError => new AppError('internal', 'A webhook secret cannot be opened here.');

/** After which what somebody had of the slots counts half. */
const HALF_LIFE_MS = 60_000;

/** Milliseconds of slots that tenants have had, an attempt a millisecond at least, fading; those of nobody are forgotten. */
function createShares(clock: Pick<Clock, 'now'>) {
  const shares = new Map<string, { ms: number; at: number }>();
  const left = ({ ms, at }: { ms: number; at: number }) => ms * 2 ** (-Math.max(0, clock.now() - at) / HALF_LIFE_MS);
  return {
    add(tenantId: string, ms: number): void {
      const known = shares.get(tenantId);
      shares.set(tenantId, { ms: (known ? left(known) : 0) + Math.max(1, ms), at: clock.now() });
    },
    all(): Map<string, number> {
      const all = new Map([...shares].map(([tenantId, share]) => [tenantId, left(share)]));
      for (const [tenantId, ms] of all) if (ms < 1) shares.delete(tenantId);
      return all;
    },
  };
}

type Answered = AttemptResult & { retryAfterMs: number | undefined };

export function createWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const { database, requests, sealer, clock, random, logger } = options;
  const { everyMs = 1_000, concurrency = 32, tenantConcurrency = 4 } = options;
  /** Requests that run, by tenant. */
  const running = new Map<string, number>();
  const attempts = new Set<Promise<void>>();
  const shares = createShares(clock);
  let stopping = new AbortController();
  let prunedAt = Number.NEGATIVE_INFINITY;

  const at = (afterMs = 0) => new Date(clock.now() + afterMs);

  /** The secret itself; sealed anew where it is not, or under an old key. */
  async function secretOf(delivery: ClaimedDelivery): Promise<Uint8Array> {
    const { tenantId, webhookId, secret, sealed } = delivery;
    const context = secretContext(tenantId, webhookId);
    if (!sealer) {
      if (sealed) throw cannotOpen();
      return secret;
    }
    const plain = sealed ? sealer.open(secret, context) : secret;
    if (!sealed || sealer.isOld(secret)) {
      await database.system((sql) => resealSecret(sql, delivery, sealer.seal(plain, context)));
    }
    return plain;
  }

  async function post(delivery: ClaimedDelivery, secret: Uint8Array, signal: AbortSignal): Promise<Answered> {
    const { url, payload: body, eventId } = delivery;
    const headers = {
      'content-type': 'application/json',
      'user-agent': USER_AGENT,
      ...signedHeaders({ id: eventId, at: clock.now(), body, secret }),
    };
    try {
      const { status, retryAfterMs } = await requests.post({ url, headers, body, signal });
      const isFine = status >= 200 && status < 300;
      return { status, error: isFine ? null : `The answer was ${status}.`, retryAfterMs };
    } catch (error) {
      if (!(error instanceof NotSent)) throw error;
      return { status: null, error: error.message, retryAfterMs: undefined };
    }
  }

  async function record(delivery: ClaimedDelivery, { retryAfterMs = 0, ...result }: Answered): Promise<void> {
    const { attempt } = delivery;
    await database.system(async (sql) => {
      if (result.error === null) return endDelivery(sql, delivery, { ...result, outcome: 'delivered', at: at() });
      if (result.status === GONE || attempt >= MAX_ATTEMPTS) {
        await endDelivery(sql, delivery, { ...result, outcome: 'failed', at: at() });
        if (result.status === GONE) await deactivateWebhook(sql, delivery, { reason: result.error, at: at() });
        return;
      }
      const pauseMs = Math.max(
        backoffMs(attempt - 1, { ...RETRY, random }),
        Math.min(retryAfterMs, MAX_RETRY_AFTER_MS),
      );
      await postponeDelivery(sql, delivery, { ...result, at: at(pauseMs) });
    });
  }

  async function attempt(delivery: ClaimedDelivery, signal: AbortSignal): Promise<void> {
    try {
      const secret = await secretOf(delivery).catch((error: unknown) => error);
      if (!(secret instanceof Uint8Array)) {
        // Another process, or this one once it has the secret, can send it: nothing is counted.
        await database.system((sql) => handBackDelivery(sql, delivery, at(NOT_OURS_MS)));
        throw secret;
      }
      const result = await post(delivery, secret, signal);
      await record(delivery, result);
    } catch (error) {
      // What is neither sent nor recorded is tried again when its attempt counts as lost; here we may say so at once.
      if (!signal.aborted) throw error;
      await database.system((sql) => handBackDelivery(sql, delivery, at()));
    }
  }

  function begin(delivery: ClaimedDelivery): Promise<void> {
    const { tenantId, id } = delivery;
    running.set(tenantId, (running.get(tenantId) ?? 0) + 1);
    const begun = clock.now();
    const done = attempt(delivery, stopping.signal)
      .catch((error: unknown) => {
        logger.error({ err: error, tenant_id: tenantId, delivery: id }, `webhook not recorded: ${messageOf(error)}`);
      })
      .finally(() => {
        shares.add(tenantId, clock.now() - begun);
        const left = (running.get(tenantId) ?? 1) - 1;
        if (left > 0) running.set(tenantId, left);
        else running.delete(tenantId);
        attempts.delete(done);
      });
    attempts.add(done);
    return done;
  }

  /** Starts attempts in the slots that are free; returns them. */
  async function fill(): Promise<Promise<void>[]> {
    const limit = concurrency - attempts.size;
    if (limit <= 0) return [];
    const without = [...running].filter(([, count]) => count >= tenantConcurrency).map(([tenantId]) => tenantId);
    const claim = { at: at(), leaseMs: LEASE_MS, limit, perTenant: tenantConcurrency, without, used: shares.all() };
    const claimed = await database.system((sql) => claimDeliveries(sql, claim));
    return claimed.map(begin);
  }

  async function prune(): Promise<void> {
    if (clock.now() - prunedAt < PRUNE_EVERY_MS) return;
    const pruned = await database.system((sql) => pruneDeliveries(sql, at(-KEEP_MS), PRUNED_AT_ONCE));
    if (pruned < PRUNED_AT_ONCE) prunedAt = clock.now();
  }

  const loop = createLoop({
    name: 'webhook-sender',
    everyMs,
    clock,
    logger,
    async round() {
      await clock.agree?.();
      await prune();
      const begun = await fill();
      // Whatever ends makes room for more.
      for (const done of begun) void done.then(() => loop.wake());
    },
  });

  return {
    name: loop.name,
    async start() {
      if (stopping.signal.aborted) stopping = new AbortController();
      await loop.start();
    },
    async stop() {
      stopping.abort(new Error('the webhook sender stopped'));
      await loop.stop();
      await Promise.all(attempts);
    },
    async send() {
      await clock.agree?.();
      await prune();
      const begun = await fill();
      await Promise.all(begun);
      return begun.length;
    },
  };
}
