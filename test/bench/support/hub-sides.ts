/**
 * The sides of the hub's benchmarks: three processes each, a producer (the worker's end), the server, and the readers; events
 * go over one Redis. DreamHub's server is `src/main.ts` with role `server`, with real tokens, its log on, and its metrics and
 * logging as they are. Processor time is the server's; the producer's and Redis' stand beside it, because a log costs there.
 *
 * socket.io runs on Node.js, as its users run it, and on Bun, whose own sockets make it several times faster; the room's
 * target is held against the first alone, the others against both. Both take WebSockets only and compress nothing. Readers and producers are the same Bun processes for all.
 */
import { fileURLToPath } from 'node:url';
import Redis from 'ioredis';
import { createAccessTokens } from '../../../src/http/plugins/jwt.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import type { Row } from './benchmark.ts';
import { startChild } from './child.ts';
import {
  type ClientsOrder,
  type Heard,
  KINDS,
  type Kind,
  type ProducerOrder,
  type Reader,
  startOrderly,
} from './hub.ts';
import { startInstallation } from './installation.ts';
import { processorTimeOf } from './process-stats.ts';
import { interleave, ratios } from './rounds.ts';
import type { Services } from './services.ts';

const PATIENCE_MS = 60_000;
/** For each topic: what runs now and then is interpreted, and several times as slow as what is compiled. */
const WARM_TOKENS = 20;
const TOKEN_SECONDS = 900;

export interface Server extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
}

/** Where Node.js is: socket.io's own platform. */
const NODE = Bun.which('node');

/** What can be measured here. */
const KINDS_HERE = KINDS.filter((kind) => kind !== 'socket.io' || NODE !== null);

/** The peers' script as Node.js can run it. */
async function bundleForNode(folder: string): Promise<string> {
  const built = await Bun.build({
    entrypoints: [fileURLToPath(new URL('../hub-peers.ts', import.meta.url))],
    target: 'node',
    outdir: folder,
    naming: 'peers.mjs',
  });
  const [output] = built.outputs;
  if (!output) throw new Error('The peers cannot be bundled.');
  return output.path;
}

async function startPeer(kind: Kind, { env, folder }: Services): Promise<Server> {
  const { REDIS_URL = '' } = env;
  const listening = Promise.withResolvers<number>();
  const onNode = kind === 'socket.io' && NODE !== null;
  const child = startChild({
    script: onNode ? await bundleForNode(folder) : 'test/bench/hub-peers.ts',
    env: { KIND: kind, REDIS_URL },
    ...(onNode && { program: NODE }),
    onMessage: (message) => listening.resolve((message as { result: number }).result),
  });
  void child.exited.then(() => listening.reject(new Error(child.errorTail())));
  return { ...child, port: await listening.promise };
}

