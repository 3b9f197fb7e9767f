/**
 * The hub beside socket.io with its Redis adapter and beside Bun's own publish, which has neither log nor check. Three
 * processes on each side: a producer (the worker's end), the server, and the readers; events go over one Redis. DreamHub's
 * server is `src/main.ts` with role `server`, with real tokens, its log on, and its metrics and logging as they are.
 *
 * Floods send one event a token without the coalescing that a worker does, so the sides send frames of the same size and
 * number. Processor time is the server's; the producer's and Redis' stand beside it, because a log costs there.
 */
import Redis from 'ioredis';
import { createAccessTokens } from '../../src/http/plugins/jwt.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { startChild } from './support/child.ts';
import {
  type ClientsOrder,
  type Heard,
  KINDS,
  type Kind,
  type ProducerOrder,
  type Reader,
  startOrderly,
} from './support/hub.ts';
import { startInstallation } from './support/installation.ts';
import { processorTimeOf, residentOf, settled } from './support/process-stats.ts';
import { interleave, ratios } from './support/rounds.ts';
import { type Services, startServices } from './support/services.ts';

const TURNS = 1_000;
/** Events of each turn in a flood, and of a room. */
const TURN_EVENTS = 40;
const ROOM_EVENTS = 600;
const ROOM_PER_SECOND = 100;
const QUIET_PER_SECOND = 5;
const PACED_MS = 3_000;
const IDLE = 8_000;
const STORM = 10_000;
const STREAMING = [100, 250, 500, 750, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000];
const TOKENS_PER_SECOND = 30;
/** By how much the last token may be later than it was due: more, and a backlog grows. */
const KEEPS_UP_MS = 250;
const PATIENCE_MS = 60_000;
const TOKEN_SECONDS = 900;

interface Server extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
}

async function startPeer(kind: Kind, redisUrl: string): Promise<Server> {
  const listening = Promise.withResolvers<number>();
  const child = startChild({
    script: 'test/bench/hub-peers.ts',
    env: { KIND: kind, REDIS_URL: redisUrl },
    onMessage: (message) => listening.resolve((message as { result: number }).result),
  });
  void child.exited.then(() => listening.reject(new Error(child.errorTail())));
  return { ...child, port: await listening.promise };
}

/** Readers of these topics, each somebody of a tenant of fifty. */
async function readersOf(topics: readonly string[], secret: string): Promise<Reader[]> {
  const tokens = createAccessTokens({ secrets: [secret], clock: systemClock });
  const tenants = Array.from({ length: Math.ceil(topics.length / 50) }, () => Bun.randomUUIDv7());
  const shared = new Set(topics).size === 1;
  return Promise.all(
    topics.map(async (topic, index) => {
      const tenantId = (shared ? tenants[0] : tenants[Math.floor(index / 50)]) ?? '';
      const userId = Bun.randomUUIDv7();
      const principal = { tenantId, userId, role: 'member' as const, sessionId: Bun.randomUUIDv7() };
      const token = await tokens.sign(principal, TOKEN_SECONDS);
      return { topic, tenantId, userId, token };
    }),
  );
}

const turns = (count: number) => Array.from({ length: count }, () => `turn:${Bun.randomUUIDv7()}`);

interface Side extends AsyncDisposable {
  readonly server: Server;
  produce(order: ProducerOrder): Promise<unknown>;
  /** Sends and hears; every reader must get `each` events in order. */
  measure(order: ProducerOrder, each: number): Promise<Measured>;
  reconnect(): Promise<{ ms: number; resumed: number }>;
}

interface Measured extends Heard {
  /** Microseconds of processor time a frame: of the server, and of server, producer and Redis together. */
  cpu: number;
  allCpu: number;
  perSecond: number;
}

/** One side with its readers connected. */
async function startSide(kind: Kind, server: Server, services: Services, topics: readonly string[]): Promise<Side> {
  const { REDIS_URL = '', JWT_SECRET = '' } = services.env;
  const readers = await readersOf(topics, JWT_SECRET);
  const producer = startOrderly<ProducerOrder>('test/bench/hub-producer.ts', { REDIS_URL });
  const clients = startOrderly<ClientsOrder>('test/bench/hub-clients.ts', {});
  await Promise.all([producer.ready, clients.ready]);
  const redis = new Redis(REDIS_URL.replace(/^unix:(\/\/)?/, ''));
  const redisPid = Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1]);
  redis.disconnect();
  const streams = [...new Map(readers.map((reader) => [reader.topic, reader])).values()];
  if (topics[0] !== '') await producer.order({ do: 'begin', kind, streams });
  await clients.order({ do: 'open', kind, port: server.port, readers, after: 1 });
  const used = async () => {
    const [own, others] = [
      await processorTimeOf(server.pid),
      (await processorTimeOf(producer.pid)) + (await processorTimeOf(redisPid)),
    ];
    return { own, all: own + others };
  };
  return {
    server,
    produce: (order) => producer.order(order),
    async measure(order, each) {
      const before = await used();
      const [, heard] = await Promise.all([
        producer.order(order),
        clients.order<Heard>({ do: 'hear', each, withinMs: PATIENCE_MS }),
      ]);
      const after = await used();
      const { frames, ms, disorder } = heard;
      if (frames !== each * readers.length || disorder > 0) {
        throw new Error(`${kind}: ${frames} of ${each * readers.length} frames came, ${disorder} out of order`);
      }
      return {
        ...heard,
        cpu: (after.own - before.own) / frames,
        allCpu: (after.all - before.all) / frames,
        perSecond: frames / (ms / 1_000),
      };
    },
    reconnect: () => clients.order({ do: 'reconnect' }),
    async [Symbol.asyncDispose]() {
      await clients.order({ do: 'close' }).catch(() => undefined);
      await clients[Symbol.asyncDispose]();
      await producer[Symbol.asyncDispose]();
    },
  };
}

