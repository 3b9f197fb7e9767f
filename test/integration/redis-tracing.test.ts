import { expect, test } from 'bun:test';
import { tracingChannel } from 'node:diagnostics_channel';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { startRedis } from '../support/services.ts';

test('a command of Redis is described for whoever traces it, and for nobody else', async () => {
  const redis = await startRedis();
  const clients = createRedisClients({ url: redis.url, logger: silentLogger });
  const channel = tracingChannel<{ command?: string }>('ioredis:command');
  const commands: unknown[] = [];
  const subscribers = {
    start: ({ command }: { command?: string }) => void commands.push(command),
    end() {},
    asyncStart() {},
    asyncEnd() {},
    error() {},
  };
  try {
    expect(channel.hasSubscribers).toBe(false);
    expect(await clients.ops.get('nothing')).toBeNull();
    channel.subscribe(subscribers);
    expect(channel.hasSubscribers).toBe(true);
    await clients.ops.get('something');
    expect(commands).toEqual(['get']);
    channel.unsubscribe(subscribers);
    expect(channel.hasSubscribers).toBe(false);
    await clients.ops.get('nothing');
    expect(commands).toEqual(['get']);
  } finally {
    await clients.close();
    await redis.stop();
  }
});
