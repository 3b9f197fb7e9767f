/**
 * A tenant's domain events as a Redis stream, for consumers of their own groups: field `event` is the event as JSON. It
 * keeps the last thousand or so, and is gone a week after the last one, so that an idle tenant costs Redis nothing.
 */
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { loadScripts } from './scripts.ts';

export interface DomainEventStream {
  /** Appends events, in order, all or none. Rejects where Redis did not say so: then they may be there all the same. */
  append(tenantId: string, events: readonly string[]): Promise<void>;
  /** False while Redis is known to be away. */
  isReady(): boolean;
}

export interface DomainEventStreamOptions {
  clients: Pick<RedisClients, 'producer'>;
  keys: Keys;
  maxLength?: number;
  ttlSeconds?: number;
}

export function createDomainEventStream({
  clients,
  keys,
  maxLength = 1_000,
  ttlSeconds = 7 * 86_400,
}: DomainEventStreamOptions): DomainEventStream {
  const run = loadScripts(clients.producer);
  return {
    isReady: () => clients.producer.status === 'ready',
    async append(tenantId, events) {
      await run('publish', [keys.domainEvents(tenantId)], [maxLength, ttlSeconds, ...events]);
    },
  };
}
