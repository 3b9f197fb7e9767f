/** Marks of ended sessions: one key each, gone when the last access token of the session has expired. */
import type { RedisClient } from './clients.ts';
import type { Keys } from './keys.ts';

export interface SessionMarks {
  /** Remembers an ended session for `ttlSeconds`. */
  mark(sessionId: string, ttlSeconds: number): Promise<void>;
  has(sessionId: string): Promise<boolean>;
}

export function createSessionMarks({ client, keys }: { client: RedisClient; keys: Keys }): SessionMarks {
  return {
    async mark(sessionId, ttlSeconds) {
      await client.set(keys.revoked(sessionId), '1', 'EX', ttlSeconds);
    },
    async has(sessionId) {
      return (await client.exists(keys.revoked(sessionId))) === 1;
    },
  };
}
