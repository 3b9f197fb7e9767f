/** A node that serves only `/ws`, and a client that keeps what it is told. */
import { Decoder, Encoder } from '@msgpack/msgpack';
import { Elysia } from 'elysia';
import type { Principal, ServerFrame, Subprotocol, TurnReceipt } from '../../src/contracts/index.ts';
import { AppError, toAppError } from '../../src/kernel/errors.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { createTickets } from '../../src/services/tickets.ts';
import type { ChatPort } from '../../src/ws/ports.ts';
import { createWsRoute, type WsConfig } from '../../src/ws/route.ts';
import { type NodeOptions, startNode, uuid } from './realtime.ts';

export function principalOf(more: Partial<Principal> = {}): Principal {
  return {
    tenantId: uuid(),
    userId: uuid(),
    role: 'member',
    sessionId: uuid(),
    expiresAt: Date.now() + 600_000,
    ...more,
  };
}

export interface SocketNodeOptions extends NodeOptions {
  /** What happens while a token is looked at, after its session was found to live. */
  proving?: (principal: Principal) => Promise<void>;
  config?: Partial<WsConfig>;
  chat?: Partial<ChatPort>;
  /** Listens at this path instead of a port: the kernel keeps little for such a socket, and no more the longer it waits. */
  unix?: string;
}

export type SocketNode = Awaited<ReturnType<typeof startSocketNode>>;

/** Tokens are names given out by `tokenFor`; sessions end when they are put into `revoked`. */
export async function startSocketNode(options: SocketNodeOptions) {
  const node = await startNode(options);
  const principals = new Map<string, Principal>();
  const revoked = new Set<string>();
  const standing = (who: Principal | null) => (who && !revoked.has(who.sessionId) ? who : null);
  const receipt = (): TurnReceipt => ({ turn_id: uuid(), message_id: uuid(), conversation_id: uuid() });
  const tickets = createTickets(node);
  const metrics = createMetrics();
  const waiting = new Set<() => void>();
  let count = 0;
  function counted(now: number): void {
    count = now;
    for (const look of [...waiting]) look();
  }
  const ws = createWsRoute({
    ...node,
    chat: { send: async () => receipt(), cancel: async () => undefined, ...options.chat },
    principals: {
      async prove(token) {
        const principal = standing(principals.get(token) ?? null);
        if (principal) await options.proving?.(principal);
        return principal;
      },
      confirm: async (principal) => standing(principal),
    },
    tickets,
    config: { allowedOrigins: ['https://console.example'], ...options.config },
    ids: systemIds,
    metrics: { ...metrics, wsConnections: { set: counted } },
  });
  await ws.service.start();
  const app = new Elysia({ websocket: ws.websocket })
    .onError({ as: 'global' }, ({ error }) => {
      const known = error instanceof AppError ? error : toAppError(error);
      return Response.json({ code: known.code, detail: known.message }, { status: known.status });
    })
    .use(ws.route)
    .listen(options.unix === undefined ? { port: 0, hostname: '127.0.0.1' } : { unix: options.unix });
  const base = `ws://localhost:${app.server?.port}/ws`;
  return {
    ...node,
    ws,
    tickets,
    metrics,
    revoked,
    base,
    http: base.replace('ws:', 'http:'),
    /** Resolves once the node has so many sockets. */
    untilCount(wanted: number): Promise<void> {
      return new Promise((resolve) => {
        const look = () => {
          if (count !== wanted) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      });
    },
    tokenFor(principal: Principal): string {
      const token = uuid();
      principals.set(token, principal);
      return token;
    },
    async connect(principal: Principal, more: Parameters<typeof openSocket>[1] = {}) {
      const token = this.tokenFor(principal);
      return openSocket(base, { ...more, headers: { authorization: `Bearer ${token}`, ...more.headers } });
    },
    async stop() {
      await ws.service.stop();
      await app.stop();
      await node.stop();
    },
  };
}

/** Bun's constructor takes headers; the types of the DOM, which this project has, do not know. */
const HostSocket = WebSocket as unknown as new (url: string, options: Bun.WebSocketOptions) => WebSocket;

/** A socket that nothing has happened to yet. */
export function dial(url: string, headers: Record<string, string>, protocol?: Subprotocol): WebSocket {
  return new HostSocket(url, { headers, ...(protocol && { protocols: [protocol] }) });
}

const encoder = new Encoder({ ignoreUndefined: true });
const decoder = new Decoder();

export type Frame = ServerFrame & { [key: string]: unknown };
export type TestSocket = Awaited<ReturnType<typeof openSocket>>;

/** Resolves once `hello` is there. */
export async function openSocket(
  url: string,
  { protocol, headers = {} }: { protocol?: Subprotocol; headers?: Record<string, string> } = {},
) {
  const socket = dial(url, headers, protocol);
  socket.binaryType = 'arraybuffer';
  const frames: Frame[] = [];
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  const waiting = new Set<() => void>();
  let next = 0;
  let over = false;
  const changed = () => {
    for (const look of [...waiting]) look();
  };
  socket.onmessage = ({ data }) => {
    frames.push(typeof data === 'string' ? JSON.parse(data) : (decoder.decode(new Uint8Array(data)) as Frame));
    changed();
  };
  socket.onclose = ({ code, reason }) => {
    over = true;
    closed.resolve({ code, reason });
    changed();
  };

  function find(matches: (frame: Frame) => boolean): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = frames.find(matches);
        if (found || over) waiting.delete(look);
        if (found) resolve(found);
        else if (over) reject(new Error(`closed before the frame came: ${JSON.stringify(frames.slice(-3))}`));
      };
      waiting.add(look);
      look();
    });
  }

  const opened = {
    socket,
    frames,
    closed: closed.promise,
    find,
    /** Frames of a topic that are events. */
    events: (topic: string) => frames.filter((frame) => 'topic' in frame && frame.topic === topic && 'ts' in frame),
    until(holds: () => boolean): Promise<void> {
      return new Promise((resolve, reject) => {
        const look = () => {
          if (!holds() && !over) return;
          waiting.delete(look);
          if (holds()) resolve();
          else reject(new Error('closed before that'));
        };
        waiting.add(look);
        look();
      });
    },
    sendRaw(data: string | Uint8Array<ArrayBuffer>): void {
      socket.send(data);
    },
    send(frame: Record<string, unknown>): void {
      socket.send(protocol === 'dreamhub.v1.msgpack' ? new Uint8Array(encoder.encode(frame)) : JSON.stringify(frame));
    },
    /** Sends a request and returns what answers it. */
    request(frame: Record<string, unknown>): Promise<Frame> {
      next += 1;
      const id = `r${next}`;
      this.send({ ...frame, id });
      return find((answer) => answer['id'] === id);
    },
    close(): Promise<unknown> {
      socket.close();
      return closed.promise;
    },
  };
  await find((frame) => frame.type === 'hello');
  return opened;
}

