/** Real PostgreSQL, real Redis and a folder for one DreamHub of a benchmark. */
import { createTestDatabase, startRedis, type TestDatabase } from '../../support/services.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

export interface Services extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly folder: string;
  /** What makes a DreamHub use them; more than any benchmark queues may wait. */
  readonly env: Readonly<Record<string, string>>;
}

export async function startServices({ persist = true }: { persist?: boolean } = {}): Promise<Services> {
  const [database, redis, folder] = await Promise.all([
    createTestDatabase(),
    startRedis({ persist }),
    temporaryFolder(),
  ]);
  return {
    database,
    folder: folder.path,
    env: {
      DATABASE_URL: database.url,
      DATABASE_OWNER_URL: database.adminUrl,
      REDIS_URL: redis.url,
      DATA_DIR: folder.path,
      JWT_SECRET: 'a secret of a benchmark and of nothing else',
      REGISTRATION: 'open',
      QUEUE_MAX_DEPTH: '10000000',
    },
    async [Symbol.asyncDispose]() {
      await redis.stop();
      await Promise.all([database.drop(), folder.remove()]);
    },
  };
}
