/**
 * Every service keeps the start/stop contract of `kernel/service.ts`. The services are those of a whole installation, as
 * `deps.ts` makes them, each on real servers behind proxies, and a few that are made inside others. What the sources say that
 * they make is compared with what ran here, so a new one cannot be left out.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { fileURLToPath } from 'node:url';
import Redis from 'ioredis';
import { type Backends, openBackends } from '../../src/backends.ts';
import { readConfig } from '../../src/config.ts';
import { createMaintenance } from '../../src/db/embedded-maintenance.ts';
import { createDeps } from '../../src/deps.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { createLoop } from '../../src/kernel/service.ts';
import { createLifecycle, type Part } from '../../src/lifecycle.ts';
import { createSessionService } from '../../src/queue/session-service.ts';
import { createSubscriber } from '../../src/redis/subscriber.ts';
import { createRandom } from '../support/chaos-random.ts';
import { type CountingClock, createCountingClock } from '../support/counting-clock.ts';
import { eventually } from '../support/eventually.ts';
import { createTestDatabase, startRedis } from '../support/services.ts';
import { filesThatMakeServices, makesService } from '../support/services-found.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Which parts prove a file; `composition` makes nothing of its own that runs. */
const PROVED_BY: Readonly<Record<string, readonly string[] | 'composition'>> = {
  'src/db/embedded-maintenance.ts': ['embedded database maintenance'],
  'src/deps.ts': ['staging-sweep'],
  'src/deps-server.ts': ['demo'],
  'src/deps-worker.ts': ['drain'],
  'src/ingest/sandbox.ts': ['extractor'],
  'src/kernel/service.ts': ['loop'],
  'src/lifecycle.ts': 'composition',
  'src/main.ts': 'composition',
  'src/queue/dispatcher.ts': ['dispatcher-ingest', 'dispatcher-chat'],
  'src/queue/feeder.ts': ['feeder'],
  'src/queue/reconciler.ts': ['reconciler'],
  'src/queue/session-service.ts': ['session'],
  'src/queue/stats.ts': ['queue-stats'],
  'src/realtime/control.ts': ['control'],
  'src/realtime/end-watch.ts': ['end-watch'],
  'src/realtime/hub.ts': ['hub'],
  'src/redis/subscriber.ts': ['subscriber'],
  'src/services/counter-check.ts': ['counter-check'],
  'src/services/erasing.ts': ['erasing'],
  'src/services/idempotency.ts': ['idempotency-sweep'],
  'src/services/kept-texts.ts': ['kept-texts-sweep'],
  'src/services/lexical-compactor.ts': ['lexical-compactor'],
  'src/services/outbox-relay.ts': ['outbox-relay'],
  'src/services/sync.ts': ['source-syncs'],
  'src/services/spaces-build.ts': ['space-builder'],
  'src/services/tus-sweep.ts': ['upload-sweep'],
  'src/services/quota-stats.ts': ['quota-stats'],
  'src/services/statistics.ts': ['statistics'],
  'src/services/tenant-counts.ts': ['tenant-counts'],
  'src/services/usage-rollup.ts': ['usage-roll-up'],
  'src/services/vector-tiers.ts': ['vector-tiers'],
  'src/services/webhook-sender.ts': ['webhook-sender'],
  'src/workers/lanes.ts': ['cancel-listener'],
  'src/ws/route.ts': ['ws-sockets'],
  'src/ws/sockets.ts': ['ws-sockets'],
};

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SEED = Number(process.env['SEED'] ?? 20261121);
const OPERATIONS = 14;
/** Beyond a part's own limit, on a busy machine. */
const SLACK_MS = 15_000;

interface Installation {
  readonly parts: readonly Part[];
  readonly clock: CountingClock;
  readonly postgres: TcpProxy;
  readonly redis: TcpProxy;
  /** Connections that services keep to Redis. */
  connections(): Promise<number>;
  close(): Promise<void>;
}

async function install(): Promise<Installation> {
  const [database, server, folder] = await Promise.all([createTestDatabase(), startRedis(), temporaryFolder()]);
  const { hostname, port } = new URL(database.adminUrl);
  const [postgresProxy, redisProxy] = await Promise.all([
    startTcpProxy({ host: hostname, port: Number(port || 5432) }),
    startTcpProxy({ path: server.url.slice('unix:'.length) }),
  ]);
  const through = (url: string) => {
    const changed = new URL(url);
    changed.host = `127.0.0.1:${postgresProxy.port}`;
    return changed.href;
  };
  const config = readConfig({
    DATA_DIR: folder.path,
    DATABASE_URL: through(database.url),
    DATABASE_OWNER_URL: through(database.adminUrl),
    REDIS_URL: `redis://127.0.0.1:${redisProxy.port}`,
    JWT_SECRET: 'a secret of the tests that is long enough for HS256',
    EMBEDDING_DIMENSIONS: '64',
    PARTITIONS: '2',
  });
  const clock = createCountingClock();
  const logger = silentLogger;
  const backends: Backends = await openBackends({ config, logger, clock, ids: systemIds });
  const deps = await createDeps({
    config,
    backends,
    jwtSecrets: config.jwtSecrets,
    encryptionKeys: config.jwtSecrets,
    operatorToken: undefined,
    demo: null,
    version: '0',
    clock,
    ids: systemIds,
    random: Math.random,
    logger,
    metrics: createMetrics(),
  });
  const observer = new Redis({ path: server.url.slice('unix:'.length), protocol: 2 });
  return {
    clock,
    postgres: postgresProxy,
    redis: redisProxy,
    parts: [...deps.parts, ...insides(backends, clock)],
    async connections() {
      const list = String(await observer.client('LIST'));
      return list.split('\n').filter((line) => / name=dreamhub-(?:reader|subscriber)-/.test(line)).length;
    },
    async close() {
      observer.disconnect();
      await backends.close();
      await Promise.all([postgresProxy.stop(), redisProxy.stop()]);
      await Promise.all([server.stop(), database.drop()]);
      await folder.remove();
    },
  };
}

