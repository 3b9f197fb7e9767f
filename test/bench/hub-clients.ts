/**
 * The readers of the hub's benchmark: WebSocket connections over bare sockets that look at a frame's number and at the
 * tokens in it, and at nothing else, because what they use of a small machine is missing for the server, on every side alike.
 * Where an event is a token, even that is looked at once a piece of the stream: its frames are counted by their lengths, and
 * the numbers of the last must be so many further than those of the last piece.
 */
import type { Socket } from 'bun';
import {
  type ClientsOrder,
  type Heard,
  type Kind,
  obey,
  type Reader,
  type ReadersOrder,
  type Tokens,
  WIDTH,
} from './support/hub.ts';

interface Connection {
  reader: Reader;
  kind: Kind;
  port: number;
  received: Buffer;
  upgraded: boolean;
  last: number;
  epoch: string;
  /** Where the number stands in its events; 0 until one came. */
  seqAt: number;
  /** From behind the number to the text, and from behind the text to the end. */
  gap: number;
  tail: number;
  /** The number of the next token. */
  token: number;
  /** Resolves when it follows its topic. */
  follows: PromiseWithResolvers<void>;
  isFollowing: boolean;
  socket: Socket<Connection> | undefined;
  expectsEnd: boolean;
}

const EMPTY = Buffer.alloc(0);
const HEAD_END = Buffer.from('\r\n\r\n');
const SEQ = Buffer.from('"seq":');
const TEXT = Buffer.from('"text":"');
const EPOCH = Buffer.from('"epoch":"');
const COLON = 58;
const QUOTE = 34;
/** One frame in so many is timed. */
const SAMPLE = 8;
/** Connections that are being opened at one time. */
const OPENING = 200;

let connections: Connection[] = [];
let latencies: number[] = [];
let disorder = 0;
let resets = 0;
let firstAt = 0;
let lastAt = 0;
let frames = 0;
let tokens = 0;
let kindOfTokens: Tokens = 'numbers';
/** An event is a token. */
let singly = false;
let width = WIDTH.numbers;
let wanted = Number.POSITIVE_INFINITY;
let enough = Promise.withResolvers<void>();

