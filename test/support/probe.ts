/**
 * `bun test/support/probe.ts URL [WAIT_MS]`: exits 0 when a fit PostgreSQL or Redis answers there within so long, else
 * says why not. For `deploy/scripts/services.sh`, which runs where neither psql nor redis-cli may be.
 */
import Redis from 'ioredis';
import postgres from 'postgres';
import { systemClock } from '../../src/kernel/clock.ts';
import { messageOf } from '../../src/kernel/errors.ts';

const PAUSE_MS = 100;

async function probePostgres(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => undefined });
  try {
    const [row] = await sql<{ version: number; vector: string | null }[]>`
      select current_setting('server_version_num')::int as version,
        (select max(version) from pg_available_extension_versions where name = 'vector') as vector`;
    if (!row || row.version < 150_000) throw new Error(`PostgreSQL ${row?.version} is older than 15`);
    if (row.vector === null) throw new Error('PostgreSQL has no pgvector');
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function probeRedis(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.ping();
  } finally {
    client.disconnect();
  }
}

const [url = '', waitMs = '0'] = process.argv.slice(2);
const deadline = systemClock.now() + Number(waitMs);
for (;;) {
  try {
    await (url.startsWith('redis') ? probeRedis(url) : probePostgres(url));
    break;
  } catch (error) {
    if (systemClock.now() >= deadline) {
      process.stderr.write(`${new URL(url).host}: ${messageOf(error)}\n`);
      process.exit(1);
    }
    await systemClock.sleep(PAUSE_MS);
  }
}
process.exit(0);
