/**
 * Orders that every process hears at once: a session, a user or a tenant has ended (sockets close), a turn or a task is
 * cancelled (its worker aborts the provider's request). They are only the fast way: the row says that a task is cancelled,
 * the revocation mark that a session has ended, and whoever may have missed an order looks there.
 */
import type { Principal } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Service } from '../kernel/service.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { createSubscriber } from '../redis/subscriber.ts';

/** Whose sockets are to close; `erased`: and of whom nothing is to stay in memory. */
export type Ended =
  | { kind: 'session'; tenantId: string; id: string }
  | { kind: 'user'; tenantId: string; id: string; erased?: boolean }
  | { kind: 'tenant'; tenantId: string; erased?: boolean };

/** The order is about this session. */
export function endsSession(ended: Ended, { tenantId, userId, sessionId }: Principal): boolean {
  if (tenantId !== ended.tenantId) return false;
  if (ended.kind === 'tenant') return true;
  return (ended.kind === 'session' ? sessionId : userId) === ended.id;
}

export interface Cancelled {
  kind: 'turn' | 'task';
  tenantId: string;
  id: string;
}

/** What publishes acts in the ambient tenant, and never rejects: the truth was committed before. */
export interface Control {
  /** Logout: closes the session's sockets everywhere. Mark it as revoked first, so that it opens no other. */
  endSession(sessionId: string): Promise<void>;
  /** A role or a key changed: closes the sockets that the user has now. */
  endUser(userId: string, why?: 'erased'): Promise<void>;
  /** Closes the sockets that the tenant has now. */
  endTenant(why?: 'erased'): Promise<void>;
  publishCancel(kind: 'turn' | 'task', id: string): Promise<void>;
  onEnded(listener: (ended: Ended) => void): () => void;
  onCancel(listener: (cancelled: Cancelled) => void): () => void;
  /** Orders may have been missed. */
  onReconnected(listener: () => void): () => void;
}

export interface ControlOptions {
  clients: RedisClients;
  keys: Keys;
  clock: Clock;
  logger: Logger;
}

type Order = { order: 'ended'; ended: Ended } | { order: 'cancelled'; cancelled: Cancelled };

export function createControl({ clients, keys, clock, logger }: ControlOptions): Control & Service {
  const ended = new Set<(ended: Ended) => void>();
  const cancelled = new Set<(cancelled: Cancelled) => void>();
  const reconnected = new Set<() => void>();

  const subscriber = createSubscriber({
    name: 'control',
    clients,
    clock,
    logger,
    message(text) {
      const order = JSON.parse(text) as Order;
      if (order.order === 'ended') for (const listener of [...ended]) listener(order.ended);
      else for (const listener of [...cancelled]) listener(order.cancelled);
    },
    reconnected() {
      for (const listener of [...reconnected]) listener();
    },
  });

  async function publish(order: Order): Promise<void> {
    const { tenantId } = order.order === 'ended' ? order.ended : order.cancelled;
    try {
      await clients.producer.spublish(keys.control(keys.partitionOf(tenantId)), JSON.stringify(order));
    } catch (error) {
      logger.warn({ err: error, order: order.order }, `an order was not published: ${messageOf(error)}`);
    }
  }

  const end = (order: Ended) => publish({ order: 'ended', ended: order });

  function listen<T>(listeners: Set<T>, listener: T): () => void {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  return {
    name: 'control',
    async start() {
      await subscriber.start();
      const channels = Array.from({ length: keys.partitions }, (_, partition) => keys.control(partition));
      // Redis may be away yet: the channels are asked for again when it is there.
      await Promise.allSettled(channels.map((channel) => subscriber.add(channel)));
    },
    stop: () => subscriber.stop(),
    endSession: async (id) => end({ kind: 'session', tenantId: currentScope().tenantId, id }),
    endUser: async (id, why) =>
      end({ kind: 'user', tenantId: currentScope().tenantId, id, ...(why && { erased: true }) }),
    endTenant: async (why) => end({ kind: 'tenant', tenantId: currentScope().tenantId, ...(why && { erased: true }) }),
    publishCancel: async (kind, id) =>
      publish({ order: 'cancelled', cancelled: { kind, tenantId: currentScope().tenantId, id } }),
    onEnded: (listener) => listen(ended, listener),
    onCancel: (listener) => listen(cancelled, listener),
    onReconnected: (listener) => listen(reconnected, listener),
  };
}
