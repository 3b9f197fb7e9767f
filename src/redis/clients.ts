/**
 * Four kinds of connection that are never shared: the producer fails fast and pipelines; ops run scripts and reads with
 * a deadline; a reader belongs to one loop, which sets the deadlines; a subscriber only listens.
 *
 * Where Redis is a cluster, the first three find the server of a key by themselves. Subscribers don't: one listens at one
 * server, because only so it is known what was heard (`subscriber.ts`).
 *
 * One server may be replaced behind its name or address while those who are connected stay connected to it. It is a replica
 * then: it refuses writes, and answers everything else. Whoever learns of it has all connections made anew.
 */
import Redis, {
  type ChainableCommander,
  Cluster,
  type ClusterOptions,
  type RedisCommander,
  type RedisOptions,
} from 'ioredis';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { within } from '../kernel/within.ts';
import { parseNode, parseRedisUrl, type RedisAddress, type RedisNode } from './address.ts';
import { completeTracingChannels } from './tracing.ts';

/** What a connection to one server and one to a cluster have in common. A call may name keys of one slot only. */
export interface RedisClient extends RedisCommander<{ type: 'default'; mapping: 'resp2' }> {
  /** `ready` where commands can be sent; in a cluster: to at least one of its servers. */
  readonly status: string;
  /** `-node`: a server of the cluster was lost; `moved`: a slot, as a subscriber was told. */
  on(event: 'ready' | 'close' | 'end' | '-node' | 'moved', listener: () => void): unknown;
  on(event: 'error' | 'node error', listener: (error: Error) => void): unknown;
  on(event: 'smessage', listener: (channel: string, text: string) => void): unknown;
  off(event: 'ready' | '-node', listener: () => void): unknown;
  multi(): ChainableCommander;
  defineCommand(name: string, definition: { lua: string }): void;
  disconnect(reconnect?: boolean): void;
}

