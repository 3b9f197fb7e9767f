/**
 * Bounds guessing: so many login attempts for one e-mail from one address, in a window that starts with the first. Counted
 * before the password is looked at, so that guesses in parallel count too, and forgotten after a login that succeeded.
 * Counters are in Redis, over all nodes; while it is away each process counts for itself.
 */
import { createHash } from 'node:crypto';
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { AppError } from '../kernel/errors.ts';
import type { RedisClient } from './clients.ts';
import type { Keys } from './keys.ts';

export interface LoginAttempts {
  /** Throws `rate_limited` once there were too many. */
  count(email: string, ip: string): Promise<void>;
  forget(email: string, ip: string): Promise<void>;
}

export const MOST_ATTEMPTS = 20;
const WINDOW_SECONDS = 900;

export function createLoginAttempts({ client, keys }: { client: RedisClient; keys: Keys }): LoginAttempts {
  const options = { points: MOST_ATTEMPTS, duration: WINDOW_SECONDS, keyPrefix: keys.loginAttempts() };
  const limiter = new RateLimiterRedis({
    ...options,
    storeClient: client,
    rejectIfRedisNotReady: true,
    insuranceLimiter: new RateLimiterMemory(options),
  });
  // Hashed: an e-mail is nobody's business who looks through the keys.
  const keyOf = (email: string, ip: string) => createHash('sha256').update(`${email}\n${ip}`).digest('base64url');

  return {
    async count(email, ip) {
      try {
        await limiter.consume(keyOf(email, ip));
      } catch (error) {
        if (!(error instanceof RateLimiterRes)) throw error;
        throw new AppError('rate_limited', 'There were too many attempts to log in; wait before the next.', {
          retryAfterMs: error.msBeforeNext,
        });
      }
    },
    async forget(email, ip) {
      await limiter.delete(keyOf(email, ip));
    },
  };
}
