/**
 * The load of the HTTP benchmarks, as a process of its own: keep-alive connections over bare sockets, each of which sends
 * its next request when it has read the answer to the last. Requests are prepared bytes and answers are looked at no more
 * than is needed, because what the generator uses of a small machine is missing for the server, on both sides alike.
 * It speaks as much HTTP as the benchmarked servers answer with: a status line and a Content-Length.
 */
import type { Socket } from 'bun';
import { type LoadOrder, type LoadResult, UNIQUE } from './support/load.ts';

interface Prepared {
  bytes: Buffer;
  /** Where the unique part is; -1: there is none. */
  uniqueAt: number;
}

interface Connection {
  /** It has no more to send, so that its end is no failure. */
  done: boolean;
  socket: Socket<Connection> | undefined;
  sentAt: number;
  /** What the kernel has not taken yet of the request. */
  unsent: Buffer | undefined;
  received: Buffer;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const EMPTY = Buffer.alloc(0);
/** Different in each run of the generator, so that no two runs upload the same. */
const RUN = crypto.randomUUID().slice(0, 8);
let counter = 0;

/** As long as `UNIQUE`. */
function nextUnique(): string {
  counter += 1;
  return RUN + counter.toString(36).padStart(UNIQUE.length - RUN.length, '0');
}

function prepare(text: string): Prepared {
  const bytes = Buffer.from(text);
  return { bytes, uniqueAt: bytes.indexOf(UNIQUE) };
}

/** The length of the whole answer at the start of `bytes`, undefined where its head is not complete. */
function answerLength(bytes: Buffer): number | undefined {
  const headLength = bytes.indexOf(HEAD_END) + HEAD_END.length;
  if (headLength < HEAD_END.length) return undefined;
  const length = /\r\ncontent-length: *(\d+)/i.exec(bytes.toString('latin1', 0, headLength))?.[1];
  if (length === undefined)
    throw new Error(`An answer without Content-Length: ${bytes.toString('latin1', 0, headLength)}`);
  return headLength + Number(length);
}

async function run({ port, requests, connections, ms, status }: LoadOrder): Promise<LoadResult> {
  const prepared = requests.map(prepare);
  const expected = Buffer.from(`HTTP/1.1 ${status} `);
  const latencies: number[] = [];
  const finished = Promise.withResolvers<void>();
  let next = 0;
  let busy = connections;
  let inTime = 0;
  const started = performance.now();
  const deadline = started + ms;

  function write(socket: Socket<Connection>, bytes: Buffer): void {
    const written = Math.max(0, socket.write(bytes));
    socket.data.unsent = written < bytes.length ? bytes.subarray(written) : undefined;
  }

  function send(socket: Socket<Connection>): void {
    if (performance.now() >= deadline) {
      busy -= 1;
      socket.data.done = true;
      socket.end();
      if (busy === 0) finished.resolve();
      return;
    }
    const request = prepared[next++ % prepared.length];
    if (!request) {
      finished.reject(new Error('There are no requests to send.'));
      return;
    }
    if (request.uniqueAt >= 0) request.bytes.write(nextUnique(), request.uniqueAt, 'latin1');
    socket.data.sentAt = performance.now();
    // The socket keeps what it could not send at once, so bytes that change need a copy.
    write(socket, request.uniqueAt >= 0 ? Buffer.from(request.bytes) : request.bytes);
  }

  const handlers: Bun.SocketHandler<Connection> = {
    open: send,
    data(socket, chunk) {
      const { data } = socket;
      try {
        const bytes = data.received.length === 0 ? chunk : Buffer.concat([data.received, chunk]);
        const length = answerLength(bytes);
        if (length === undefined || bytes.length < length) {
          // The chunk's memory is reused after this call.
          data.received = Buffer.from(bytes);
          return;
        }
        if (bytes.length > length) throw new Error('More came than one answer.');
        if (!bytes.subarray(0, expected.length).equals(expected)) {
          throw new Error(`Not the expected ${status}: ${bytes.toString()}`);
        }
        data.received = EMPTY;
        const now = performance.now();
        latencies.push(now - data.sentAt);
        if (now <= deadline) inTime += 1;
        send(socket);
      } catch (error) {
        finished.reject(error);
      }
    },
    drain(socket) {
      if (socket.data.unsent) write(socket, socket.data.unsent);
    },
    close(socket) {
      if (!socket.data.done) finished.reject(new Error('The server closed a connection.'));
    },
    error: (_, error) => finished.reject(error),
    connectError: (_, error) => finished.reject(error),
  };
  const opened: Connection[] = Array.from({ length: connections }, () => ({
    done: false,
    socket: undefined,
    sentAt: 0,
    unsent: undefined,
    received: EMPTY,
  }));
  for (const data of opened) {
    Bun.connect({ hostname: '127.0.0.1', port, data, socket: handlers }).then((socket) => {
      data.socket = socket;
    }, finished.reject);
  }
  try {
    await finished.promise;
  } finally {
    for (const connection of opened) {
      connection.done = true;
      connection.socket?.terminate();
    }
  }
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor((latencies.length - 1) * share)] ?? Number.NaN;
  return { requestsPerSecond: inTime / (ms / 1_000), requests: latencies.length, p50: at(0.5), p99: at(0.99) };
}

process.on('message', async (order: LoadOrder) => {
  try {
    process.send?.({ result: await run(order) });
  } catch (error) {
    process.send?.({ error: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true });
