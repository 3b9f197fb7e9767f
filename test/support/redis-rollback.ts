/**
 * A Redis that loses what it has acknowledged, as after a failover to a replica that lagged behind, or a restart from an
 * older file: all keys are again as they were, between two commands of anybody else.
 */
import type Redis from 'ioredis';

/** All at one moment, as a server saves them: key by key, what one script writes to two keys would be torn apart. */
const DUMP_ALL = `
local all = {}
for i, key in ipairs(redis.call('KEYS', '*')) do
  all[i] = { key, redis.call('PTTL', key), redis.call('DUMP', key) }
end
return all`;

/** Remembers every key of the server; the returned function brings them back, and removes what came since. */
export async function rememberAll(redis: Redis): Promise<() => Promise<void>> {
  const saved = (await redis.callBuffer('EVAL', DUMP_ALL, '0')) as [key: Buffer, ttl: number, value: Buffer][];
  return async () => {
    const all = redis.multi().flushall();
    for (const [key, ttl, value] of saved) all.restore(key, Math.max(0, ttl), value);
    for (const [error] of (await all.exec()) ?? []) if (error) throw error;
  };
}