/** A client on a bare TCP connection, which can stop reading: JSON frames, and the code of the server's close. */
export async function openRawSocket(url: string, headers: Record<string, string>, unix?: string) {
  const { hostname, port, pathname, search } = new URL(url);
  const frames: Frame[] = [];
  const ended = Promise.withResolvers<number>();
  const waiting = new Set<() => void>();
  let received = Buffer.alloc(0);
  let upgraded = false;
  let code = 1006;

  function takeFrame(): boolean {
    const [first = 0, second = 0] = received;
    const short = second & 0x7f;
    const head = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (received.length < head) return false;
    const size = short === 126 ? received.readUInt16BE(2) : short === 127 ? Number(received.readBigUInt64BE(2)) : short;
    if (received.length < head + size) return false;
    const payload = received.subarray(head, head + size);
    received = received.subarray(head + size);
    if ((first & 0x0f) === 1) frames.push(JSON.parse(payload.toString()));
    if ((first & 0x0f) === 8) code = payload.readUInt16BE(0);
    return true;
  }

  const socketHandlers: Bun.SocketHandler = {
    data(_socket, data) {
      received = Buffer.concat([received, data]);
      if (!upgraded) {
        const end = received.indexOf('\r\n\r\n');
        if (end < 0) return;
        upgraded = true;
        received = received.subarray(end + 4);
      }
      while (received.length >= 2 && takeFrame());
      for (const look of [...waiting]) look();
    },
    close: () => ended.resolve(code),
    error: () => ended.resolve(code),
  };
  const socket = await (unix === undefined
    ? Bun.connect({
        hostname: hostname === 'localhost' ? '127.0.0.1' : hostname,
        port: Number(port),
        socket: socketHandlers,
      })
    : Bun.connect({ unix, socket: socketHandlers }));
  const fields = {
    host: `${hostname}:${port}`,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);

  const opened = {
    frames,
    /** The server's close code, 1006 where it cut the connection. */
    closed: ended.promise,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    end: () => socket.end(),
    send(frame: Record<string, unknown>): void {
      const payload = Buffer.from(JSON.stringify(frame));
      const head =
        payload.length < 126 ? [0x81, 0x80 | payload.length] : [0x81, 0xfe, payload.length >> 8, payload.length & 0xff];
      // A mask of zeros changes nothing.
      socket.write(Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]));
    },
    until(holds: () => boolean): Promise<void> {
      return new Promise((resolve, reject) => {
        const look = () => {
          if (!holds()) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
        void ended.promise.then((by) => reject(new Error(`closed with ${by} before that`)));
      });
    },
  };
  await opened.until(() => frames.length > 0);
  return opened;
}
