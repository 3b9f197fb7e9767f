/** What must be true of Redis before anything is served; a violation ends the start. */
import { AppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { RedisClients } from './clients.ts';
import type { Keys } from './keys.ts';

/** Throws where a server could throw queued work away by itself. */
export async function assertSafeRedis(clients: RedisClients, logger: Logger): Promise<void> {
  for (const info of await clients.info()) {
    const value = (name: string) => new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim();
    const version = value('redis_version') ?? '0';
    if (Number(version.split('.')[0]) < 7) {
      throw new AppError('unavailable', `Redis ${version} is too old: 7 or newer is needed.`);
    }
    const policy = value('maxmemory_policy');
    if (policy !== undefined && policy !== 'noeviction') {
      throw new AppError(
        'unavailable',
        `Redis has maxmemory-policy ${policy}: it must be noeviction, or it drops queued work.`,
      );
    }
    logger.debug({ redis: version }, 'redis is fit for use');
  }
}

/**
 * Throws where the processes before this one spread the tenants over another number of partitions: neither would find
 * what the other keeps. It is remembered where the streams are, so an emptied Redis takes any number.
 */
export async function assertSamePartitions(clients: Pick<RedisClients, 'ops'>, keys: Keys): Promise<void> {
  const own = String(keys.partitions);
  const known = (await clients.ops.set(keys.partitionCount(), own, 'NX', 'GET')) ?? own;
  if (known === own) return;
  throw new AppError(
    'conflict',
    `PARTITIONS is ${own} here and ${known} in this Redis: all processes need the same. ` +
      `Set PARTITIONS=${known}, or stop every process and empty Redis first, which loses no accepted work.`,
  );
}
