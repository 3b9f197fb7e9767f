/**
 * Listens to sharded channels: one Redis connection that only listens, or one for each server of a cluster that has some
 * of the channels. States: idle, running, stopped.
 *
 * A channel is heard or not. It stops being heard when its connection is lost, and when its server gives its slot away. It
 * is asked for at the server that had it, which accepts or says who has it now (MOVED); while that server is away, another
 * one is asked. So a failover is followed without a map of the cluster. A connection that no longer answers is replaced:
 * a half-open socket would stay silent for ever.
 */
import type { Clock } from '../kernel/clock.ts';
import { runDetached } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { within } from '../kernel/within.ts';
import { parseNode } from './address.ts';
import type { RedisClient, RedisClients } from './clients.ts';

export interface SubscriberOptions {
  name: string;
  clients: Pick<RedisClients, 'servers' | 'subscriber'>;
  clock: Clock;
  logger: Logger;
  /** Called in the order of publishing, outside every scope. */
  message(text: string, channel: string): void;
  /** Channels are listened to again after a cut, or at last: what was published meanwhile is lost. */
  reconnected(): void;
  /** How often each connection is asked for a sign of life, and how long it may take. Default 5,000. */
  probeMs?: number;
}

export interface Subscriber extends Service {
  /** Resolves once every later message of the channel arrives here. Throws `unavailable` when Redis does not answer. */
  add(channel: string): Promise<void>;
  remove(channel: string): void;
}

interface Channel {
  readonly name: string;
  /** Where it is, as far as is known. */
  server: string;
  heard: boolean;
  /** Somebody may have waited for messages that were never heard. */
  missed: boolean;
  /** Those who wait for it to be heard. */
  waiting: Set<() => void>;
}

interface Link {
  readonly server: string;
  readonly client: RedisClient;
  /** Commands that subscribe and are not answered. */
  asking: number;
  /** Times it told of moved slots which are not those commands' answers; as long as they are under way, perhaps. */
  moved: number;
}

const ADD_TIMEOUT_MS = 5_000;

