/**
 * One Redis connection that only listens. States: idle, running, stopped. Channels are asked for again after every
 * reconnect, and a connection that no longer answers is replaced: a half-open socket would stay silent for ever.
 */
import type { Clock } from '../kernel/clock.ts';
import { runDetached } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import type { RedisClient, RedisClients } from '../redis/clients.ts';

export interface SubscriberOptions {
  name: string;
  clients: RedisClients;
  clock: Clock;
  logger: Logger;
  /** Called in the order of publishing, outside every scope. */
  message(text: string): void;
  /** All channels are listened to again after a cut: what was published meanwhile is lost. */
  reconnected(): void;
  /** How often the connection is asked for a sign of life, and how long it may take. Default 5,000. */
  probeMs?: number;
}

export interface Subscriber extends Service {
  /** Resolves once every later message of the channel arrives here. Throws `unavailable` when Redis does not answer. */
  add(channel: string): Promise<void>;
  remove(channel: string): void;
}

const ADD_TIMEOUT_MS = 5_000;

export function createSubscriber(options: SubscriberOptions): Subscriber {
  const { name, clients, clock, logger, probeMs = 5_000 } = options;
  const channels = new Set<string>();
  let client: RedisClient | undefined;

  /** The promise, or `unavailable` after so long: the connection's own commands wait for as long as Redis is away. */
  async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
    promise.catch(() => undefined);
    const late = Promise.withResolvers<never>();
    const cancel = clock.after(ms, () =>
      late.reject(new AppError('unavailable', 'Redis does not answer.', { retryAfterMs: 1_000 })),
    );
    try {
      return await Promise.race([promise, late.promise]);
    } finally {
      cancel();
    }
  }

  function connect(): RedisClient {
    const own = clients.subscriber(name);
    let connections = 0;
    own.on('smessage', (_channel: string, text: string) => {
      try {
        options.message(text);
      } catch (error) {
        logger.error({ err: error, subscriber: name }, `a message broke its handler: ${messageOf(error)}`);
      }
    });
    own.on('ready', async () => {
      connections += 1;
      if (connections === 1) return;
      try {
        for (const channel of channels) await own.ssubscribe(channel);
        if (client === own) options.reconnected();
      } catch (error) {
        // Cut again: the next `ready` does it.
        logger.debug({ err: error, subscriber: name }, `resubscribing failed: ${messageOf(error)}`);
      }
    });
    return own;
  }

  const probe = createLoop({
    name: `${name}-probe`,
    everyMs: probeMs,
    clock,
    logger,
    async round() {
      const own = client;
      if (own?.status !== 'ready') return;
      try {
        await within(probeMs, own.ping());
      } catch (error) {
        logger.warn({ err: error, subscriber: name }, 'the subscription gives no sign of life: connecting anew');
        if (client === own) own.disconnect(true);
      }
    },
  });

  return {
    name,
    async start() {
      if (client) return;
      client = runDetached(connect);
      await probe.start();
    },
    async stop() {
      client?.disconnect();
      client = undefined;
      channels.clear();
      await probe.stop();
    },
    async add(channel) {
      if (!client) throw new AppError('unavailable', 'This process is not listening.', { retryAfterMs: 1_000 });
      channels.add(channel);
      await within(ADD_TIMEOUT_MS, Promise.resolve(client.ssubscribe(channel)));
    },
    remove(channel) {
      channels.delete(channel);
      client?.sunsubscribe(channel).catch(() => undefined);
    },
  };
}
