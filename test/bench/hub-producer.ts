/** The worker's end of the hub's benchmark: the same tokens, as each side has them sent. */
import { createAdapter } from '@socket.io/redis-adapter';
import Redis from 'ioredis';
import { Server } from 'socket.io';
import type { EventOf, EventPublisher, LogTopic } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { runAs } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createDeltaWriter } from '../../src/realtime/delta-writer.ts';
import { createEventPublisher } from '../../src/realtime/log.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { type Kind, obey, type ProducerOrder, type Stream, WIDTH } from './support/hub.ts';

const { REDIS_URL = '', PARTITIONS = '4' } = process.env;
/** Tokens of many turns come one by one, not in bursts. */
const TICK_MS = 1;
const UNDERWAY = 20;
/**
 * Bytes of a turn that may be on their way, twice what a delta gathers: a flood shows how much goes through, and not how
 * large an event can get.
 */
const GATHERED_BYTES = 512;

interface Side {
  /** Sends one token as one event to each of these streams. */
  send(streams: readonly Stream[], token: (stream: Stream) => string): Promise<unknown>;
  /** In a flood every stream waits for itself alone where a side can tell; the peers' cannot, so all wait for all. */
  alone: boolean;
  /** Writers that gather. */
  writer?(stream: Stream): Writer;
}

interface Writer {
  write(token: string): void;
  /** Written and not yet in Redis. */
  readonly waiting: number;
  end(): Promise<void>;
}

const micros = () => String(Math.round((performance.timeOrigin + performance.now()) * 1_000)).padStart(18, '0');
const redis = () => new Redis(REDIS_URL.replace(/^unix:(\/\/)?/, ''));

async function dreamhub(streams: readonly Stream[]): Promise<Side> {
  const clients = createRedisClients({ url: REDIS_URL, logger: silentLogger });
  const keys = createKeys({ partitions: Number(PARTITIONS) });
  const base = { clients, keys, clock: systemClock, logger: silentLogger };
  const publisher = createEventPublisher({ ...base, ttlSeconds: 86_400, maxLen: 10_000 });
  const within = <T>({ tenantId, userId }: Stream, fn: () => T) => runAs({ tenantId, userId, traceId: '0' }, fn);
  const append = (stream: Stream, event: EventOf) =>
    within(stream, () =>
      publisher.append([
        {
          topic: stream.topic as LogTopic,
          attempt: 1,
          event,
          audience: stream.topic.startsWith('task:') ? 'tenant' : 'user',
        },
      ]),
    );
  const first: EventOf = { type: 'turn.delta', data: { text: '' } };
  await Promise.all(streams.map((stream) => append(stream, first)));
  return {
    // As a turn's writer does: its next delta leaves when the last was appended.
    alone: true,
    send: (some, token) =>
      Promise.all(some.map((stream) => append(stream, { type: 'turn.delta', data: { text: token(stream) } }))),
    writer(stream) {
      let waiting = 0;
      const counting: EventPublisher = {
        ...publisher,
        async append(appends) {
          const outcomes = await publisher.append(appends);
          for (const { event } of appends) if (event.type === 'turn.delta') waiting -= event.data.text.length;
          return outcomes;
        },
      };
      const writer = within(stream, () =>
        createDeltaWriter({ ...base, publisher: counting, topic: stream.topic as `turn:${string}`, attempt: 1 }),
      );
      return {
        write(token) {
          waiting += token.length;
          writer.write(token);
        },
        get waiting() {
          return waiting;
        },
        end: () => writer.end(),
      };
    },
  };
}

/** The frames of the peers say the same as DreamHub's. */
function numbered() {
  const numbers = new Map<string, number>();
  return ({ topic }: Stream, text: string) => {
    const seq = (numbers.get(topic) ?? 1) + 1;
    numbers.set(topic, seq);
    const ts = new Date().toISOString();
    return { type: 'turn.delta', topic, epoch: '0123456789abcdef', seq, ts, data: { text } };
  };
}