function frameOf(text: string): Buffer {
  const payload = Buffer.from(text);
  const head =
    payload.length < 126 ? [0x81, 0x80 | payload.length] : [0x81, 0xfe, payload.length >> 8, payload.length & 0xff];
  // A mask of zeros changes nothing.
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

function numberAt(bytes: Buffer, from: number, until: number): number {
  let value = 0;
  for (let at = from; at < until; at++) {
    const digit = (bytes[at] ?? 0) - 48;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
}

/** Where the number of an event stands, and its text: all else is equally long in all events of a connection. */
function learn(connection: Connection, payload: Buffer): boolean {
  const seqAt = payload.indexOf(SEQ);
  const textAt = payload.indexOf(TEXT);
  if (seqAt < 0 || textAt < 0) return false;
  connection.seqAt = seqAt + SEQ.length;
  let digitsEnd = connection.seqAt;
  while (((payload[digitsEnd] ?? 0) - 48) >>> 0 < 10) digitsEnd++;
  connection.gap = textAt + TEXT.length - digitsEnd;
  connection.tail = payload.length - payload.lastIndexOf(QUOTE);
  const at = payload.indexOf(EPOCH) + EPOCH.length;
  connection.epoch = payload.toString('latin1', at, payload.indexOf('"', at));
  return true;
}

/** The event in `bytes` from `start` to `end`; false where that is something else. */
function event(connection: Connection, bytes: Buffer, start: number, end: number): boolean {
  if (connection.seqAt === 0 && !learn(connection, bytes.subarray(start, end))) return false;
  const at = start + connection.seqAt;
  if (at >= end || bytes[at - 1] !== COLON) return false;
  let seq = 0;
  let behind = at;
  for (let digit = (bytes[behind] ?? 0) - 48; digit >= 0 && digit < 10; digit = (bytes[++behind] ?? 0) - 48) {
    seq = seq * 10 + digit;
  }
  if (seq !== connection.last + 1) disorder += 1;
  connection.last = seq;
  const from = behind + connection.gap;
  const more = (end - connection.tail - from) / width;
  frames += 1;
  if (kindOfTokens === 'numbers') {
    if (more < 1 || numberAt(bytes, from, from + width) !== connection.token) disorder += 1;
    connection.token += more;
    if (more > 1 && numberAt(bytes, from + (more - 1) * width, end) !== connection.token - 1) disorder += 1;
  } else if (frames % SAMPLE === 1) {
    latencies.push(performance.timeOrigin + performance.now() - numberAt(bytes, from, from + width) / 1_000);
  }
  heard(more);
  return true;
}

/** So many events, of which the last is in `bytes` from `start` to `end`. */
function countEvents(connection: Connection, count: number, bytes: Buffer, start: number, end: number): void {
  const at = start + connection.seqAt;
  const seq = numberAt(bytes, at, end);
  if (bytes[at - 1] !== COLON || seq !== connection.last + count) disorder += 1;
  connection.last = seq;
  const from = end - connection.tail - width;
  connection.token += count;
  if (numberAt(bytes, from, from + width) !== connection.token - 1) disorder += 1;
  frames += count;
  heard(count);
}

function heard(more: number): void {
  if (tokens === 0) firstAt = performance.now();
  tokens += more;
  if (tokens < wanted) return;
  lastAt = performance.now();
  enough.resolve();
}

function follow(connection: Connection): void {
  connection.isFollowing = true;
  connection.follows.resolve();
}

/** Whatever is no event: greetings and answers, of each side its own. */
function other(connection: Connection, payload: Buffer): void {
  const { kind, reader, socket, last, epoch } = connection;
  const text = payload.toString();
  if (kind === 'bun') follow(connection);
  else if (kind !== 'dreamhub') {
    if (text === '2') socket?.write(frameOf('3'));
    else if (text.startsWith('0{')) socket?.write(frameOf('40'));
    else if (text.startsWith('40')) socket?.write(frameOf(JSON.stringify(['join', reader.topic]).replace(/^/, '42')));
    else follow(connection);
  } else if (text.includes('"hello"')) {
    if (reader.topic === '') follow(connection);
    else
      socket?.write(
        frameOf(
          JSON.stringify({ type: 'subscribe', id: 1, topic: reader.topic, after: last, ...(epoch && { epoch }) }),
        ),
      );
  } else if (text.includes('"ack"')) follow(connection);
  else if (text.includes('"type":"reset"')) resets += 1;
  else connection.follows.reject(new Error(`unexpected: ${text}`));
}

function takeFrames(connection: Connection): void {
  const { received } = connection;
  const { length } = received;
  const counts = singly && connection.isFollowing && connection.seqAt > 0;
  let at = 0;
  let count = 0;
  let lastStart = 0;
  let lastEnd = 0;
  while (length - at >= 2) {
    const short = (received[at + 1] ?? 0) & 0x7f;
    const head = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (length - at < head) break;
    const size =
      short === 126
        ? ((received[at + 2] ?? 0) << 8) | (received[at + 3] ?? 0)
        : short === 127
          ? Number(received.readBigUInt64BE(at + 2))
          : short;
    const start = at + head;
    const end = start + size;
    if (length < end) break;
    const opcode = (received[at] ?? 0) & 0x0f;
    // Only events are so long once a connection follows its topic.
    if (counts && opcode === 1 && short === 126) {
      count += 1;
      lastStart = start;
      lastEnd = end;
    } else if (opcode === 1 && !event(connection, received, start, end))
      other(connection, received.subarray(start, end));
    else if (opcode === 9) connection.socket?.write(Buffer.from([0x8a, 0x80, 0, 0, 0, 0]));
    at = end;
  }
  if (count > 0) countEvents(connection, count, received, lastStart, lastEnd);
  connection.received = at === length ? EMPTY : Buffer.from(received.subarray(at));
}

const handlers: Bun.SocketHandler<Connection> = {
  data(socket, chunk) {
    const connection = socket.data;
    connection.received = connection.received.length === 0 ? chunk : Buffer.concat([connection.received, chunk]);
    if (!connection.upgraded) {
      const end = connection.received.indexOf(HEAD_END);
      if (end < 0) return;
      const status = connection.received.toString('latin1', 9, 12);
      if (status !== '101') return connection.follows.reject(new Error(`the upgrade was answered ${status}`));
      connection.upgraded = true;
      connection.received = connection.received.subarray(end + HEAD_END.length);
    }
    takeFrames(connection);
  },
  close(socket) {
    const { data } = socket;
    if (!data.expectsEnd) data.follows.reject(new Error('the server closed a connection'));
    if (!data.expectsEnd) enough.reject(new Error('the server closed a connection'));
  },
  error: (_, error) => enough.reject(error),
};

async function open(connection: Connection): Promise<void> {
  const { kind, port, reader } = connection;
  Object.assign(connection, {
    received: EMPTY,
    upgraded: false,
    expectsEnd: false,
    follows: Promise.withResolvers(),
    isFollowing: false,
  });
  const path = {
    dreamhub: '/ws',
    bun: `/?topic=${reader.topic}`,
    'socket.io': '/socket.io/?EIO=4&transport=websocket',
    'socket.io on Bun': '/socket.io/?EIO=4&transport=websocket',
  }[kind];
  const socket = await Bun.connect({ hostname: '127.0.0.1', port, data: connection, socket: handlers });
  connection.socket = socket;
  const lines = [
    `GET ${path} HTTP/1.1`,
    `host: 127.0.0.1:${port}`,
    'connection: Upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
    ...(kind === 'dreamhub' ? [`authorization: Bearer ${reader.token}`] : []),
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  await connection.follows.promise;
}

async function openAll(): Promise<void> {
  const waiting = [...connections];
  const work = async () => {
    for (let one = waiting.pop(); one; one = waiting.pop()) await open(one);
  };
  await Promise.all(Array.from({ length: OPENING }, work));
}

function closeAll(): void {
  for (const connection of connections) {
    connection.expectsEnd = true;
    connection.socket?.terminate();
  }
}

function expect(what: Tokens, one: boolean): void {
  latencies = [];
  frames = 0;
  tokens = 0;
  disorder = 0;
  resets = 0;
  kindOfTokens = what;
  singly = one && what === 'numbers';
  width = WIDTH[what];
  for (const connection of connections) connection.token = 0;
  wanted = Number.POSITIVE_INFINITY;
  enough = Promise.withResolvers();
  enough.promise.catch(() => undefined);
}

async function hear(each: number, withinMs: number): Promise<Heard> {
  // Some may have come since the last order: they count.
  wanted = each * connections.length;
  if (tokens >= wanted) enough.resolve();
  const timer = setTimeout(() => enough.resolve(), withinMs);
  await enough.promise;
  clearTimeout(timer);
  if (tokens < wanted) lastAt = performance.now();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor((latencies.length - 1) * share)] ?? Number.NaN;
  return { frames, tokens, ms: lastAt - firstAt, p50: at(0.5), p99: at(0.99), disorder, resets };
}

async function begin({ kind, port, readers, after }: ReadersOrder): Promise<void> {
  connections = readers.map((reader) => ({
    reader,
    kind,
    port,
    received: EMPTY,
    upgraded: false,
    last: after,
    epoch: '',
    seqAt: 0,
    gap: 0,
    tail: 0,
    token: 0,
    follows: Promise.withResolvers(),
    isFollowing: false,
    socket: undefined,
    expectsEnd: false,
  }));
  await openAll();
}

obey<ClientsOrder>(async (order) => {
  switch (order.do) {
    case 'open':
      return begin(order);
    case 'expect':
      return expect(order.tokens, order.singly);
    case 'hear':
      return hear(order.each, order.withinMs);
    case 'close':
      closeAll();
      connections = [];
      return;
    case 'reconnect': {
      closeAll();
      const started = performance.now();
      await openAll();
      return { ms: performance.now() - started, resumed: connections.length };
    }
  }
});