export interface RedisClients {
  readonly producer: RedisClient;
  readonly ops: RedisClient;
  /** A new connection for one loop; the loop's owner disconnects it. */
  reader(name: string): RedisClient;
  /** Where a subscriber may begin to listen: servers of the cluster as `host:port`, or the only one, which has no name. */
  readonly servers: readonly string[];
  /** A new connection that only listens, at one server; its owner disconnects it. */
  subscriber(name: string, server?: string): RedisClient;
  /**
   * What `INFO` says, of each server that holds data. Throws where one of them does not answer. Producer and ops of a cluster
   * can be used from now on: they have no queue for what comes before they know its servers.
   */
  info(): Promise<string[]>;
  /** Keys that fit a glob pattern, some at a time, of each server that holds data; one may come twice. */
  walk(pattern: string): AsyncIterable<string[]>;
  /** Throws `unavailable` when Redis, or one server of the cluster, does not answer within `timeoutMs` or only reads. */
  check(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

const COMMAND_TIMEOUT_MS = 5_000;
/**
 * A connection that owes an answer for so long is cut and made again. A timeout of the command alone leaves a half-open
 * socket in use for ever; and the greeting of a new connection has no other limit. No connection here blocks in Redis.
 */
const SILENCE_MS = 5_000;
/** What a replica says to who would write, and of itself. */
const REFUSES_WRITES = /\bREADONLY\b/;
const IS_REPLICA = /^role:slave/m;
/** A cluster that does not exist yet, or is being elected, may take a while at the start. */
const CLUSTER_START_MS = 15_000;
/** Keys that a server looks at for one step of a walk: well below a millisecond. */
const WALKED_AT_ONCE = 1_000;

/** Reply shapes are RESP2's, which the scripts are written for. */
type Options = Omit<RedisOptions, 'replyMapping'>;
type ClusterKind = Omit<ClusterOptions, 'redisOptions'> & { redisOptions?: Options };

interface Kind {
  options: Options;
  /** How a cluster's client differs for this kind. */
  cluster: ClusterKind;
}

/** After a lost server a call is tried again a few times, for some 300 ms: as with one server, its caller wants to know. */
const FAILS_FAST: ClusterKind = { enableOfflineQueue: false, retryDelayOnFailover: 100, maxRedirections: 6 };

const KINDS = {
  // A cluster's pipelines need the whole slot map at all times, and throw where a slot has no server.
  // What the logs send is gathered already, and a pipeline would keep it waiting for the answers to the one before.
  producer: {
    options: {
      maxRetriesPerRequest: 1,
      commandTimeout: COMMAND_TIMEOUT_MS,
      enableAutoPipelining: true,
      autoPipeliningIgnoredCommands: ['evalsha', 'eval', 'spublish'],
    },
    cluster: { ...FAILS_FAST, redisOptions: { commandTimeout: COMMAND_TIMEOUT_MS } },
  },
  ops: {
    options: { maxRetriesPerRequest: 1, commandTimeout: COMMAND_TIMEOUT_MS },
    cluster: { ...FAILS_FAST, redisOptions: { commandTimeout: COMMAND_TIMEOUT_MS } },
  },
  // In a cluster a call fails at once, so that a loop goes on with the partitions that are well; and it is never sent
  // again by itself, because taking twice leaves entries with nobody.
  reader: {
    options: { maxRetriesPerRequest: null },
    cluster: { retryDelayOnFailover: 0, retryDelayOnClusterDown: 0, maxRedirections: 6 },
  },
} as const satisfies Record<string, Kind>;

const retry = (times: number) => Math.min(50 * 2 ** Math.min(times, 6), 2_000);
const nameOf = ({ host, port }: RedisNode) => `${host}:${port}`;

type ClusterAddress = Extract<RedisAddress, { kind: 'cluster' }>;

function loginOf({ username, password, tls }: ClusterAddress): Options {
  return { ...(username && { username }), ...(password && { password }), ...(tls && { tls: {} }) };
}

/** `redis://…`, `rediss://…`, `unix:/path` for a socket, `redis+cluster://host:port,host:port`. */
export function createRedisClients({
  url,
  logger,
  clock = systemClock,
}: {
  url: string;
  logger: Logger;
  clock?: Clock;
}): RedisClients {
  completeTracingChannels();
  const address = parseRedisUrl(url);
  const open = new Set<Redis | Cluster>();

  function keep<T extends Redis | Cluster>(name: string, client: T): T {
    const events: Pick<RedisClient, 'on'> = client;
    const tell = (error: Error) => logger.debug({ err: error, connection: name }, `redis: ${messageOf(error)}`);
    events.on('error', tell);
    events.on('node error', tell);
    events.on('end', () => open.delete(client));
    open.add(client);
    return client;
  }

  /** All of the only server's connections: those that write would find out by themselves, those that listen never. */
  function leaveReplica(): void {
    for (const client of open) if (client instanceof Redis && client.status === 'ready') client.disconnect(true);
  }

  /** Asked of each error that the only server answers with; the command fails, as one whose connection was lost. */
  function isLeft(error: Error): boolean {
    if (!REFUSES_WRITES.test(error.message)) return false;
    logger.warn({ err: error }, 'Redis takes no writes: connecting anew');
    leaveReplica();
    return true;
  }

  const common = (name: string): Options => ({
    protocol: 2,
    connectionName: `dreamhub-${name}`,
    connectTimeout: 5_000,
    socketTimeout: SILENCE_MS,
  });

  function server(name: string, options: Options): Redis {
    const base = { ...common(name), retryStrategy: retry, reconnectOnError: isLeft, ...options };
    if (address.kind === 'cluster') throw new Error('a cluster has no one server');
    return keep(
      name,
      address.url.startsWith('unix:')
        ? new Redis({ path: address.url.slice('unix:'.length), ...base })
        : new Redis(address.url, base),
    );
  }

  function cluster(name: string, of: ClusterAddress, { redisOptions, ...options }: ClusterKind): Cluster {
    return keep(
      name,
      new Cluster([...of.nodes], {
        clusterRetryStrategy: retry,
        slotsRefreshTimeout: 2_000,
        slotsRefreshInterval: 5_000,
        ...options,
        redisOptions: { ...common(name), ...loginOf(of), ...redisOptions },
      }),
    );
  }

  const make = (kind: keyof typeof KINDS, name: string): RedisClient =>
    address.kind === 'cluster' ? cluster(name, address, KINDS[kind].cluster) : server(name, KINDS[kind].options);

  const producer = make('producer', 'producer');
  const own =
    address.kind === 'cluster' ? cluster('ops', address, KINDS.ops.cluster) : server('ops', KINDS.ops.options);

  /** The servers that hold data; one that is known and cannot be reached is among them. */
  async function masters(): Promise<Redis[]> {
    if (own instanceof Redis) return [own];
    if (own.status !== 'ready') throw new Error('the cluster cannot be reached');
    const keys = new Set(own.slots.flatMap(([master]) => master ?? []));
    const known = new Map(own.nodes('master').map((node) => [nameOf(addressOf(node)), node]));
    const found = [...keys].map((key) => known.get(key));
    if (found.length === 0 || found.some((node) => node === undefined))
      throw new Error('a server of the cluster is away');
    return found.filter((node) => node !== undefined);
  }

  return {
    producer,
    ops: own,
    reader: (name) => make('reader', `reader-${name}`),
    servers: address.kind === 'cluster' ? address.nodes.map(nameOf) : [''],
    subscriber(name, at = '') {
      const options: Options = { maxRetriesPerRequest: null, autoResubscribe: false };
      if (address.kind === 'server') return server(`subscriber-${name}`, options);
      const node = parseNode(at) ?? address.nodes[0];
      return keep(
        name,
        new Redis({ ...common(`subscriber-${name}`), retryStrategy: retry, ...loginOf(address), ...options, ...node }),
      );
    },
    async info() {
      if (address.kind === 'cluster') await Promise.all([producer, own].map((client) => whenReady(client, clock)));
      return Promise.all((await masters()).map((master) => master.info()));
    },
    async *walk(pattern) {
      for (const master of await masters()) {
        for (let cursor = '0', first = true; first || cursor !== '0'; first = false) {
          const [next, names] = await master.scan(cursor, 'MATCH', pattern, 'COUNT', WALKED_AT_ONCE);
          cursor = next;
          if (names.length > 0) yield names;
        }
      }
    },
    async check(timeoutMs) {
      const asked = masters().then((all) => Promise.all(all.map((master) => master.info('replication'))));
      try {
        const answers = await within(clock, timeoutMs, asked, () => {
          throw new Error(`no answer in ${timeoutMs} ms`);
        });
        if (answers.some((answer) => IS_REPLICA.test(answer))) {
          if (address.kind === 'server') leaveReplica();
          throw new Error('a server is a replica');
        }
      } catch (cause) {
        throw new AppError('unavailable', 'Redis does not answer.', { cause });
      }
    },
    async close() {
      for (const client of open) client.disconnect();
    },
  };
}

function addressOf({ options: { host = '127.0.0.1', port = 6379 } }: Redis): RedisNode {
  return { host, port };
}

async function whenReady(client: RedisClient, clock: Clock): Promise<void> {
  if (client.status === 'ready') return;
  const { promise, resolve } = Promise.withResolvers<void>();
  client.on('ready', resolve);
  try {
    await within(clock, CLUSTER_START_MS, promise, () => {
      throw new AppError('unavailable', 'The Redis Cluster is not ready.');
    });
  } finally {
    client.off('ready', resolve);
  }
}
