/**
 * A Redis of the kind that the test file has chosen: one private server, or the servers of a cluster. So one suite runs
 * on both: `xyz-cluster.test.ts` calls `useRedisCluster` and then imports `xyz.test.ts`.
 */
import { afterAll } from 'bun:test';
import Redis from 'ioredis';
import { type RedisCluster, startRedisCluster } from './redis-cluster.ts';
import { startRedis, type TestRedis } from './services.ts';

export interface AnyRedis {
  /** For `createRedisClients`. */
  readonly url: string;
  /** Sends a command to every server; their answers. */
  everywhere(command: string, ...args: string[]): Promise<unknown[]>;
  /** The one server; throws in a cluster. */
  server(): TestRedis;
  stop(): Promise<void>;
}

let cluster: Promise<RedisCluster> | undefined;

/** From now on this file's tests share a cluster, which is emptied where they would start a server. */
export function useRedisCluster(options: { persist?: boolean } = {}): Promise<RedisCluster> {
  cluster = startRedisCluster(options);
  afterAll(async () => {
    await (await cluster)?.stop();
    cluster = undefined;
  });
  return cluster;
}

export async function startAnyRedis(): Promise<AnyRedis> {
  if (cluster) {
    const { url, servers } = await cluster;
    const everywhere = (command: string, ...args: string[]) =>
      Promise.all(servers.map(({ admin }) => admin.call(command, ...args)));
    await everywhere('FLUSHALL');
    const server = () => {
      throw new Error('a cluster has no one server');
    };
    return { url, everywhere, server, stop: async () => {} };
  }
  const server = await startRedis();
  const admin = new Redis({ path: server.socketPath, lazyConnect: true });
  return {
    url: server.url,
    server: () => server,
    everywhere: async (command, ...args) => [await admin.call(command, ...args)],
    async stop() {
      admin.disconnect();
      await server.stop();
    },
  };
}