export function createSubscriber(options: SubscriberOptions): Subscriber {
  const { name, clients, clock, logger, probeMs = 5_000 } = options;
  const channels = new Map<string, Channel>();
  const links = new Map<string, Link>();
  const isCluster = clients.servers.length > 1 || clients.servers[0] !== '';
  let running = false;
  /** Whoever waits to hear a channel is told when this stops. */
  let stopped = Promise.withResolvers<never>();
  // Perhaps nobody waits when it is told.
  stopped.promise.catch(() => undefined);

  const notListening = () => new AppError('unavailable', 'This process is not listening.', { retryAfterMs: 1_000 });

  /** The connection's own commands wait for as long as Redis is away. */
  const unanswered = (): never => {
    throw new AppError('unavailable', 'Redis does not answer.', { retryAfterMs: 1_000 });
  };

  const channelsAt = (server: string) => [...channels.values()].filter((channel) => channel.server === server);

  function lose(server: string): void {
    for (const channel of channelsAt(server)) {
      channel.missed ||= channel.heard;
      channel.heard = false;
    }
  }

  function connect(server: string): Link {
    const client = clients.subscriber(name, server);
    const link: Link = { server, client, asking: 0, moved: 0 };
    links.set(server, link);
    client.on('smessage', (channel: string, text: string) => {
      try {
        options.message(text, channel);
      } catch (error) {
        logger.error({ err: error, subscriber: name }, `a message broke its handler: ${messageOf(error)}`);
      }
    });
    client.on('ready', () => void settle(server));
    client.on('close', () => {
      lose(server);
      // Another server may know by now who has them.
      if (isCluster && running) probe.wake();
    });
    client.on('moved', () => {
      link.moved += 1;
      followMoved(link);
    });
    return link;
  }

  /** Which of its slots the server gave away it doesn't say: all channels are asked for again. */
  function followMoved(link: Link): void {
    if (link.asking > 0 || link.moved === 0) return;
    link.moved = 0;
    lose(link.server);
    void settle(link.server);
  }

  const linkTo = (server: string): Link => links.get(server) ?? runDetached(() => connect(server));

  /** Where a MOVED answer to a question at `server` leads; undefined where the error is another one. */
  function movedTo(error: unknown, server: string): string | undefined {
    const target = /^MOVED \d+ (\S+)/.exec(messageOf(error))?.[1];
    const node = isCluster && target !== undefined ? parseNode(target, parseNode(server)) : undefined;
    return node && `${node.host}:${node.port}`;
  }

  /** Listens to one channel, following where it has gone to. */
  async function listen(channel: Channel): Promise<void> {
    for (let hops = 0; hops < 5; hops++) {
      const { server } = channel;
      const link = linkTo(server);
      link.asking += 1;
      try {
        await link.client.ssubscribe(channel.name);
      } catch (error) {
        const next = movedTo(error, server);
        if (next === undefined) throw error;
        link.moved -= 1;
        channel.server = next;
        if (linkTo(next).client.status !== 'ready') return;
        continue;
      } finally {
        link.asking -= 1;
        followMoved(link);
      }
      // Meanwhile it was removed, its connection was cut, or another call was answered first.
      if (channels.get(channel.name) !== channel || channel.server !== server || link.client.status !== 'ready') return;
      channel.heard = true;
      for (const resolve of channel.waiting) resolve();
      channel.waiting.clear();
      return;
    }
  }

  /** Listens to all of a server's channels that are not heard; what fails is tried again by the probe or when it is ready. */
  async function settle(server: string): Promise<void> {
    if (links.get(server)?.client.status !== 'ready') return;
    const silent = channelsAt(server).filter(({ heard }) => !heard);
    for (const channel of silent) channel.missed ||= channel.waiting.size === 0;
    const results = await Promise.allSettled(silent.map(listen));
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      logger.debug({ err: result.reason, subscriber: name }, `not subscribed: ${messageOf(result.reason)}`);
    }
    const caughtUp = [...channels.values()].filter(({ heard, missed }) => heard && missed);
    for (const channel of caughtUp) channel.missed = false;
    if (running && caughtUp.length > 0) options.reconnected();
  }

  /** Asks another server for the channels whose own is away. */
  async function searchElsewhere(): Promise<void> {
    const others = [...links.values()].filter(({ client }) => client.status === 'ready');
    const other = others[0] ?? linkTo(clients.servers.find((server) => !links.has(server)) ?? clients.servers[0] ?? '');
    for (const channel of channels.values()) {
      if (!channel.heard && linkTo(channel.server).client.status !== 'ready') channel.server = other.server;
    }
    await settle(other.server);
  }

  const isUsed = ({ server }: Link) => clients.servers.includes(server) || channelsAt(server).length > 0;

  const probe = createLoop({
    name: `${name}-probe`,
    everyMs: probeMs,
    clock,
    logger,
    async round() {
      await Promise.all(
        [...links.values()].map(async (link) => {
          if (link.client.status !== 'ready') return;
          try {
            await within(clock, probeMs, link.client.ping(), unanswered);
            await settle(link.server);
          } catch (error) {
            logger.warn({ err: error, subscriber: name }, 'the subscription gives no sign of life: connecting anew');
            if (links.get(link.server) === link) link.client.disconnect(true);
          }
        }),
      );
      if (!isCluster || !running) return;
      await searchElsewhere();
      for (const link of links.values()) {
        if (isUsed(link)) continue;
        links.delete(link.server);
        link.client.disconnect();
      }
    },
  });

  return {
    name,
    async start() {
      if (running) return;
      running = true;
      stopped = Promise.withResolvers();
      stopped.promise.catch(() => undefined);
      linkTo(clients.servers[0] ?? '');
      await probe.start();
    },
    async stop() {
      running = false;
      stopped.reject(notListening());
      for (const { client } of links.values()) client.disconnect();
      links.clear();
      channels.clear();
      await probe.stop();
    },
    async add(name) {
      if (!running) throw notListening();
      const channel = channels.get(name) ?? {
        name,
        server: clients.servers[0] ?? '',
        heard: false,
        missed: false,
        waiting: new Set(),
      };
      channels.set(name, channel);
      if (channel.heard) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      channel.waiting.add(resolve);
      if (linkTo(channel.server).client.status === 'ready') {
        listen(channel).catch((error: unknown) =>
          logger.debug({ err: error, subscriber: name }, `not subscribed: ${messageOf(error)}`),
        );
      }
      try {
        await within(clock, ADD_TIMEOUT_MS, Promise.race([promise, stopped.promise]), unanswered);
      } finally {
        channel.waiting.delete(resolve);
      }
    },
    remove(name) {
      const channel = channels.get(name);
      channels.delete(name);
      links
        .get(channel?.server ?? '')
        ?.client.sunsubscribe(name)
        // A connection that is lost listens to nothing.
        .catch(() => undefined);
    },
  };
}