type Servers = Readonly<Record<Kind, Server>>;

/** A fresh set of readers on every side, each side measured once. */
function once(
  servers: Servers,
  services: Services,
  scenario: { topics(kind: Kind): string[]; warm: ProducerOrder; warmEach: number; order: ProducerOrder; each: number },
) {
  const measure = (kind: Kind) => async () => {
    await using side = await startSide(kind, servers[kind], services, scenario.topics(kind));
    await side.measure(scenario.warm, scenario.warmEach);
    return await side.measure(scenario.order, scenario.each);
  };
  return { dreamhub: measure('dreamhub'), 'socket.io': measure('socket.io'), bun: measure('bun') };
}

type Results = Readonly<Record<Kind, Measured[]>>;

const column = (results: Results, kind: Kind, field: 'cpu' | 'allCpu' | 'perSecond' | 'p50' | 'p99') =>
  results[kind].map((measured) => measured[field]);

function figures(
  label: string,
  results: Results,
  fields: readonly ('cpu' | 'allCpu' | 'perSecond' | 'p50' | 'p99')[],
): Row[] {
  const units = { cpu: 'µs', allCpu: 'µs', perSecond: 'frames/s', p50: 'ms', p99: 'ms' } as const;
  const names = {
    cpu: 'server’s processor time a frame',
    allCpu: 'the same with producer and Redis',
    perSecond: 'delivered',
    p50: 'producer to reader, p50',
    p99: 'producer to reader, p99',
  };
  return fields.flatMap((field) =>
    KINDS.map(
      (kind): Row => ({
        label: `${label}, ${kind}: ${names[field]}`,
        unit: units[field],
        values: column(results, kind, field),
      }),
    ),
  );
}

function compared(label: string, results: Results, field: 'cpu' | 'perSecond', peer: Kind, target: Row['target']): Row {
  const values = ratios(column(results, 'dreamhub', field), column(results, peer, field));
  return { label, unit: 'ratio', values, ...(target && { target }) };
}

async function fanOut(servers: Servers, services: Services, rounds: number): Promise<Row[]> {
  const many = await interleave(
    rounds,
    once(servers, services, {
      topics: () => turns(TURNS),
      warm: { do: 'flood', rounds: 5 },
      warmEach: 5,
      order: { do: 'flood', rounds: TURN_EVENTS },
      each: TURN_EVENTS,
    }),
  );
  const quiet = await interleave(
    rounds,
    once(servers, services, {
      topics: () => turns(TURNS),
      warm: { do: 'flood', rounds: 5 },
      warmEach: 5,
      order: { do: 'pace', perSecond: QUIET_PER_SECOND, ms: PACED_MS },
      each: (QUIET_PER_SECOND * PACED_MS) / 1_000,
    }),
  );
  const added = column(quiet, 'dreamhub', 'p50').map((p50, round) => p50 - (column(quiet, 'bun', 'p50')[round] ?? 0));
  return [
    ...figures('1,000 turns × 1, flooded', many, ['perSecond', 'cpu', 'allCpu']),
    compared('… DreamHub of Bun without a log: delivered', many, 'perSecond', 'bun', { atLeast: 0.6 }),
    compared('… DreamHub of socket.io: delivered', many, 'perSecond', 'socket.io', { atLeast: 5 }),
    compared('… DreamHub of socket.io: processor time', many, 'cpu', 'socket.io', { atMost: 0.25 }),
    ...figures(`1,000 turns × 1, ${QUIET_PER_SECOND}/s each`, quiet, ['p50', 'p99', 'cpu']),
    { label: '… DreamHub over Bun: added p50', unit: 'ms', values: added, target: { atMost: 1 } },
  ];
}

