/**
 * Marks of ended sessions and of users whose role has changed: one key each, gone when the last access token that says
 * otherwise has expired.
 */
import type { RedisClient } from './clients.ts';
import type { Keys } from './keys.ts';

export interface SessionMarks {
  /** Remembers an ended session for `ttlSeconds`. */
  markEnded(sessionId: string, ttlSeconds: number): Promise<void>;
  /** Remembers for `ttlSeconds` that tokens may say what the user no longer is. */
  markChanged(userId: string, ttlSeconds: number): Promise<void>;
  look(session: { sessionId: string; userId: string }): Promise<{ ended: boolean; changed: boolean }>;
}

export function createSessionMarks({ client, keys }: { client: RedisClient; keys: Keys }): SessionMarks {
  return {
    async markEnded(sessionId, ttlSeconds) {
      await client.set(keys.revoked(sessionId), '1', 'EX', ttlSeconds);
    },
    async markChanged(userId, ttlSeconds) {
      await client.set(keys.changed(userId), '1', 'EX', ttlSeconds);
    },
    async look({ sessionId, userId }) {
      // Two commands: in a cluster the keys are in different slots.
      const [ended, changed] = await Promise.all([
        client.exists(keys.revoked(sessionId)),
        client.exists(keys.changed(userId)),
      ]);
      return { ended: ended === 1, changed: changed === 1 };
    },
  };
}
