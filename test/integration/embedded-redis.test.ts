import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import Redis from 'ioredis';
import { AppError } from '../../src/kernel/errors.ts';
import { silentLogger as logger } from '../../src/kernel/logger.ts';
import { type EmbeddedRedis, startEmbeddedRedis } from '../../src/redis/embedded.ts';
import { startHost } from '../support/host-process.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

let root: TemporaryFolder;
let made = 0;
const running = new Set<EmbeddedRedis>();
const clients = new Set<Redis>();

beforeAll(async () => {
  root = await temporaryFolder();
});

afterEach(async () => {
  for (const redis of clients) redis.disconnect();
  await Promise.all([...running].map((server) => server.stop()));
  clients.clear();
  running.clear();
});

afterAll(() => root.remove());

async function dataFolder(name = `data-${made++}`): Promise<string> {
  const path = join(root.path, name);
  await mkdir(path, { recursive: true });
  return path;
}

async function start(dataDir: string): Promise<EmbeddedRedis> {
  const server = await startEmbeddedRedis({ dataDir, logger });
  running.add(server);
  return server;
}

function client(url: string): Redis {
  const redis = new Redis({ path: url.slice('unix:'.length), retryStrategy: () => null, maxRetriesPerRequest: 0 });
  redis.on('error', () => undefined);
  clients.add(redis);
  return redis;
}

/** Resolves when the server closed the connection. */
function closed(redis: Redis): Promise<void> {
  return new Promise((resolve) => redis.once('end', () => resolve()));
}

async function pidOf(redis: Redis): Promise<number> {
  return Number(/^process_id:(\d+)/m.exec(await redis.info('server'))?.[1]);
}

/** The shells that watch over a server: its parent and that one's other child. */
async function watchersOf(server: number): Promise<number[]> {
  const stat = await Bun.file(`/proc/${server}/stat`).text();
  const shell = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? '';
  const children = await Bun.file(`/proc/${shell}/task/${shell}/children`).text();
  return [
    Number(shell),
    ...children
      .trim()
      .split(' ')
      .map(Number)
      .filter((pid) => pid !== server),
  ];
}

test('never drops keys by itself and writes an append-only file', async () => {
  const redis = client((await start(await dataFolder())).url);
  const info = await redis.info();
  expect(info).toMatch(/^maxmemory_policy:noeviction\r$/m);
  expect(info).toMatch(/^aof_enabled:1\r$/m);
  expect(info).toMatch(/^tcp_port:0\r$/m);
});

test('keeps its data over a stop and a start', async () => {
  const dataDir = await dataFolder();
  const first = await start(dataDir);
  await client(first.url).set('key', 'kept');
  await first.stop();
  await first.stop();
  expect(await first.exited).toEqual({ code: 0, signal: null });
  expect(await client((await start(dataDir)).url).get('key')).toBe('kept');
});

test('loses nothing that it acknowledged when it is killed', async () => {
  const dataDir = await dataFolder();
  const first = await start(dataDir);
  const redis = client(first.url);
  for (let i = 0; i < 500; i++) await redis.incr('n');
  first.kill();
  await first.exited;
  expect(await client((await start(dataDir)).url).get('n')).toBe('500');
});

test('a second start on the same folder is refused, from this process and from another', async () => {
  const dataDir = await dataFolder();
  const host = await startHost('redis', dataDir);
  const redis = client(host.url);
  await redis.set('key', 'kept');
  const error = await startEmbeddedRedis({ dataDir, logger }).catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({ kind: 'conflict' });
  expect(await redis.get('key')).toBe('kept');
  await host.kill();
});

test('ends when its parent is killed, and the next start has everything', async () => {
  const dataDir = await dataFolder();
  const host = await startHost('redis', dataDir);
  const redis = client(host.url);
  await redis.set('key', 'kept');
  const gone = closed(redis);
  await host.kill();
  await gone;
  expect(await client((await start(dataDir)).url).get('key')).toBe('kept');
});

test('a server whose parent and watchdog were killed is ended by the next start', async () => {
  const dataDir = await dataFolder();
  const host = await startHost('redis', dataDir);
  const redis = client(host.url);
  await redis.set('key', 'kept');
  const orphan = await pidOf(redis);
  for (const pid of await watchersOf(orphan)) process.kill(pid, 'SIGKILL');
  const gone = closed(redis);
  await host.kill();
  const next = client((await start(dataDir)).url);
  await gone;
  expect(await next.get('key')).toBe('kept');
  expect(await pidOf(next)).not.toBe(orphan);
});

test('tells its owner when the server dies', async () => {
  const server = await start(await dataFolder());
  process.kill(await pidOf(client(server.url)), 'SIGKILL');
  expect(await server.exited).toEqual({ code: 137, signal: null });
});

test('finds a place for the socket where the path of the data folder is too long for one', async () => {
  const server = await start(await dataFolder('x'.repeat(120)));
  expect(Buffer.byteLength(server.socketPath)).toBeLessThan(108);
  expect(await client(server.url).ping()).toBe('PONG');
});

test('says how to install a server where there is none', async () => {
  const dataDir = await dataFolder();
  const script = `
    import { startEmbeddedRedis } from '${new URL('../../src/redis/embedded.ts', import.meta.url).href}';
    import { silentLogger as logger } from '${new URL('../../src/kernel/logger.ts', import.meta.url).href}';
    try { await startEmbeddedRedis({ dataDir: ${JSON.stringify(dataDir)}, logger }); }
    catch (error) { console.log(error.kind, error.message); }`;
  const child = Bun.spawn([process.execPath, '-e', script], { env: { PATH: '/nowhere' }, stdout: 'pipe' });
  const output = await new Response(child.stdout).text();
  expect(output).toStartWith('unavailable ');
  expect(output).toContain('apt-get install redis-server');
});