async function bun(): Promise<Side> {
  const client = redis();
  const frame = numbered();
  return {
    alone: false,
    async send(some, token) {
      for (let at = 0; at < some.length; at += 100) {
        const batch = some.slice(at, at + 100);
        const lines = batch.map((stream) => `${stream.topic} ${JSON.stringify(frame(stream, token(stream)))}`);
        await client.publish('bench', lines.join('\n'));
      }
    },
  };
}

async function socketIo(): Promise<Side> {
  const client = redis();
  const io = new Server({ adapter: createAdapter(client, redis()) });
  const frame = numbered();
  return {
    alone: false,
    async send(some, token) {
      for (const stream of some) io.to(stream.topic).emit('event', frame(stream, token(stream)));
      // The adapter does not say when Redis has them; the answer to a later command does.
      await client.ping();
    },
  };
}

const SIDES: Readonly<Record<Kind, (streams: readonly Stream[]) => Promise<Side>>> = {
  dreamhub,
  bun,
  'socket.io': socketIo,
  'socket.io on Bun': socketIo,
};

let side: Side = { send: async () => undefined, alone: false };
let streams: readonly Stream[] = [];

/** The next number of each stream, from 0. */
function counters() {
  const next = new Map<Stream, number>();
  return (stream: Stream) => {
    const number = next.get(stream) ?? 0;
    next.set(stream, number + 1);
    return String(number).padStart(WIDTH.numbers, '0');
  };
}

async function floodGathered(each: number, makeWriter: (stream: Stream) => Writer): Promise<void> {
  const token = counters();
  const writers = streams.map((stream) => ({ stream, writer: makeWriter(stream), left: each }));
  for (let open = writers; open.length > 0; open = open.filter(({ left }) => left > 0)) {
    for (const one of open) {
      if (one.writer.waiting >= GATHERED_BYTES) continue;
      one.writer.write(token(one.stream));
      one.left -= 1;
    }
    await new Promise(setImmediate);
  }
  await Promise.all(writers.map(({ writer }) => writer.end()));
}

async function flood(each: number): Promise<void> {
  const token = counters();
  const repeat = async (some: readonly Stream[]) => {
    for (let round = 0; round < each; round++) await side.send(some, token);
  };
  if (side.alone && streams.length > 1) await Promise.all(streams.map((stream) => repeat([stream])));
  else if (streams.length > 1) await repeat(streams);
  // One stream alone would be measured by the way to Redis and back: so many of its events are under way at a time.
  else {
    for (let round = 0; round < each; round += UNDERWAY) {
      await Promise.all(Array.from({ length: Math.min(UNDERWAY, each - round) }, () => side.send(streams, token)));
    }
  }
}

async function pace(perSecond: number, ms: number, makeWriter?: (stream: Stream) => Writer): Promise<void> {
  const writers = makeWriter ? streams.map((stream) => makeWriter(stream)) : [];
  const total = Math.round((perSecond * ms) / 1_000) * streams.length;
  const rate = (perSecond * streams.length) / 1_000;
  const underway = new Set<Promise<unknown>>();
  const started = performance.now();
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor((performance.now() - started) * rate));
    const some: Stream[] = [];
    for (; sent < due; sent++) {
      const index = sent % streams.length;
      const stream = streams[index];
      if (makeWriter) writers[index]?.write(micros());
      else if (stream) some.push(stream);
    }
    if (some.length > 0) {
      const one = side.send(some, micros).finally(() => underway.delete(one));
      underway.add(one);
    }
    await Bun.sleep(TICK_MS);
  }
  await Promise.all([...underway, ...writers.map((writer) => writer.end())]);
}

obey<ProducerOrder>(async (order) => {
  if (order.do === 'begin') {
    streams = order.streams;
    side = await SIDES[order.kind](streams);
    return;
  }
  const gathering = order.gathered ? side.writer : undefined;
  if (order.do === 'pace') return pace(order.perSecond, order.ms, gathering);
  return gathering ? floodGathered(order.each, gathering) : flood(order.each);
});
