/** What this process needs to serve, looked at when somebody asks. */
import type { BlobStore } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { messageOf } from '../kernel/errors.ts';
import type { RedisClients } from '../redis/clients.ts';

export interface Readiness {
  /** `degraded`: work is accepted and waits; `unavailable`: nothing can be accepted. */
  status: 'ok' | 'degraded' | 'unavailable';
  /** `ok`, or what is wrong with it. */
  checks: Record<string, string>;
}

export interface Health {
  ready(): Promise<Readiness>;
  /** From now on nothing is accepted: load balancers should look elsewhere. */
  leave(): void;
}

export interface HealthOptions {
  database: Pick<Database, 'check'>;
  clients: Pick<RedisClients, 'check'>;
  blobs: Pick<BlobStore, 'check'>;
}

const CHECK_TIMEOUT_MS = 2_000;

async function look(check: () => Promise<void>): Promise<string> {
  try {
    await check();
    return 'ok';
  } catch (error) {
    return messageOf(error);
  }
}

export function createHealth({ database, clients, blobs }: HealthOptions): Health {
  let leaving = false;
  return {
    leave() {
      leaving = true;
    },
    async ready() {
      const [postgres, redis, blobStore] = await Promise.all([
        look(() => database.check(CHECK_TIMEOUT_MS)),
        look(() => clients.check(CHECK_TIMEOUT_MS)),
        look(() => blobs.check()),
      ]);
      const checks = { postgres, redis, blobs: blobStore, process: leaving ? 'shutting down' : 'ok' };
      if (leaving || postgres !== 'ok' || blobStore !== 'ok') return { status: 'unavailable', checks };
      // Without Redis uploads are still accepted: the backlog is in PostgreSQL and is worked off when Redis is back.
      return { status: redis === 'ok' ? 'ok' : 'degraded', checks };
    },
  };
}
