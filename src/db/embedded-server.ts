/**
 * Lets many connections share PGlite's one backend without seeing each other's half-done work. A connection owns the
 * backend from its first message until the exchange is complete: until Sync (or a simple query) was answered and no
 * transaction is open. Messages of others wait in their order of arrival.
 *
 * Rejected: pglite-socket 0.2, which lets connections take turns message by message outside a transaction. After an
 * error PostgreSQL skips messages until Sync, so one connection's error swallowed what others had asked and they waited
 * for ever (16 of 300 queries, 20 connections, every fifth naming a missing table). It also keeps the statements of
 * closed connections, asks for no password, and stops for good after an error of its own.
 *
 * States of a connection: greeting (nothing proven) → password → ready → closed.
 */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import type { Clock } from '../kernel/clock.ts';
import {
  backend,
  CANCEL_REQUEST,
  createMessageReader,
  frontend,
  GSS_REQUEST,
  type Message,
  PROTOCOL_3,
  ProtocolError,
  SSL_REQUEST,
  stringAt,
} from './embedded-protocol.ts';

/** One PostgreSQL backend that answers messages synchronously: PGlite. */
export interface Engine {
  /** Runs whole messages; the answer's bytes go to `onData`, which must copy what it keeps. */
  run(messages: Uint8Array, onData: (bytes: Uint8Array) => void): Promise<void>;
  inTransaction(): boolean;
}

export interface EmbeddedServerOptions {
  engine: Engine;
  /** What a client must send: any process of this machine can reach the port. */
  password: string;
  clock: Clock;
  /** How long a connection may hold an open exchange or transaction without saying anything. */
  idleOwnerMs: number;
  maxConnections: number;
  /** The engine broke: nothing can be promised any more. */
  onFault(error: unknown): void;
}

export interface EmbeddedServer {
  readonly port: number;
  /** Runs our own work on the engine while no connection holds it. Rejects when the server stops before. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  /** Ends every connection and waits for what runs; open transactions are rolled back. */
  stop(): Promise<void>;
}

interface Connection {
  readonly socket: Socket;
  readonly statements: Set<string>;
  closed: boolean;
}

/** What runs without anybody coming between: messages up to where the client expects an answer, or our own work. */
interface Turn {
  /** Null: our own. */
  connection: Connection | null;
  /** The exchange is complete with this turn: it ends with Sync or is a simple query. */
  complete: boolean;
  run(): Promise<void>;
  /** The server stops before it ran. */
  drop?(): void;
}

/**
 * What the shared backend cannot do, and the answer it gives instead of hanging everybody or changing who everybody is.
 */
const REFUSED: readonly [RegExp, string][] = [
  [/^\s*copy\b[^;]*\bfrom\s+stdin\b/i, 'COPY FROM STDIN is not available in the embedded database'],
  [/^\s*(listen|unlisten)\b/i, 'LISTEN is not available in the embedded database'],
  [
    /^\s*(set\s+(session\s+|local\s+)?session\s+authorization|reset\s+session\s+authorization|discard\s+all)\b/i,
    'the session of the embedded database is shared and cannot be changed',
  ],
];

function refusalOf(sql: string): string | undefined {
  const reason = REFUSED.find(([pattern]) => pattern.test(sql))?.[1];
  // Raised by the backend itself, so that the transaction's state follows.
  return reason && `do $$ begin raise exception using errcode = '0A000', message = '${reason}'; end $$`;
}

/** The message as the backend gets it; remembers the statements that a connection leaves behind. */
function admit(connection: Connection, { type, bytes }: Message): Buffer {
  if (type === 'Q') {
    const refusal = refusalOf(stringAt(bytes, 5).text);
    return refusal ? frontend.query(refusal) : bytes;
  }
  if (type === 'P') {
    const name = stringAt(bytes, 5);
    const refusal = refusalOf(stringAt(bytes, name.next).text);
    if (refusal) return frontend.parse(name.text, refusal);
    if (name.text !== '') connection.statements.add(name.text);
  }
  if (type === 'C' && bytes[5] === 'S'.charCodeAt(0)) connection.statements.delete(stringAt(bytes, 6).text);
  return bytes;
}

function samePassword(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)];
  return a.length === b.length && timingSafeEqual(a, b);
}