/** DreamHub (role `server`) and the peers, side by side on one Redis. */
export async function startServers(services: Services): Promise<Servers> {
  const started = new Map<Kind, Server>();
  for (const kind of KINDS_HERE) {
    started.set(
      kind,
      kind === 'dreamhub'
        ? await startInstallation({ ...services.env, DREAMHUB_ROLE: 'server' })
        : await startPeer(kind, services),
    );
  }
  return {
    of(kind) {
      const server = started.get(kind);
      if (!server) throw new Error(`There is no ${kind} here.`);
      return server;
    },
    async [Symbol.asyncDispose]() {
      for (const server of started.values()) await server[Symbol.asyncDispose]();
    },
  };
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

export const turns = (count: number) => Array.from({ length: count }, () => `turn:${Bun.randomUUIDv7()}`);

export interface Side extends AsyncDisposable {
  readonly server: Server;
  produce(order: ProducerOrder): Promise<unknown>;
  /** Sends and hears; every reader must get each token, in order, and no other. */
  measure(order: Exclude<ProducerOrder, { do: 'begin' }>): Promise<Measured>;
  reconnect(): Promise<{ ms: number; resumed: number }>;
}

export interface Measured extends Heard {
  /** Microseconds of processor time a token: of the server, and of server, producer and Redis together. */
  cpu: number;
  allCpu: number;
  /** Tokens. */
  perSecond: number;
  /** Tokens a second of the server's processor time: what it could deliver, had the readers cores of their own. */
  perCpuSecond: number;
  perFrame: number;
}

/** One side with its readers connected. */
export async function startSide(
  kind: Kind,
  server: Server,
  services: Services,
  topics: readonly string[],
): Promise<Side> {
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
    async measure(order) {
      const each = order.do === 'flood' ? order.each : Math.round((order.perSecond * order.ms) / 1_000);
      const tokensSay = order.do === 'flood' ? 'numbers' : 'moments';
      await clients.order({ do: 'expect', tokens: tokensSay, singly: !order.gathered });
      const before = await used();
      const [, heard] = await Promise.all([
        producer.order(order),
        clients.order<Heard>({ do: 'hear', each, withinMs: PATIENCE_MS }),
      ]);
      const after = await used();
      const { frames, tokens, ms, disorder, resets } = heard;
      if (tokens !== each * readers.length || disorder > 0) {
        const came = `${tokens} of ${each * readers.length} tokens came`;
        throw new Error(`${kind}: ${came}, ${disorder} out of order, ${resets} readers were told the state anew`);
      }
      const cpu = (after.own - before.own) / tokens;
      return {
        ...heard,
        cpu,
        perCpuSecond: 1e6 / cpu,
        allCpu: (after.all - before.all) / tokens,
        perSecond: tokens / (ms / 1_000),
        perFrame: tokens / frames,
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

export interface Servers extends AsyncDisposable {
  of(kind: Kind): Server;
}

export interface Scenario {
  topics(): string[];
  order(kind: Kind): Exclude<ProducerOrder, { do: 'begin' }>;
}

export type Results = ReadonlyMap<Kind, Measured[]>;

/** Every side in turns; a fresh set of readers each time, warmed up. */
export async function measureAll(
  rounds: number,
  servers: Servers,
  services: Services,
  { topics, order }: Scenario,
): Promise<Results> {
  const measure = (kind: Kind) => async () => {
    await using side = await startSide(kind, servers.of(kind), services, topics());
    const flood = order(kind);
    await side.measure({ do: 'flood', each: WARM_TOKENS, gathered: false });
    return await side.measure(flood);
  };
  const results = await interleave(rounds, Object.fromEntries(KINDS_HERE.map((kind) => [kind, measure(kind)])));
  return new Map(KINDS_HERE.map((kind) => [kind, results[kind] ?? []]));
}

type Field = 'cpu' | 'allCpu' | 'perSecond' | 'perCpuSecond' | 'perFrame' | 'p50' | 'p99';

const UNITS = {
  cpu: 'µs',
  allCpu: 'µs',
  perSecond: 'tokens/s',
  perCpuSecond: 'tokens/s',
  perFrame: 'ratio',
  p50: 'ms',
  p99: 'ms',
} as const;
const NAMES: Readonly<Record<Field, string>> = {
  cpu: 'server’s processor time a token',
  allCpu: 'the same with producer and Redis',
  perSecond: 'delivered',
  perCpuSecond: 'delivered a second of the server’s processor time',
  perFrame: 'tokens a frame',
  p50: 'producer to reader, p50',
  p99: 'producer to reader, p99',
};

export const column = (results: Results, kind: Kind, field: Field) =>
  (results.get(kind) ?? []).map((measured) => measured[field]);

export function figures(label: string, results: Results, fields: readonly Field[]): Row[] {
  return fields.flatMap((field) =>
    KINDS_HERE.filter((kind) => field !== 'perFrame' || kind === 'dreamhub').map(
      (kind): Row => ({
        label: `${label}, ${kind}: ${NAMES[field]}`,
        unit: UNITS[field],
        values: column(results, kind, field),
      }),
    ),
  );
}

/** DreamHub's figure as a multiple of a peer's, round by round. */
export function compared(
  results: Results,
  field: 'cpu' | 'perSecond' | 'perCpuSecond',
  peer: Kind,
  target?: Row['target'],
): Row[] {
  if (!KINDS_HERE.includes(peer)) return [];
  const values = ratios(column(results, 'dreamhub', field), column(results, peer, field));
  const name = peer === 'bun' ? 'Bun without a log' : peer;
  return [{ label: `… DreamHub of ${name}: ${NAMES[field]}`, unit: 'ratio', values, ...(target && { target }) }];
}
