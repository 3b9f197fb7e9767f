/** Two clamds: the real one with a signature of our own, and an imitation that misbehaves. */
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { temporaryFolder } from './temporary-folder.ts';

/** The harmless test file that every scanner knows (eicar.org). In two parts, or scanners would find this source. */
export const EICAR = ['X5O!P%@AP[4\\PZX54(P^)7CC)7}$', 'EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*'].join('');

export interface RealClamd {
  readonly url: string;
  stop(): Promise<void>;
}

const program = (): string | null => Bun.which('clamd') ?? Bun.which('clamd', { PATH: '/usr/sbin:/usr/local/sbin' });

export const hasClamd = program() !== null;

/** Starts one on a socket of its own; it takes streams up to `maxStream` and looks into files up to `maxFile`. */
export async function startClamd({ maxFile = '8M', maxStream = '16M' } = {}): Promise<RealClamd> {
  const clamd = program();
  if (clamd === null) throw new Error('clamd is not installed');
  const folder = await temporaryFolder();
  const socket = join(folder.path, 'clamd.sock');
  const config = join(folder.path, 'clamd.conf');
  await Bun.write(join(folder.path, 'ours.ndb'), `Eicar-Test:0:*:${Buffer.from(EICAR).toString('hex')}\n`);
  const lines = [
    'Foreground yes',
    `LocalSocket ${socket}`,
    `DatabaseDirectory ${folder.path}`,
    'AlertExceedsMax yes',
    `MaxFileSize ${maxFile}`,
    `MaxScanSize ${maxFile}`,
    `StreamMaxLength ${maxStream}`,
  ];
  await Bun.write(config, `${lines.join('\n')}\n`);
  const child = Bun.spawn([clamd, `--config-file=${config}`], { stdout: 'ignore', stderr: 'pipe' });
  const deadline = Date.now() + 60_000;
  while (
    !(await Bun.file(socket)
      .stat()
      .catch(() => null))
  ) {
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`clamd does not start: ${await new Response(child.stderr).text()}`);
    }
    await Bun.sleep(20);
  }
  return {
    url: `unix:${socket}`,
    async stop() {
      child.kill('SIGKILL');
      await child.exited;
      await folder.remove();
    },
  };
}

export interface FakeClamd {
  readonly port: number;
  /** Streams that came in whole. */
  readonly scanned: Buffer[];
  stop(): Promise<void>;
}

export interface FakeClamdOptions {
  /** What it says once all is there; undefined: nothing. */
  answer?: string;
  /** Says it as soon as anything came. */
  early?: boolean;
  /** Ends the connection: before anything, after the answer, or never. */
  close?: 'at once' | 'after';
  /** Takes nothing. */
  deaf?: boolean;
}

export async function startFakeClamd({ answer, early, close, deaf }: FakeClamdOptions): Promise<FakeClamd> {
  const sockets = new Set<Socket>();
  const scanned: Buffer[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    if (close === 'at once') return void socket.destroy();
    if (deaf) return void socket.pause();
    let said = false;
    const say = () => {
      if (said || answer === undefined) return;
      said = true;
      socket.write(answer, () => close === 'after' && socket.end());
    };
    let bytes = Buffer.alloc(0);
    socket.on('data', (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece]);
      if (early) {
        socket.pause();
        return say();
      }
      const stream = unpack(bytes);
      if (!stream) return;
      scanned.push(stream);
      say();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return {
    port: address.port,
    scanned,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** The stream of an INSTREAM command that is there as a whole. */
function unpack(bytes: Buffer): Buffer | undefined {
  const command = 'zINSTREAM\0';
  if (!bytes.toString('latin1').startsWith(command)) return undefined;
  const pieces: Buffer[] = [];
  for (let at = command.length; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    if (length === 0) return Buffer.concat(pieces);
    pieces.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return undefined;
}