export async function startEmbeddedServer(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
  const { engine, password, clock, idleOwnerMs, maxConnections, onFault } = options;
  const queue: Turn[] = [];
  const connections = new Set<Connection>();
  let owner: Connection | null = null;
  let pumping: Promise<void> | undefined;
  let stopping = false;
  let cancelIdle: (() => void) | undefined;

  /** PGlite ignores what a client says at start-up, so its greeting is the same for all: asked for once. */
  const greeting = await answerTo(frontend.startup({ user: 'dreamhub_login', database: 'postgres' }));

  async function answerTo(bytes: Buffer): Promise<Buffer> {
    const parts: Buffer[] = [];
    await engine.run(bytes, (part) => parts.push(Buffer.from(part)));
    return Buffer.concat(parts);
  }

  /** Whose turn it is: the owner's, else whoever waits longest. -1: nobody who may go on has said anything. */
  function nextIndex(): number {
    if (queue.length === 0) return -1;
    return owner ? queue.findIndex(({ connection }) => connection === owner) : 0;
  }

  async function pump(): Promise<void> {
    cancelIdle?.();
    for (;;) {
      if (owner?.closed) await abandon();
      const [turn] = queue.splice(nextIndex(), nextIndex() === -1 ? 0 : 1);
      if (!turn) break;
      owner = turn.connection;
      await turn.run();
      if (turn.complete && !engine.inTransaction()) owner = null;
      // The engine is synchronous: without a turn of the event loop no socket would be read and no shutdown noticed.
      await new Promise(setImmediate);
    }
    const holder = owner;
    if (holder) cancelIdle = clock.after(idleOwnerMs, () => holder.socket.destroy(new Error('idle in transaction')));
  }

  function wake(): void {
    pumping ??= pump()
      .catch(onFault)
      .finally(() => {
        pumping = undefined;
        // Something may have come between the last look and here.
        if (owner?.closed || nextIndex() !== -1) wake();
      });
  }

  /** Ends what the owner left half done. */
  async function abandon(): Promise<void> {
    await answerTo(frontend.sync);
    if (engine.inTransaction()) await answerTo(frontend.query('rollback'));
    owner = null;
  }

  function forget(connection: Connection): void {
    if (connection.closed) return;
    connection.closed = true;
    connections.delete(connection);
    for (let i = queue.length - 1; i >= 0; i--) if (queue[i]?.connection === connection) queue.splice(i, 1);
    const closes = [...connection.statements].map(frontend.closeStatement);
    if (closes.length > 0 && !stopping) {
      const bytes = Buffer.concat([...closes, frontend.sync]);
      queue.push({ connection: null, complete: true, run: async () => void (await answerTo(bytes)) });
    }
    wake();
  }

  /** Whole exchanges go to the queue; what is not answered yet stays in `open`. */
  function enqueue(connection: Connection, message: Message, open: Buffer[]): void {
    open.push(admit(connection, message));
    const complete = message.type === 'S' || message.type === 'Q' || message.type === 'F';
    if (!complete && message.type !== 'H') return;
    const bytes = Buffer.concat(open.splice(0));
    async function run(): Promise<void> {
      const answer = await answerTo(bytes);
      if (answer.length > 0) connection.socket.write(answer);
    }
    queue.push({ connection, complete, run });
    wake();
  }

  function exclusively<T>(work: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const drop = (): void => reject(new Error('the embedded database stops'));
    if (stopping) drop();
    else queue.push({ connection: null, complete: true, run: () => work().then(resolve, reject), drop });
    wake();
    return promise;
  }

  function serve(socket: Socket): void {
    const connection: Connection = { socket, statements: new Set(), closed: false };
    const reader = createMessageReader();
    const open: Buffer[] = [];
    let state: 'greeting' | 'password' | 'ready' = 'greeting';
    connections.add(connection);
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => forget(connection));

    const refuse = (code: string, text: string): void => void socket.end(backend.error(code, text));

    function greet(): boolean {
      const startup = reader.startup();
      if (!startup) return false;
      if (startup.code === SSL_REQUEST || startup.code === GSS_REQUEST) socket.write('N');
      else if (startup.code === CANCEL_REQUEST) socket.end();
      else if (startup.code !== PROTOCOL_3) refuse('0A000', 'unsupported frontend protocol');
      else if (connections.size > maxConnections) refuse('53300', 'sorry, too many clients already');
      else {
        state = 'password';
        socket.write(backend.askPassword);
      }
      return true;
    }

    function handle(): boolean {
      if (state === 'greeting') return greet();
      const message = reader.next();
      if (!message) return false;
      if (state === 'ready') {
        if (message.type === 'X') socket.end();
        else enqueue(connection, message, open);
      } else if (message.type === 'p' && samePassword(stringAt(message.bytes, 5).text, password)) {
        state = 'ready';
        socket.write(greeting);
      } else {
        refuse('28P01', 'password authentication failed');
      }
      return true;
    }

    socket.on('data', (bytes: Buffer) => {
      reader.push(bytes);
      try {
        while (!socket.writableEnded && handle());
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refuse('08P01', `protocol violation: ${error.message}`);
      }
    });
  }

  const server = createServer(serve);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has an address');

  return {
    port: address.port,
    exclusively,
    async stop() {
      stopping = true;
      cancelIdle?.();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const { socket } of connections) socket.destroy();
      await closed;
      for (const turn of queue.splice(0)) turn.drop?.();
      while (pumping) await pumping;
      if (owner) await abandon();
    },
  };
}
