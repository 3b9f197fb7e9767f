/**
 * Four kinds of connection that are never shared: the producer fails fast and pipelines; ops run scripts and reads with
 * a deadline; a blocking reader belongs to one loop and waits for ever; a subscriber only listens.
 */
import Redis, { type RedisOptions } from 'ioredis';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';

export type RedisClient = Redis;

export interface RedisClients {
  readonly producer: RedisClient;
  readonly ops: RedisClient;
  /** A new connection for one blocking loop; the loop's owner disconnects it. */
  reader(name: string): RedisClient;
  /** A new connection that only subscribes; its owner disconnects it. */
  subscriber(name: string): RedisClient;
  /** Throws `unavailable` when Redis does not answer within `timeoutMs`. */
  check(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

const COMMAND_TIMEOUT_MS = 5_000;

/** Reply shapes are RESP2's, which the scripts are written for. */
type Options = Omit<RedisOptions, 'replyMapping'>;

/** `redis://…`, `rediss://…`, or `unix:/path` for a socket. */
export function createRedisClients({ url, logger }: { url: string; logger: Logger }): RedisClients {
  const open = new Set<Redis>();

  function make(name: string, options: Options): Redis {
    const base: Options = {
      protocol: 2,
      connectionName: `dreamhub-${name}`,
      connectTimeout: 5_000,
      retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 6), 2_000),
      ...options,
    };
    const client = url.startsWith('unix:')
      ? new Redis({ path: url.slice('unix:'.length), ...base })
      : new Redis(url, base);
    client.on('error', (error) => logger.debug({ err: error, connection: name }, `redis: ${messageOf(error)}`));
    open.add(client);
    client.once('end', () => open.delete(client));
    return client;
  }

  const producer = make('producer', {
    maxRetriesPerRequest: 1,
    commandTimeout: COMMAND_TIMEOUT_MS,
    enableAutoPipelining: true,
  });
  const ops = make('ops', { maxRetriesPerRequest: 1, commandTimeout: COMMAND_TIMEOUT_MS });

  return {
    producer,
    ops,
    reader: (name) => make(`reader-${name}`, { maxRetriesPerRequest: null }),
    subscriber: (name) => make(`subscriber-${name}`, { maxRetriesPerRequest: null }),
    async check(timeoutMs) {
      const { promise, reject } = Promise.withResolvers<never>();
      const timer = setTimeout(() => reject(new AppError('unavailable', 'Redis does not answer.')), timeoutMs);
      const ping = ops.ping();
      ping.catch(() => undefined);
      try {
        await Promise.race([ping, promise]);
      } catch (cause) {
        throw new AppError('unavailable', 'Redis does not answer.', { cause });
      } finally {
        clearTimeout(timer);
      }
    },
    async close() {
      for (const client of open) client.disconnect();
    },
  };
}

/** Throws where Redis could throw queued work away by itself. */
export async function assertSafeRedis(clients: RedisClients, logger: Logger): Promise<void> {
  const info = await clients.ops.info();
  const value = (name: string) => new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim();
  const major = Number((value('redis_version') ?? '0').split('.')[0]);
  if (major < 7) throw new AppError('unavailable', `Redis ${value('redis_version')} is too old: 7 or newer is needed.`);
  const policy = value('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    throw new AppError(
      'unavailable',
      `Redis has maxmemory-policy ${policy}: it must be noeviction, or it drops queued work.`,
    );
  }
  logger.debug({ redis: value('redis_version') }, 'redis is fit for use');
}
