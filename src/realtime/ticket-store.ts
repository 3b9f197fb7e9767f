/** Where tickets wait for their one use. */
import type { RedisClient } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';

export interface TicketStore {
  put(hash: string, value: string, ttlSeconds: number): Promise<void>;
  /** The value, for one caller only; `null` when it was taken, has expired or never was. */
  take(hash: string): Promise<string | null>;
}

export function createTicketStore({ client, keys }: { client: RedisClient; keys: Keys }): TicketStore {
  return {
    async put(hash, value, ttlSeconds) {
      await client.set(keys.ticket(hash), value, 'EX', ttlSeconds);
    },
    take: (hash) => client.getdel(keys.ticket(hash)),
  };
}
