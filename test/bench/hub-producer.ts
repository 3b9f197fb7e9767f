/** The worker's end of the hub's benchmark: the same events, as each side has them sent. */
import { createAdapter } from '@socket.io/redis-adapter';
import Redis from 'ioredis';
import { Server } from 'socket.io';
import type { EventOf, LogTopic } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { runAs } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createEventPublisher } from '../../src/realtime/log.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { type Kind, obey, type ProducerOrder, type Stream } from './support/hub.ts';

const { REDIS_URL = '', PARTITIONS = '4' } = process.env;
const TICK_MS = 5;
const UNDERWAY = 20;

/** Sends one event of each of these streams. */
type Send = (streams: readonly Stream[]) => Promise<unknown>;

/** In a flood every stream waits for itself alone where a side can tell; the peers' cannot, so all wait for all. */
interface Side {
  send: Send;
  alone: boolean;
}

/** The moment of sending, in microseconds, padded to a token's length. */
const text = () => String(Math.round((performance.timeOrigin + performance.now()) * 1_000)).padStart(18, '0');
const redis = () => new Redis(REDIS_URL.replace(/^unix:(\/\/)?/, ''));

async function dreamhub(streams: readonly Stream[]): Promise<Side> {
  const clients = createRedisClients({ url: REDIS_URL, logger: silentLogger });
  const keys = createKeys({ partitions: Number(PARTITIONS) });
  const publisher = createEventPublisher({
    clients,
    keys,
    clock: systemClock,
    logger: silentLogger,
    ttlSeconds: 86_400,
    maxLen: 10_000,
  });
  const append = ({ topic, tenantId, userId }: Stream, event: EventOf) =>
    runAs({ tenantId, userId, traceId: '0' }, () =>
      publisher.append([
        { topic: topic as LogTopic, attempt: 1, event, audience: topic.startsWith('task:') ? 'tenant' : 'user' },
      ]),
    );
  const first: EventOf = { type: 'turn.delta', data: { text: '' } };
  await Promise.all(streams.map((stream) => append(stream, first)));
  const send: Send = (some) =>
    Promise.all(some.map((stream) => append(stream, { type: 'turn.delta', data: { text: text() } })));
  // As a turn's writer does: its next delta leaves when the last was appended.
  return { send, alone: true };
}

/** The frames of the peers say the same as DreamHub's. */
function numbered() {
  const numbers = new Map<string, number>();
  return ({ topic }: Stream) => {
    const seq = (numbers.get(topic) ?? 1) + 1;
    numbers.set(topic, seq);
    const ts = new Date().toISOString();
    return { type: 'turn.delta', topic, epoch: '0123456789abcdef', seq, ts, data: { text: text() } };
  };
}

async function bun(): Promise<Side> {
  const client = redis();
  const frame = numbered();
  const send: Send = async (some) => {
    for (let at = 0; at < some.length; at += 100) {
      const lines = some.slice(at, at + 100).map((stream) => `${stream.topic} ${JSON.stringify(frame(stream))}`);
      await client.publish('bench', lines.join('\n'));
    }
  };
  return { send, alone: false };
}

async function socketIo(): Promise<Side> {
  const client = redis();
  const io = new Server({ adapter: createAdapter(client, redis()) });
  const frame = numbered();
  const send: Send = async (some) => {
    for (const stream of some) io.to(stream.topic).emit('event', frame(stream));
    // The adapter does not say when Redis has them; the answer to a later command does.
    await client.ping();
  };
  return { send, alone: false };
}

const SIDES: Readonly<Record<Kind, (streams: readonly Stream[]) => Promise<Side>>> = {
  dreamhub,
  bun,
  'socket.io': socketIo,
};

let streams: readonly Stream[] = [];
let side: Side = { send: async () => {}, alone: false };

async function flood(rounds: number): Promise<void> {
  const repeat = async (some: readonly Stream[]) => {
    for (let round = 0; round < rounds; round++) await side.send(some);
  };
  if (side.alone && streams.length > 1) await Promise.all(streams.map((stream) => repeat([stream])));
  else if (streams.length > 1) await repeat(streams);
  // One stream alone would be measured by the way to Redis and back: so many of its events are under way at a time.
  else {
    for (let round = 0; round < rounds; round += UNDERWAY) {
      await Promise.all(Array.from({ length: Math.min(UNDERWAY, rounds - round) }, () => side.send(streams)));
    }
  }
}

async function pace(perSecond: number, ms: number): Promise<void> {
  const started = performance.now();
  const total = Math.round((perSecond * ms) / 1_000) * streams.length;
  const rate = (perSecond * streams.length) / 1_000;
  const underway = new Set<Promise<unknown>>();
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor((performance.now() - started) * rate));
    const some: Stream[] = [];
    for (; sent < due; sent++) {
      const stream = streams[sent % streams.length];
      if (stream) some.push(stream);
    }
    if (some.length > 0) {
      const one = side.send(some).finally(() => underway.delete(one));
      underway.add(one);
    }
    await Bun.sleep(TICK_MS);
  }
  await Promise.all(underway);
}

obey<ProducerOrder>(async (order) => {
  if (order.do === 'begin') {
    streams = order.streams;
    side = await SIDES[order.kind](streams);
  } else if (order.do === 'flood') await flood(order.rounds);
  else await pace(order.perSecond, order.ms);
});
