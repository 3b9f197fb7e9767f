/** `queue-transport.test.ts` once more, on a Redis Cluster of three servers. */
import { useRedisCluster } from '../support/any-redis.ts';

void useRedisCluster();
await import('./queue-transport.test.ts');
