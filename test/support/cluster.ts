/**
 * DreamHub on several nodes: servers that clients reach through a proxy each, workers, one PostgreSQL, one Redis, and a
 * provider that the test holds in its hand. A node keeps its address over all its lives.
 */
import { type DreamhubProcess, type Env, startProcess } from './dreamhub.ts';
import { type FakeOpenAi, type FakeOpenAiOptions, startFakeOpenAi } from './fake-openai.ts';
import { freePort } from './free-port.ts';
import { createTestDatabase, startRedis } from './services.ts';
import { startTcpProxy, type TcpProxy, through } from './tcp-proxy.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface Node {
  /** Through the proxy. */
  readonly url: string;
  /** Past the proxy. */
  readonly direct: string;
  readonly proxy: TcpProxy;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again where it was. */
  start(): Promise<void>;
}

export interface Cluster {
  readonly nodes: readonly [Node, Node];
  readonly provider: FakeOpenAi;
  /** Between the servers and PostgreSQL; workers have a way of their own. */
  readonly postgres: TcpProxy;
  /** Of the superuser, and of Redis. */
  readonly adminUrl: string;
  readonly redisSocket: string;
  /** One that reaches Redis through `redis`, where that is given. */
  startWorker(redis?: TcpProxy): Promise<DreamhubProcess>;
  stop(): Promise<void>;
}

export async function startCluster({
  env: extra = {},
  ...provider
}: FakeOpenAiOptions & { env?: Env } = {}): Promise<Cluster> {
  const cleaners: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (let clean = cleaners.pop(); clean; clean = cleaners.pop()) await clean();
  };
  try {
    const [database, redis, folder] = await Promise.all([createTestDatabase(), startRedis(), temporaryFolder()]);
    cleaners.push(
      () => folder.remove(),
      () => database.drop(),
      () => redis.stop(),
    );
    const { hostname, port } = new URL(database.adminUrl);
    const postgres = await startTcpProxy({ host: hostname, port: Number(port || 5432) });
    cleaners.push(() => postgres.stop());
    const fake = startFakeOpenAi(provider);
    cleaners.push(() => fake.stop());
    const env: Env = {
      DATA_DIR: folder.path,
      REGISTRATION: 'open',
      REDIS_URL: redis.url,
      JWT_SECRET: 'a secret of the tests that is long enough for HS256',
      OPENAI_BASE_URL: fake.url,
      OPENAI_API_KEYS: 'key',
      CHAT_MODEL: 'fake-chat',
      EMBEDDING_MODEL: 'fake-embedding',
      EMBEDDING_DIMENSIONS: '256',
      CHAT_VISIBILITY_TIMEOUT_MS: '2000',
      ...extra,
    };
    const direct = { DATABASE_URL: database.url, DATABASE_OWNER_URL: database.adminUrl };

    async function startNode(): Promise<Node> {
      const listens = freePort();
      const proxy = await startTcpProxy({ host: '127.0.0.1', port: listens });
      const launch = () =>
        startProcess({
          ...env,
          DREAMHUB_ROLE: 'server',
          PORT: String(listens),
          DATABASE_URL: through(database.url, postgres),
          DATABASE_OWNER_URL: database.adminUrl,
        });
      let process = await launch();
      cleaners.push(
        () => proxy.stop(),
        () => process.stop(),
      );
      return {
        url: `http://127.0.0.1:${proxy.port}`,
        direct: `http://127.0.0.1:${listens}`,
        proxy,
        stop: () => process.stop(),
        async kill() {
          process.signal('SIGKILL');
          await process.exited;
        },
        async start() {
          process = await launch();
        },
      };
    }

    const nodes: readonly [Node, Node] = [await startNode(), await startNode()];
    return {
      nodes,
      provider: fake,
      postgres,
      adminUrl: database.adminUrl,
      redisSocket: redis.socketPath,
      async startWorker(proxy) {
        const worker = await startProcess({
          ...env,
          ...direct,
          DREAMHUB_ROLE: 'worker',
          ...(proxy && { REDIS_URL: `redis://127.0.0.1:${proxy.port}` }),
        });
        cleaners.push(() => worker.stop());
        return worker;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
