/**
 * What an installation stands on: database, Redis, blob store. Embedded or given, they are reached by the same clients;
 * embedding swaps an address, never a code path.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from './config.ts';
import { createDatabase, type Database } from './db/database.ts';
import { type EmbeddedDatabase, startEmbeddedDatabase } from './db/embedded.ts';
import { assertIsolated } from './db/guard.ts';
import { migrate, sessionRoleFor } from './db/migrate.ts';
import { describeServer } from './db/server.ts';
import type { Clock } from './kernel/clock.ts';
import type { Ids } from './kernel/ids.ts';
import type { Logger } from './kernel/logger.ts';
import { createRedisClients, type RedisClients } from './redis/clients.ts';
import { type EmbeddedRedis, startEmbeddedRedis } from './redis/embedded.ts';
import { assertSafeRedis, assertSamePartitions } from './redis/fitness.ts';
import { createKeys } from './redis/keys.ts';
import { createDiskBlobStore, type SweepableBlobStore } from './storage/disk-blob-store.ts';
import { createS3BlobStore } from './storage/s3-blob-store.ts';

export interface Backends {
  database: Database;
  clients: RedisClients;
  blobs: SweepableBlobStore;
  /** Settles with the name of an embedded server that ended without being asked: the process cannot go on. */
  readonly lost: Promise<string>;
  close(): Promise<void>;
}

export interface BackendsOptions {
  config: Config;
  logger: Logger;
  clock: Clock;
  ids: Ids;
}

/** One backend behind the embedded server: more connections would only wait. */
const EMBEDDED_CONNECTIONS = 4;
const CONNECTIONS = 20;

async function openDatabase({
  config,
  logger,
  clock,
}: BackendsOptions): Promise<{ database: Database; embedded?: EmbeddedDatabase }> {
  if (config.databaseUrl === undefined) {
    const embedded = await startEmbeddedDatabase({ dataDir: config.dataDir, logger, clock });
    await migrate({ url: embedded.url, embedded: true, logger });
    const database = createDatabase({ url: embedded.url, max: EMBEDDED_CONNECTIONS, embedded: true, clock });
    return { database, embedded };
  }
  const url = config.databaseUrl;
  const ownerUrl = config.databaseOwnerUrl ?? url;
  const owner = await describeServer(ownerUrl);
  const { pooled, limitsTransactions } = ownerUrl === url ? owner : await describeServer(url);
  const ownerPooled = owner.pooled;
  if (pooled || ownerPooled) logger.info({ database: pooled, owner: ownerPooled }, 'PostgreSQL is behind a pooler');
  await migrate({ url: ownerUrl, embedded: false, pooled: ownerPooled, logger });
  const sessionRole = await sessionRoleFor(url, pooled);
  if (sessionRole) {
    logger.warn(
      'DATABASE_URL signs in with rights of its own; give DreamHub a login that has none, and DATABASE_OWNER_URL',
    );
  }
  const database = createDatabase({
    url,
    ownerUrl,
    max: CONNECTIONS,
    embedded: false,
    pooled,
    ownerPooled,
    limitsTransactions,
    clock,
    ...(sessionRole && { sessionRole }),
  });
  return { database };
}

/** Opens everything and checks that it is fit for use; what was opened before a failure is closed again. */
export async function openBackends({ config, logger, clock, ids }: BackendsOptions): Promise<Backends> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (let closer = closers.pop(); closer; closer = closers.pop()) await closer();
  };
  try {
    // Both are waited for, so that a failure of one closes the other too.
    const [opened, started] = await Promise.allSettled([
      openDatabase({ config, logger, clock, ids }),
      openRedis(config, logger),
    ]);
    const redis = started.status === 'fulfilled' ? started.value : undefined;
    if (redis) closers.push(() => redis.stop());
    if (opened.status === 'fulfilled') {
      const { embedded, database } = opened.value;
      if (embedded) closers.push(() => embedded.stop());
      closers.push(() => database.close());
    }
    if (opened.status === 'rejected') throw opened.reason;
    if (started.status === 'rejected') throw started.reason;
    const { database, embedded } = opened.value;
    const clients = createRedisClients({ url: redis?.url ?? config.redisUrl ?? '', logger, clock });
    closers.push(() => clients.close());
    await Promise.all([assertIsolated(database), assertSafeRedis(clients, logger)]);
    await assertSamePartitions(clients, createKeys({ partitions: config.partitions }));
    const blobs = openBlobs(config, ids, clock);
    await blobs.check();
    const ends = [
      ...(embedded ? [embedded.exited.then(() => 'the embedded database')] : []),
      ...(redis ? [redis.exited.then(() => 'the embedded Redis')] : []),
    ];
    const lost = ends.length > 0 ? Promise.race(ends) : Promise.withResolvers<string>().promise;
    return { database, clients, blobs, lost, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openRedis(config: Config, logger: Logger): Promise<EmbeddedRedis | undefined> {
  return config.redisUrl === undefined ? startEmbeddedRedis({ dataDir: config.dataDir, logger }) : undefined;
}

export function openBlobs({ blobUrl, s3, dataDir }: Config, ids: Ids, clock: Clock): SweepableBlobStore {
  if (!s3) return createDiskBlobStore({ root: fileURLToPath(blobUrl), ids, clock });
  const { accessKeyId, secretAccessKey, sessionToken } = s3;
  return createS3BlobStore({
    url: blobUrl,
    accessKeyId,
    secretAccessKey,
    ...(sessionToken !== undefined && { sessionToken }),
    stagingFolder: join(dataDir, 'staging'),
    ids,
    clock,
  });
}
