/**
 * The Redis of an installation that was given none: the system's `redis-server`, on a socket that only this user can
 * open, with an append-only file in the data folder. One process at a time uses a data folder. Nothing is restarted
 * here: when the server is gone, `exited` says so and the owner decides.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import Redis from 'ioredis';
import { type ChildExit, type ChildProcess, spawnChild } from '../kernel/child-process.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { lockFile } from '../kernel/file-lock.ts';
import type { Logger } from '../kernel/logger.ts';
import { within } from '../kernel/within.ts';

export interface EmbeddedRedisOptions {
  /** `DATA_DIR`; Redis keeps its files in its folder `redis`. */
  dataDir: string;
  logger: Logger;
  /** `false` keeps nothing on disk: for tests. */
  persist?: boolean;
  clock?: Clock;
}

export interface EmbeddedRedis {
  /** `unix:` and the path of the socket. */
  readonly url: string;
  readonly socketPath: string;
  /** Settles when the server is gone, asked or not. */
  readonly exited: Promise<ChildExit>;
  /** Lets it write its file and end; after `timeoutMs` (default 10 s) kills it. */
  stop(timeoutMs?: number): Promise<void>;
  kill(): void;
}

const INSTALL =
  'No redis-server (or valkey-server) was found. Install one: `apt-get install redis-server` on Debian and Ubuntu, ' +
  '`dnf install valkey` on Fedora, `apk add redis` on Alpine, `brew install redis` on macOS. Or set REDIS_URL.';

/** Loading a large append-only file takes a while. */
const START_TIMEOUT_MS = 120_000;
const ORPHAN_TIMEOUT_MS = 15_000;
/** `sun_path` has 108 bytes, the closing NUL included; macOS has 104. */
const MAX_SOCKET_PATH = 103;

/**
 * redis-server has no notion of a parent, so a shell waits beside it: `read` returns when our end of the pipe closes,
 * even because we were killed, and then the server is told to end.
 */
const WATCHDOG = `
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(read -r _ <&3; kill -TERM "$server") 2>/dev/null &
watcher=$!
wait "$server"
code=$?
kill "$watcher" 2>/dev/null
exit "$code"
`;

/** A place for the socket that fits into its address and that no other user of this machine can reach or plant. */
async function socketPathFor(folder: string): Promise<string> {
  const near = join(folder, 'redis.sock');
  if (Buffer.byteLength(near) <= MAX_SOCKET_PATH) return near;
  const key = createHash('sha256').update(folder).digest('hex').slice(0, 24);
  const short = join(tmpdir(), `dreamhub-${key}`);
  await mkdir(short, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const stat = await lstat(short);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0) {
    throw new AppError('unavailable', `${short} is not a folder that only this user can open; remove it.`);
  }
  return join(short, 'redis.sock');
}

function configuration(folder: string, socketPath: string, persist: boolean): string[] {
  const settings: Record<string, string> = {
    port: '0',
    unixsocket: socketPath,
    unixsocketperm: '700',
    dir: folder,
    save: '',
    appendonly: persist ? 'yes' : 'no',
    appendfsync: 'everysec',
    'maxmemory-policy': 'noeviction',
    daemonize: 'no',
    logfile: '',
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}

/**
 * We hold the folder's lock, so whoever answers on its socket is the server of a process that was killed together with
 * its watchdog. It is asked to write its file and go: two servers must not append to one file.
 */
async function endOrphan(socketPath: string, clock: Clock, logger: Logger): Promise<void> {
  if (!existsSync(socketPath)) return;
  const client = new Redis({ path: socketPath, lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  const ended = new Promise<void>((resolve) => client.once('end', resolve));
  client.on('error', (error) => logger.debug({ err: error }, 'the socket is left over'));
  try {
    await client.connect();
  } catch {
    // Nobody is there: the socket is left over.
    return;
  }
  logger.warn({ socketPath }, 'ending a redis-server that outlived its DreamHub process');
  // The answer to it is that the connection ends.
  client.shutdown().catch(() => undefined);
  await within(clock, ORPHAN_TIMEOUT_MS, ended, () => {
    throw new AppError('conflict', `A redis-server on ${socketPath} does not end; end it by hand.`);
  });
}

/** Resolves when the server answers and has loaded its file; rejects when it ends first or takes too long. */
async function ready(child: ChildProcess, socketPath: string, clock: Clock, output: () => string): Promise<void> {
  const client = new Redis({ path: socketPath, retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  client.once('ready', resolve);
  const cancel = clock.after(START_TIMEOUT_MS, child.kill);
  void child.exited.then(() => reject(new AppError('unavailable', `redis-server did not start: ${output()}`)));
  try {
    await promise;
  } finally {
    cancel();
    client.disconnect();
  }
}

export async function startEmbeddedRedis({
  dataDir,
  logger,
  persist = true,
  clock = systemClock,
}: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const program = Bun.which('redis-server') ?? Bun.which('valkey-server');
  if (!program) throw new AppError('unavailable', INSTALL);
  const folder = join(resolve(dataDir), 'redis');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const lock = lockFile(join(resolve(dataDir), 'redis.lock'));
  if (!lock) throw new AppError('conflict', `Another DreamHub process is using the Redis in ${folder}.`);
  try {
    const socketPath = await socketPathFor(folder);
    await endOrphan(socketPath, clock, logger);
    const command = [program, ...configuration(folder, socketPath, persist)];
    return await launch(command, socketPath, clock, logger, async () => {
      if (dirname(socketPath) !== folder) await rm(dirname(socketPath), { recursive: true, force: true });
      lock.release();
    });
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function launch(
  command: string[],
  socketPath: string,
  clock: Clock,
  logger: Logger,
  release: () => Promise<void>,
): Promise<EmbeddedRedis> {
  const output: string[] = [];
  const child = spawnChild({
    name: 'redis',
    command: ['/bin/sh', '-c', WATCHDOG, 'redis-watchdog', ...command],
    onLine(line) {
      output.push(line);
      if (output.length > 20) output.shift();
      logger.debug({ child: 'redis' }, line);
    },
    clock,
    logger,
  });
  try {
    await ready(child, socketPath, clock, () => [...output, child.errorTail()].join('\n'));
  } catch (error) {
    child.kill();
    await child.exited;
    throw error;
  }
  const exited = child.exited.finally(release);
  return {
    url: `unix:${socketPath}`,
    socketPath,
    exited,
    kill: child.kill,
    async stop(timeoutMs = 10_000) {
      await child.stop(timeoutMs);
      await exited;
    },
  };
}
