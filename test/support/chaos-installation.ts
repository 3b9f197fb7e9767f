/**
 * A whole installation that can be broken: a server and workers under supervision, on a real PostgreSQL, a real Redis and
 * a fake provider, each behind a proxy. Leases are short, so that what dies is taken over within seconds.
 */
import { join } from 'node:path';
import Redis from 'ioredis';
import postgres from 'postgres';
import { systemClock } from '../../src/kernel/clock.ts';
import { type Crash, type Supervised, supervise } from './chaos-processes.ts';
import { createSaboteur, type Saboteur } from './chaos-sabotage.ts';
import type { Env } from './dreamhub.ts';
import { type FakeOpenAi, type FakeRequest, startFakeOpenAi } from './fake-openai.ts';
import { freePort } from './free-port.ts';
import { createTestDatabase, startRedis } from './services.ts';
import { startTcpProxy, type TcpProxy, through } from './tcp-proxy.ts';
import { temporaryFolder } from './temporary-folder.ts';

const JWT_SECRET = 'a secret of the chaos tests that is long enough for HS256';

export interface InstallationOptions {
  workers: number;
  env?: Env;
  /** The whole reply of a chat. */
  reply?(body: Record<string, unknown>): string;
}

export interface Installation {
  /** Of the server; it has the same port in all its lives. */
  readonly url: string;
  readonly server: Supervised;
  readonly workers: readonly Supervised[];
  readonly network: { readonly postgres: TcpProxy; readonly redis: TcpProxy; readonly provider: TcpProxy };
  readonly provider: FakeOpenAi;
  /** Everything that the provider was asked for, over all healings. */
  requests(): FakeRequest[];
  /** Past the proxy, as the superuser. */
  readonly sql: postgres.Sql;
  /** Past the proxy. */
  readonly redis: Redis;
  /** Where the blobs are. */
  readonly blobs: string;
  readonly visibilityMs: number;
  /** Ends of processes that nobody had asked for. */
  readonly crashes: readonly Crash[];
  /** Lines that no process may write, whatever breaks. */
  alarms(): string[];
  /** Ends backends that serve DreamHub, each with this probability; returns how many. */
  killBackends(share?: number): Promise<number>;
  /** Sessions that may be at once, the superuser's not counted; -1: any number. */
  limitConnections(limit: number): Promise<void>;
  /** Statements and commits that fail. */
  readonly sabotage: Saboteur;
  /** Every network passes, every provider answers, every process runs and is ready. */
  heal(): Promise<void>;
  stop(): Promise<void>;
}

/** What keeps a process from serving; undefined where nothing does. */
async function unreadiness({ name, url }: Supervised): Promise<string | undefined> {
  try {
    const response = await fetch(`${url()}/readyz`, { signal: AbortSignal.timeout(3_000) });
    const readiness: { status?: string } = await response.json();
    return readiness.status === 'ok' ? undefined : `${name}: ${JSON.stringify(readiness)}`;
  } catch (error) {
    return `${name}: ${error}`;
  }
}

async function untilReady(processes: readonly Supervised[]): Promise<void> {
  for (const deadline = systemClock.now() + READY_MS; ; await systemClock.sleep(LOOK_EVERY_MS)) {
    const found = (await Promise.all(processes.map(unreadiness))).filter((one) => one !== undefined);
    if (found.length === 0) return;
    if (systemClock.now() > deadline) throw new Error(`not ready ${READY_MS} ms after healing: ${found.join('; ')}`);
  }
}

const READY_MS = 30_000;
const LOOK_EVERY_MS = 50;
const VISIBILITY_MS = 2_000;