async function room(servers: Servers, services: Services, rounds: number): Promise<Row[]> {
  const topics = () => Array<string>(TURNS).fill(`task:${Bun.randomUUIDv7()}`);
  const flooded = await interleave(
    rounds,
    once(servers, services, {
      topics,
      warm: { do: 'flood', rounds: 5 },
      warmEach: 5,
      order: { do: 'flood', rounds: ROOM_EVENTS },
      each: ROOM_EVENTS,
    }),
  );
  const paced = await interleave(
    rounds,
    once(servers, services, {
      topics,
      warm: { do: 'flood', rounds: 5 },
      warmEach: 5,
      order: { do: 'pace', perSecond: ROOM_PER_SECOND, ms: PACED_MS },
      each: (ROOM_PER_SECOND * PACED_MS) / 1_000,
    }),
  );
  return [
    ...figures('one room × 1,000, flooded', flooded, ['perSecond', 'cpu']),
    compared('… DreamHub of socket.io: delivered', flooded, 'perSecond', 'socket.io', { atLeast: 20 }),
    compared('… DreamHub of Bun without a log: delivered', flooded, 'perSecond', 'bun', undefined),
    ...figures(`one room × 1,000, ${ROOM_PER_SECOND}/s`, paced, ['p50', 'p99', 'cpu']),
    compared('… DreamHub of socket.io: processor time', paced, 'cpu', 'socket.io', { atMost: 0.65 }),
  ];
}

/** How many turns at 30 tokens/s reach their readers without a backlog; stops at the first number that does not. */
async function streaming(server: Server, services: Services): Promise<Row[]> {
  let most = 0;
  let p99 = Number.NaN;
  let cores = 0;
  for (const count of STREAMING) {
    await using side = await startSide('dreamhub', server, services, turns(count));
    await side.measure({ do: 'flood', rounds: 2 }, 2);
    const each = (TOKENS_PER_SECOND * PACED_MS) / 1_000;
    const measured = await side.measure({ do: 'pace', perSecond: TOKENS_PER_SECOND, ms: PACED_MS }, each);
    if (measured.ms > PACED_MS + KEEPS_UP_MS) break;
    most = count;
    p99 = measured.p99;
    cores = (measured.allCpu * each * count) / (measured.ms * 1_000);
  }
  return [
    {
      label: `turns at ${TOKENS_PER_SECOND} tokens/s whose last is at most ${KEEPS_UP_MS} ms late`,
      unit: 'of them',
      values: [most],
      target: { atLeast: 5_000 },
    },
    { label: '… their p99', unit: 'ms', values: [p99] },
    { label: '… cores that server, producer and Redis used', unit: 'ratio', values: [cores] },
  ];
}

async function idle(services: Services): Promise<Row> {
  await using server = await startInstallation({ ...services.env, DREAMHUB_ROLE: 'server' });
  const resident = () => settled(() => residentOf(server.pid), { within: 1_048_576 });
  const warm = await startSide('dreamhub', server, services, Array<string>(200).fill(''));
  await warm[Symbol.asyncDispose]();
  const before = await resident();
  await using _readers = await startSide('dreamhub', server, services, Array<string>(IDLE).fill(''));
  const after = await resident();
  return {
    label: `resident for each of ${IDLE} idle connections`,
    unit: 'KB',
    values: [(after - before) / IDLE / 1_024],
    target: { atMost: 4 },
  };
}

/** PostgreSQL is cut off from the server for the whole way back, so whoever resumed did so without it. */
async function storm(services: Services): Promise<Row[]> {
  const { DATABASE_URL = '' } = services.env;
  const url = new URL(DATABASE_URL);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 5432) });
  try {
    url.host = `127.0.0.1:${proxy.port}`;
    await using server = await startInstallation({ ...services.env, DATABASE_URL: url.href, DREAMHUB_ROLE: 'server' });
    await using side = await startSide('dreamhub', server, services, turns(STORM));
    await side.measure({ do: 'flood', rounds: 2 }, 2);
    await proxy.set({ type: 'half-open' });
    const { ms, resumed } = await side.reconnect();
    await side.measure({ do: 'flood', rounds: 2 }, 2);
    return [
      {
        label: 'resumed with PostgreSQL cut off, and heard the next events in order',
        unit: 'of them',
        values: [resumed],
        target: { atLeast: STORM },
      },
      { label: '… until the last of them', unit: 'ms', values: [ms] },
    ];
  } finally {
    await proxy.stop();
  }
}

export const benchmark: Benchmark = {
  name: 'hub',
  about: 'events to readers beside socket.io with its Redis adapter, and beside Bun’s publish without a log',

  async run({ rounds, progress }) {
    // No append-only file: the disk's share of a log would be measured on one side alone.
    await using services = await startServices({ persist: false });
    const { REDIS_URL = '' } = services.env;
    const rows: Row[] = [];
    {
      await using dreamhub = await startInstallation({ ...services.env, DREAMHUB_ROLE: 'server' });
      await using socketIo = await startPeer('socket.io', REDIS_URL);
      await using bun = await startPeer('bun', REDIS_URL);
      const servers = { dreamhub, 'socket.io': socketIo, bun };
      progress('1,000 turns, one reader each');
      rows.push(...(await fanOut(servers, services, rounds)));
      progress('one room, 1,000 readers');
      rows.push(...(await room(servers, services, rounds)));
      progress(`turns at ${TOKENS_PER_SECOND} tokens/s`);
      rows.push(...(await streaming(dreamhub, services)));
    }
    progress(`${IDLE} idle connections`);
    rows.push(await idle(services));
    progress(`${STORM} come back at once`);
    rows.push(...(await storm(services)));
    return rows;
  },
};