/** What an installation has only inside of others, or only when embedded. */
function insides({ clients }: Backends, clock: CountingClock): Part[] {
  const logger = silentLogger;
  let open = 0;
  return [
    createLoop({ name: 'loop', everyMs: 5, clock, logger, round: (signal) => clock.sleep(3, signal) }),
    createSubscriber({ name: 'subscriber', clients, clock, logger, message: () => {}, reconnected: () => {} }),
    createSessionService({
      name: 'session',
      async open() {
        await clock.sleep(2);
        open += 1;
        if (open > 1) throw new Error('opened twice');
        return {};
      },
      async close() {
        await clock.sleep(2);
        open -= 1;
      },
    }),
    createMaintenance({
      database: { exec: async () => [], query: async () => ({ rows: [], fields: [] }) },
      exclusively: (work) => work(),
      clock,
      logger,
    }),
  ];
}

/** Fails where the promise takes longer than the part may. */
async function within<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms} ms (SEED=${SEED})`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Random starts and stops, some not waited for; a stop at the end. Resolves with the errors of starts. */
async function shake(part: Part, seed: number): Promise<unknown[]> {
  const random = createRandom(seed);
  const limit = (part.stopMs ?? 5_000) + SLACK_MS;
  const under: Promise<unknown>[] = [];
  const failures: unknown[] = [];
  const call = (what: 'start' | 'stop') => {
    const promise = part[what]().catch((error: unknown) => {
      if (what === 'stop') throw error;
      failures.push(error);
    });
    const limited = within(`${what} of ${part.name}`, limit, promise);
    limited.catch(() => undefined);
    under.push(limited);
    return limited;
  };
  await call('stop');
  for (let i = 0; i < OPERATIONS; i += 1) {
    const promise = call(random.next() < 0.5 ? 'start' : 'stop');
    const patience = random.next();
    if (patience < 0.4) await promise;
    else if (patience < 0.7) await Bun.sleep(random.next() * 4);
  }
  await Promise.all([call('start'), call('stop'), call('stop')]);
  await Promise.all(under);
  return failures;
}

describe('services', () => {
  let installation: Installation;
  beforeAll(async () => {
    installation = await install();
  }, 60_000);
  afterAll(() => installation.close());

  /** Nothing of any service runs any more. */
  async function expectSilence(): Promise<void> {
    let left = '';
    const isSilent = async () => {
      left = `${installation.clock.waiting()} timers, ${await installation.connections()} connections`;
      return left === '0 timers, 0 connections';
    };
    await eventually('no timers, no connections', isSilent).catch((error: unknown) => {
      throw new Error(`There are ${left} (SEED=${SEED}).`, { cause: error });
    });
  }

  test('are all among those that are tested here', async () => {
    const found = await filesThatMakeServices(ROOT);
    expect(found.length).toBeGreaterThan(15);
    expect(found.filter((file) => PROVED_BY[file] === undefined)).toEqual([]);
    const names = new Set(installation.parts.map(({ name }) => name));
    const proving = found.flatMap((file) => (PROVED_BY[file] === 'composition' ? [] : (PROVED_BY[file] ?? [])));
    expect(proving.filter((name) => !names.has(name))).toEqual([]);
    expect([...names].filter((name) => !proving.includes(name))).toEqual([]);
  });

  test('are noticed however they are written', () => {
    expect(makesService('export function createX(): Service {')).toBe(true);
    expect(makesService('export interface X extends Service {')).toBe(true);
    expect(makesService("const loop = createLoop({ name: 'x' })")).toBe(true);
    expect(makesService('return {\n  async start() {},\n  stop: async () => {},\n}')).toBe(true);
    expect(makesService('/** extends Service */\nexport const start = 1;')).toBe(false);
  });

  test('start and stop in any order, at once, twice, and leave nothing behind', async () => {
    const failures = await Promise.all(installation.parts.map((part, index) => shake(part, SEED + index)));
    expect(failures.flat()).toEqual([]);
    await expectSilence();
  }, 60_000);

  test('stop in time while what they need is away, and start again when it is back', async () => {
    const { parts, redis, postgres } = installation;
    await Promise.all(parts.map((part) => part.start()));
    await Promise.all([redis.set({ type: 'refuse' }), postgres.set({ type: 'refuse' })]);
    redis.cut();
    postgres.cut();
    await Promise.all(parts.map((part, index) => shake(part, SEED + 1_000 + index)));
    await Promise.all([redis.set({ type: 'pass' }), postgres.set({ type: 'pass' })]);
    const starts = (part: Part) =>
      part.start().then(
        () => true,
        () => false,
      );
    await Promise.all(parts.map((part) => eventually(`${part.name} starts`, () => starts(part))));
    await Promise.all(parts.map((part) => within(`stop of ${part.name}`, SLACK_MS, part.stop())));
    await expectSilence();
  }, 90_000);

  test('stop as a whole in the middle of starting', async () => {
    const { parts, clock } = installation;
    const lifecycle = createLifecycle({ parts, clock, logger: silentLogger });
    const starting = lifecycle.start();
    await Bun.sleep(5);
    await within('the lifecycle', 2 * SLACK_MS, Promise.all([lifecycle.stop(), lifecycle.stop(), starting]));
    await Promise.all(parts.map((part) => part.stop()));
    await expectSilence();
  }, 60_000);
});
