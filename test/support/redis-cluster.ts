/**
 * A real Redis Cluster of three masters for tests: three `redis-server` processes on this machine. There are no replicas, so
 * a server that is killed takes its slots along until it is started again; the others go on
 * (`cluster-require-full-coverage no`).
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import Redis from 'ioredis';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { type TemporaryFolder, temporaryFolder } from './temporary-folder.ts';

const SERVERS = 3;
const SLOTS = 16_384;

interface Server {
  readonly port: number;
  readonly busPort: number;
  /** For looking at it and for setting it up; reconnects after a restart. */
  readonly admin: Redis;
  start(): Promise<void>;
  isRunning(): boolean;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Removes what a killed server kept, but for its place in the cluster. */
  loseData(): Promise<void>;
}

export interface RedisCluster {
  /** `redis+cluster://…` */
  readonly url: string;
  readonly servers: readonly Server[];
  /** The server that has the key. */
  serverOf(key: string): Promise<Server>;
  /** Starts a server again and resolves when the cluster is whole. */
  restart(server: Server): Promise<void>;
  /** Gives the slot of a key, which must not have keys, to another server; returns that one. */
  moveSlotOf(key: string): Promise<Server>;
  stop(): Promise<void>;
}

function createServer(folder: TemporaryFolder, index: number, persist: boolean): Server {
  const [port, busPort] = [freePort(), freePort()];
  const admin = new Redis({
    port,
    host: '127.0.0.1',
    lazyConnect: true,
    retryStrategy: () => 20,
    maxRetriesPerRequest: null,
  });
  admin.on('error', () => undefined);
  let child: Bun.Subprocess | undefined;
  const settings: Record<string, string> = {
    port: String(port),
    bind: '127.0.0.1',
    dir: folder.path,
    save: '',
    appendonly: persist ? 'yes' : 'no',
    // What was answered is kept, however busy the disk is; with `everysec` it may not be.
    appendfsync: 'always',
    appenddirname: `aof-${index}`,
    'cluster-enabled': 'yes',
    'cluster-config-file': join(folder.path, `nodes-${index}.conf`),
    'cluster-port': String(busPort),
    'cluster-node-timeout': '2000',
    'cluster-require-full-coverage': 'no',
    'maxmemory-policy': 'noeviction',
    logfile: join(folder.path, `log-${index}`),
  };
  return {
    port,
    busPort,
    admin,
    async start() {
      const program = Bun.which('redis-server') ?? Bun.which('valkey-server') ?? 'redis-server';
      const command = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
      child = Bun.spawn([program, ...command], { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' });
      const ended = child.exited.then((code) => {
        throw new Error(`redis-server ended with ${code}; ${settings['logfile']} says why`);
      });
      ended.catch(() => undefined);
      if (admin.status === 'wait') await admin.connect().catch(() => undefined);
      await Promise.race([admin.ping(), ended]);
    },
    isRunning: () => child !== undefined && !child.killed,
    async kill() {
      child?.kill('SIGKILL');
      await child?.exited;
    },
    loseData: () => rm(join(folder.path, `aof-${index}`), { recursive: true }),
  };
}

/** Every server sees every other one and has all slots served. */
async function whole(servers: readonly Server[]): Promise<boolean> {
  const infos = await Promise.all(servers.map(({ admin }) => admin.cluster('INFO')));
  const has = (info: unknown, line: string) => String(info).includes(line);
  return infos.every(
    (info) =>
      has(info, 'cluster_state:ok') &&
      has(info, `cluster_slots_ok:${SLOTS}`) &&
      has(info, `cluster_known_nodes:${servers.length}`),
  );
}

/** `persist`: what was answered is still there when a killed server is started again. */
export async function startRedisCluster({ persist = false }: { persist?: boolean } = {}): Promise<RedisCluster> {
  const folder = await temporaryFolder();
  const servers = Array.from({ length: SERVERS }, (_, index) => createServer(folder, index, persist));
  const isWhole = () => eventually('the cluster is whole', () => whole(servers));
  async function stop(): Promise<void> {
    for (const { admin } of servers) admin.disconnect();
    await Promise.all(servers.map((server) => server.kill()));
    await folder.remove();
  }
  try {
    await Promise.all(servers.map((server) => server.start()));
    const share = Math.ceil(SLOTS / SERVERS);
    for (const [index, { admin }] of servers.entries()) {
      await admin.cluster('ADDSLOTSRANGE', index * share, Math.min(SLOTS, (index + 1) * share) - 1);
      await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
      for (const { port, busPort } of servers.slice(0, index)) {
        await admin.call('CLUSTER', 'MEET', '127.0.0.1', port, busPort);
      }
    }
    await isWhole();
  } catch (error) {
    await stop();
    throw error;
  }
  async function serverOf(key: string): Promise<Server> {
    const admin = servers.find((server) => server.isRunning())?.admin;
    const slot = Number(await admin?.cluster('KEYSLOT', key));
    const ranges = (await admin?.cluster('SLOTS')) ?? [];
    const port = ranges.find(([from, to]) => from <= slot && slot <= to)?.[2]?.[1];
    const server = servers.find((one) => one.port === port);
    if (!server) throw new Error(`nobody has slot ${slot}`);
    return server;
  }
  return {
    url: `redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    servers,
    serverOf,
    async restart(server) {
      await server.start();
      await isWhole();
    },
    async moveSlotOf(key) {
      const slot = Number(await servers[0]?.admin.cluster('KEYSLOT', key));
      const from = await serverOf(key);
      const to = servers.find((server) => server !== from);
      if (!to) throw new Error('there is no other server');
      const id = String(await to.admin.cluster('MYID'));
      // The new owner first, so that the slot always has one.
      for (const { admin } of [to, ...servers.filter((server) => server !== to)]) {
        await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', id);
      }
      return to;
    },
    stop,
  };
}
