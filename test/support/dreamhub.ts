/**
 * DreamHub as its users run it: processes of `src/main.ts`, told everything by the environment, spoken to over HTTP and
 * WebSocket alone.
 */
import { fileURLToPath } from 'node:url';
import { startPgbouncer } from './pgbouncer.ts';
import { startRedisCluster } from './redis-cluster.ts';
import { createTestDatabase, startRedis } from './services.ts';
import { temporaryFolder } from './temporary-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const START_TIMEOUT_MS = 90_000;
const JWT_SECRET = 'a secret of the tests that is long enough for HS256';

export interface DreamhubProcess {
  readonly url: string;
  readonly pid: number;
  /** Everything it wrote so far. */
  output(): string;
  /** Resolves when its output matches; rejects when it ends before that. */
  says(pattern: RegExp): Promise<void>;
  signal(name: NodeJS.Signals): void;
  readonly exited: Promise<number>;
  /** SIGTERM, and its exit code; kills it after 40 s. */
  stop(): Promise<number>;
}

export type Env = Record<string, string | undefined>;

/** Starts one process; resolves when its `/readyz` answers 200. */
export async function startProcess(env: Env): Promise<DreamhubProcess> {
  const child = Bun.spawn([process.execPath, 'src/main.ts'], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], PORT: '0', LOG_LEVEL: 'info', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  let text = '';
  const listeners = new Set<() => void>();
  const drain = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      text += decoder.decode(bytes, { stream: true });
      for (const listener of listeners) listener();
    }
  };
  const ended = Promise.all([drain(child.stdout), drain(child.stderr), child.exited]);

  function says(pattern: RegExp): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => {
      if (pattern.test(text)) resolve();
    };
    listeners.add(look);
    look();
    void ended.then(() => reject(new Error(`the process ended without saying ${pattern}:\n${text}`)));
    const timer = setTimeout(
      () => reject(new Error(`the process does not say ${pattern}:\n${text}`)),
      START_TIMEOUT_MS,
    );
    return promise.finally(() => {
      listeners.delete(look);
      clearTimeout(timer);
    });
  }

  // The log's line says which port was free; it is written once the process listens.
  await says(/"address":"http:[^"]+"/);
  const address = /"address":"(http:[^"]+)"/.exec(text)?.[1] ?? '';
  const url = address.replace('localhost', '127.0.0.1');
  const ready = await fetch(`${url}/readyz`);
  if (ready.status !== 200) throw new Error(`not ready: ${await ready.text()}\n${text}`);

  return {
    url,
    pid: child.pid,
    output: () => text,
    says,
    signal: (name) => child.kill(name),
    exited: child.exited,
    async stop() {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 40_000);
      const code = await child.exited;
      clearTimeout(late);
      return code;
    },
  };
}

export type Form = 'embedded' | 'all' | 'split' | 'cluster' | 'pgbouncer';

export interface Dreamhub {
  /** Of the server. */
  readonly url: string;
  readonly server: DreamhubProcess;
  /** The same process where server and worker are one. */
  readonly worker: DreamhubProcess;
  /** What further processes of the same installation are started with. */
  readonly env: Env;
  /** Of the superuser; undefined where the database is embedded. */
  readonly adminUrl: string | undefined;
  stop(): Promise<void>;
}

/**
 * `embedded`: one process with everything in it; `all`: one process on real services; `split`: server and worker apart;
 * `cluster`: those two on a Redis Cluster of three servers; `pgbouncer`: those two on a PostgreSQL behind PgBouncer.
 */
export async function startDreamhub(form: Form = 'embedded', extra: Env = {}): Promise<Dreamhub> {
  const folder = await temporaryFolder();
  const cleaners: (() => Promise<unknown>)[] = [() => folder.remove()];
  const stop = async () => {
    for (let clean = cleaners.pop(); clean; clean = cleaners.pop()) await clean();
  };
  try {
    const env: Env = { DATA_DIR: folder.path, REGISTRATION: 'open', ...extra };
    let adminUrl: string | undefined;
    if (form !== 'embedded') {
      const [database, redis] = await Promise.all([
        createTestDatabase(),
        form === 'cluster' ? startRedisCluster() : startRedis(),
      ]);
      cleaners.push(
        () => database.drop(),
        () => redis.stop(),
      );
      adminUrl = database.adminUrl;
      let through = (url: string) => url;
      if (form === 'pgbouncer') {
        const pgbouncer = await startPgbouncer([database.adminUrl, database.url]);
        cleaners.push(() => pgbouncer.stop());
        through = pgbouncer.through;
      }
      Object.assign(env, {
        DATABASE_URL: through(database.url),
        DATABASE_OWNER_URL: through(database.adminUrl),
        REDIS_URL: redis.url,
        JWT_SECRET,
        ...extra,
      });
    }
    const apart = form !== 'embedded' && form !== 'all';
    const server = await startProcess({ ...env, DREAMHUB_ROLE: apart ? 'server' : 'all' });
    cleaners.push(() => server.stop());
    let worker = server;
    if (apart) {
      worker = await startProcess({ ...env, DREAMHUB_ROLE: 'worker' });
      cleaners.push(() => worker.stop());
    }
    return { url: server.url, server, worker, env, adminUrl, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