export async function startInstallation({
  workers: count,
  env: extra = {},
  reply,
}: InstallationOptions): Promise<Installation> {
  const cleaners: (() => unknown)[] = [];
  const stop = async () => {
    for (let clean = cleaners.pop(); clean; clean = cleaners.pop()) await clean();
  };
  try {
    const folder = await temporaryFolder();
    cleaners.push(() => folder.remove());
    const [database, redisServer] = await Promise.all([createTestDatabase(), startRedis()]);
    cleaners.push(
      () => database.drop(),
      () => redisServer.stop(),
    );
    const provider = startFakeOpenAi({ dimensions: 64, ...(reply && { reply }) });
    cleaners.push(() => provider.stop());

    const { hostname, port } = new URL(database.adminUrl);
    const network = {
      postgres: await startTcpProxy({ host: hostname, port: Number(port || 5432) }),
      redis: await startTcpProxy({ path: redisServer.socketPath }),
      provider: await startTcpProxy({ host: '127.0.0.1', port: Number(new URL(provider.url).port) }),
    };
    for (const proxy of Object.values(network)) cleaners.push(() => proxy.stop());

    const env: Env = {
      DATA_DIR: folder.path,
      DATABASE_URL: through(database.url, network.postgres),
      DATABASE_OWNER_URL: through(database.adminUrl, network.postgres),
      REDIS_URL: `redis://127.0.0.1:${network.redis.port}`,
      OPENAI_BASE_URL: `http://127.0.0.1:${network.provider.port}/v1`,
      OPENAI_API_KEYS: 'key-1,key-2',
      EMBEDDING_MODEL: 'fake-embedding',
      EMBEDDING_DIMENSIONS: '64',
      CHAT_MODEL: 'fake-chat',
      JWT_SECRET,
      REGISTRATION: 'open',
      VISIBILITY_TIMEOUT_MS: String(VISIBILITY_MS),
      CHAT_VISIBILITY_TIMEOUT_MS: String(VISIBILITY_MS),
      WORKER_CONCURRENCY: '4',
      ...extra,
    };
    const crashes: Crash[] = [];
    const start = (name: string, own: Env) => {
      const process = supervise({ name, env: { ...env, ...own }, onCrash: (crash) => crashes.push(crash) });
      cleaners.push(() => process.stop());
      return process;
    };
    const serverPort = freePort();
    const server = start('server', { DREAMHUB_ROLE: 'server', PORT: String(serverPort) });
    // Migrations and the embedding space are made by the first; the others find them.
    await server.up();
    const workers = Array.from({ length: count }, (_, index) =>
      start(`worker-${index + 1}`, { DREAMHUB_ROLE: 'worker' }),
    );
    await Promise.all(workers.map((worker) => worker.up()));

    const sql = postgres(database.adminUrl, { max: 4, onnotice: () => undefined });
    cleaners.push(() => sql.end({ timeout: 5 }));
    const redis = new Redis({ path: redisServer.socketPath });
    cleaners.push(() => redis.disconnect());
    const sabotage = await createSaboteur(sql);
    const limitConnections = async (limit: number) =>
      void (await sql.unsafe(`alter database ${database.name} connection limit ${limit}`));
    const all = [server, ...workers];
    const seen: FakeRequest[] = [];

    return {
      url: `http://127.0.0.1:${serverPort}`,
      server,
      workers,
      network,
      provider,
      requests: () => [...seen, ...provider.requests],
      sql,
      redis,
      blobs: join(folder.path, 'blobs'),
      visibilityMs: VISIBILITY_MS,
      crashes,
      alarms: () => all.flatMap((process) => process.alarms().map((line) => `${process.name}: ${line}`)),
      async killBackends(share = 1) {
        const rows = await sql`select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name = 'dreamhub' and random() < ${share}`;
        return rows.length;
      },
      limitConnections,
      sabotage,
      async heal() {
        seen.push(...provider.requests);
        provider.reset();
        for (const proxy of Object.values(network)) await proxy.set({ type: 'pass' });
        // What hangs at the provider or at PostgreSQL would end with its own deadline, after a minute.
        network.provider.cut('frozen');
        network.postgres.cut('frozen');
        await sabotage.end();
        await limitConnections(-1);
        await redis.config('SET', 'maxmemory', '0');
        for (const process of all) process.thaw();
        await Promise.all(all.map((process) => process.up()));
        await untilReady(all);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
