/**
 * clamd by its own protocol (clamd(8), INSTREAM): the bytes go in pieces, each after its length, and one line comes back. It
 * fails closed: whatever is not the daemon's plain statement about all bytes that were sent is `unavailable`.
 *
 * The daemon calls files above its limits clean unless it is told `AlertExceedsMax yes`; then it answers with a
 * `Heuristics.Limits.Exceeded…` signature, which is a finding like any other (`deploy/clamav/clamd.conf`).
 */
import { connect, type Socket } from 'node:net';
import type { MalwareScanner, ScanVerdict } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { readFileStream } from './file-stream.ts';

export type ClamdAddress = { path: string } | { host: string; port: number };

export interface ClamdOptions {
  address: ClamdAddress;
  clock: Pick<Clock, 'after'>;
  /** Without a sign of life while bytes are sent. */
  idleMs?: number;
  /** For the answer once all is sent: scanning takes its time. */
  answerMs?: number;
}

const MAX_ANSWER = 4_096;
const DEFAULT_PORT = 3_310;

/** `tcp://host:3310` or `unix:/path`; undefined for anything else. */
export function parseClamdUrl(url: string): ClamdAddress | undefined {
  const path = /^unix:(?:\/\/)?(\/.+)$/.exec(url)?.[1];
  if (path !== undefined) return { path };
  if (!/^tcp:\/\//.test(url) || !URL.canParse(url)) return undefined;
  const { hostname, port } = new URL(url);
  return hostname === ''
    ? undefined
    : { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port || DEFAULT_PORT) };
}

const away = (cause?: unknown): AppError =>
  new AppError('unavailable', 'The malware scanner does not answer, so nothing is accepted.', {
    cause,
    retryAfterMs: 10_000,
  });

export function createClamd({ address, clock, idleMs = 15_000, answerMs = 120_000 }: ClamdOptions): MalwareScanner {
  return {
    async scan(path, signal) {
      signal?.throwIfAborted();
      const socket = connect(address);
      const over = Promise.withResolvers<never>();
      // All three may fail while another one is waited for; which of them is told is decided below.
      over.promise.catch(() => undefined);
      let cancelTimer = () => {};
      const within = (ms: number): void => {
        cancelTimer();
        cancelTimer = clock.after(ms, () => over.reject(away(new Error(`no sign of life in ${ms} ms`))));
      };
      const onAbort = () => over.reject(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      const answer = answerOf(socket);
      answer.catch(() => undefined);
      within(idleMs);
      let sent = false;
      const sending = send(socket, path, () => within(idleMs)).then(() => {
        sent = true;
        within(answerMs);
      });
      // An answer that comes early ends the sending; its own failure then says less than the answer.
      sending.catch(() => undefined);
      try {
        const text = await Promise.race([answer, failureOf(sending, answer), over.promise]);
        const verdict = read(text);
        if (verdict?.type === 'clean' && !sent) throw new Error('called clean before all was sent');
        if (!verdict) throw new Error(`an answer that is none: ${text.slice(0, 100)}`);
        return verdict;
      } catch (error) {
        throw error instanceof AppError || signal?.aborted ? error : away(error);
      } finally {
        cancelTimer();
        signal?.removeEventListener('abort', onAbort);
        socket.destroy();
      }
    },
  };
}

/** Rejects as the sending does; where that failed because the daemon had said enough, resolves with what it said. */
async function failureOf(sending: Promise<void>, answer: Promise<string>): Promise<string> {
  try {
    await sending;
  } catch (error) {
    return answer.catch(() => Promise.reject(error));
  }
  return answer;
}

/** The line that comes back, up to its NUL or the end of the connection. */
function answerOf(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.on('data', (piece: Buffer) => {
      text += piece.toString('utf8');
      const end = text.indexOf('\0');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > MAX_ANSWER) reject(new Error('an endless answer'));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed without an answer')));
  });
}

async function send(socket: Socket, path: string, alive: () => void): Promise<void> {
  const lost = Promise.withResolvers<never>();
  // Perhaps nothing is being written when it is lost.
  lost.promise.catch(() => undefined);
  socket.on('error', lost.reject);
  socket.on('close', () => lost.reject(new Error('closed')));
  /** One write at a time: what the daemon does not take is not read from the disk either. */
  const write = async (bytes: Uint8Array): Promise<void> => {
    const written = new Promise<void>((resolve, reject) => {
      socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    await Promise.race([written, lost.promise]);
    alive();
  };
  await write(Buffer.from('zINSTREAM\0'));
  for await (const piece of await readFileStream(path)) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(piece.byteLength);
    await write(Buffer.concat([head, piece]));
  }
  await write(Buffer.alloc(4));
}

function read(answer: string): ScanVerdict | undefined {
  const line = answer.trim();
  if (line === 'stream: OK') return { type: 'clean' };
  const signature = /^stream: ([\x21-\x7e]{1,200}(?:\([^)]*\))?) FOUND$/.exec(line)?.[1];
  if (signature !== undefined) return { type: 'found', signature };
  return /size limit exceeded/i.test(line) ? { type: 'too_large' } : undefined;
}
