/**
 * A Redis that loses what it has acknowledged, as after a failover to a replica that lagged behind, or a restart from an
 * older file: all keys are again as they were, between two commands of anybody else.
 */
import type Redis from 'ioredis';

/** Remembers every key of the server; the returned function brings them back, and removes what came since. */
export async function rememberAll(redis: Redis): Promise<() => Promise<void>> {
  const keys = await redis.keys('*');
  const saved = await Promise.all(
    keys.map(async (key) => ({ key, ttl: await redis.pttl(key), value: await redis.dumpBuffer(key) })),
  );
  return async () => {
    const all = redis.multi().flushall();
    for (const { key, ttl, value } of saved) if (value) all.restore(key, Math.max(0, ttl), value);
    for (const [error] of (await all.exec()) ?? []) if (error) throw error;
  };
}
