/** The transports, measured side by side on one Redis. */
import Redis from 'ioredis';
import { startRedis } from '../../support/services.ts';
import type { Row } from './benchmark.ts';
import { startOrderly } from './hub.ts';
import { processorTimeOf } from './process-stats.ts';
import { BATCH, KINDS, type Kind, type QueueOrder } from './queue.ts';
import { interleave, median, ratios } from './rounds.ts';

const TENANTS = 10;
const JOBS = 10_000;
/** Turns a round of DreamHub and bare Streams, one right after the other: each lasts for less than a second, and they are close. */
const PAIRS = 3;
/** Of each side, before anything counts: the JIT compiles meanwhile. */
const WARM_UP_JOBS = 30_000;
const PICKUPS = 200;
const FILLED = 20_000;
const KNOWN = 10_000;

const uuids = (count: number) => Array.from({ length: count }, () => Bun.randomUUIDv7());

interface Side extends AsyncDisposable {
  order<T>(order: QueueOrder): Promise<T>;
  /** Microseconds of processor time so far: of the process, and of Redis. */
  used(): Promise<{ own: number; redis: number }>;
  /** Keys of the whole server, once what expires or is removed in the background is gone. */
  keys(): Promise<number>;
  /** Bytes that Redis uses for what it holds. */
  bytes(): Promise<number>;
  /** Removes the logs of tasks, which are kept for a day. */
  forgetLogs(): Promise<void>;
}

async function startSide(kind: Kind, url: string): Promise<Side> {
  const child = startOrderly<QueueOrder>('test/bench/queue-worker.ts', { REDIS_URL: url, KIND: kind });
  const redis = new Redis(url.replace(/^unix:(\/\/)?/, ''));
  const seconds = (info: string, field: string) => Number(new RegExp(`${field}:([\\d.]+)`).exec(info)?.[1]);
  await child.ready;
  return {
    order: (order) => child.order(order),
    async used() {
      const info = await redis.info('cpu');
      const inRedis = seconds(info, 'used_cpu_sys') + seconds(info, 'used_cpu_user');
      return { own: await processorTimeOf(child.pid), redis: inRedis * 1e6 };
    },
    keys: () => redis.dbsize(),
    bytes: async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]),
    async forgetLogs() {
      for (const match of ['*:log:*', '*:meta:*']) {
        for await (const keys of redis.scanStream({ match, count: 1_000 })) {
          if ((keys as string[]).length > 0) await redis.unlink(keys as string[]);
        }
      }
    },
    async [Symbol.asyncDispose]() {
      await child.order({ do: 'close' }).catch(() => undefined);
      redis.disconnect();
      await child[Symbol.asyncDispose]();
    },
  };
}

interface Flooded {
  perSecond: number;
  /** Microseconds of processor time a job. */
  own: number;
  redis: number;
}

async function flood(side: Side, jobs: number, tenants: readonly string[], batch = BATCH): Promise<Flooded> {
  const before = await side.used();
  const ms = await side.order<number>({ do: 'flood', jobs, tenants, batch });
  const after = await side.used();
  await side.forgetLogs();
  return {
    perSecond: jobs / (ms / 1_000),
    own: (after.own - before.own) / jobs,
    redis: (after.redis - before.redis) / jobs,
  };
}

const TITLES: Readonly<Record<Kind, string>> = {
  dreamhub: 'DreamHub',
  'dreamhub-log': 'DreamHub, progress in the task’s log',
  'dreamhub-actors': 'DreamHub, an actor a job',
  'dreamhub-pipelines': 'DreamHub, an actor a job with every step of a pipeline',
  bullmq: 'BullMQ',
  bare: 'bare Streams',
};

type Results = Readonly<Record<Kind, Flooded[]>>;

function compared(results: Results, kind: Kind, peer: Kind, target?: Row['target']): Row {
  const rates = (of: Kind) => results[of].map(({ perSecond }) => perSecond);
  const label = `… ${TITLES[kind]}, of ${TITLES[peer]}`;
  return { label, unit: 'ratio', values: ratios(rates(kind), rates(peer)), ...(target && { target }) };
}

/** Of the process and Redis together: what rates come down to where others want the machine too. */
function comparedCost(results: Results, kind: Kind, peer: Kind): Row {
  const costs = (of: Kind) => results[of].map(({ own, redis }) => own + redis);
  const label = `… ${TITLES[kind]}, of ${TITLES[peer]}: processor time a job`;
  return { label, unit: 'ratio', values: ratios(costs(kind), costs(peer)) };
}

function figures(results: Results): Row[] {
  return KINDS.flatMap((kind): Row[] => [
    {
      label: `${TITLES[kind]}: from enqueued to acknowledged`,
      unit: 'jobs/s',
      values: results[kind].map((r) => r.perSecond),
    },
    { label: '… processor time a job, the process’s', unit: 'µs', values: results[kind].map((r) => r.own) },
    { label: '… Redis’', unit: 'µs', values: results[kind].map((r) => r.redis) },
  ]);
}

/** Every kind, in turns: many jobs at once, and one at a time with nothing else to do. */
export async function transport(rounds: number): Promise<Row[]> {
  const redis = await startRedis({ persist: false });
  const sides = new Map<Kind, Side>();
  try {
    const tenants = uuids(TENANTS);
    const sideOf = async (kind: Kind): Promise<Side> => {
      const side = sides.get(kind) ?? (await startSide(kind, redis.url));
      sides.set(kind, side);
      return side;
    };
    for (const kind of KINDS) await flood(await sideOf(kind), WARM_UP_JOBS, tenants);
    const each = <T>(fn: (side: Side) => Promise<T>) =>
      Object.fromEntries(KINDS.map((kind) => [kind, async () => fn(await sideOf(kind))])) as Record<
        Kind,
        () => Promise<T>
      >;
    const floods = each((side) => flood(side, JOBS, tenants));
    const flooded = await interleave(rounds, floods);
    const paired = await interleave(PAIRS * rounds, { dreamhub: floods.dreamhub, bare: floods.bare });
    const { dreamhub, bullmq, bare } = each(async (side) =>
      median(await side.order<number[]>({ do: 'pickup', jobs: PICKUPS, tenants })),
    );
    const picked = await interleave(rounds, { dreamhub, bullmq, bare });
    return [
      ...figures(flooded),
      compared(flooded, 'dreamhub', 'bullmq', { atLeast: 2.5 }),
      compared({ ...flooded, ...paired }, 'dreamhub', 'bare', { atLeast: 0.8 }),
      compared(flooded, 'dreamhub-log', 'bullmq', { atLeast: 2.5 }),
      compared(flooded, 'dreamhub-log', 'bare', { atLeast: 0.8 }),
      compared(flooded, 'dreamhub-actors', 'bullmq', { atLeast: 1.2 }),
      compared(flooded, 'dreamhub-pipelines', 'bullmq', { atLeast: 1.2 }),
      ...(['dreamhub', 'dreamhub-log', 'dreamhub-actors', 'dreamhub-pipelines', 'bare'] as const).map((kind) =>
        comparedCost(flooded, kind, 'bullmq'),
      ),
      { label: 'idle pickup, p50: DreamHub', unit: 'ms', values: picked.dreamhub },
      { label: '… BullMQ', unit: 'ms', values: picked.bullmq },
      { label: '… bare Streams', unit: 'ms', values: picked.bare },
      {
        label: '… DreamHub of BullMQ',
        unit: 'ratio',
        values: ratios(picked.dreamhub, picked.bullmq),
        target: { atMost: 0.5 },
      },
    ];
  } finally {
    for (const side of sides.values()) await side[Symbol.asyncDispose]();
    await redis.stop();
  }
}

/** Ten busy tenants, of which a process knows ten or ten thousand, which have all been there before. */
export async function manyTenants(rounds: number): Promise<Row[]> {
  const [alone, among] = await Promise.all([startRedis({ persist: false }), startRedis({ persist: false })]);
  try {
    await using few = await startSide('dreamhub', alone.url);
    await using many = await startSide('dreamhub', among.url);
    const tenants = uuids(TENANTS);
    const known = [...uuids(KNOWN - TENANTS), ...tenants];
    await flood(many, KNOWN, known, 1);
    await flood(few, KNOWN, tenants, 1);
    for (const side of [few, many]) await flood(side, WARM_UP_JOBS, tenants);
    const results = await interleave(rounds, {
      few: () => flood(few, 2 * JOBS, tenants),
      many: () => flood(many, 2 * JOBS, tenants),
    });
    const cost = (side: Flooded[]) => side.map(({ own, redis }) => own + redis);
    return [
      { label: '10 busy tenants of 10: processor time a job', unit: 'µs', values: cost(results.few) },
      { label: `10 busy tenants of ${KNOWN}: processor time a job`, unit: 'µs', values: cost(results.many) },
      {
        label: '… ratio',
        unit: 'ratio',
        values: ratios(cost(results.many), cost(results.few)),
        target: { atMost: 1.1 },
      },
      {
        label: `keys in Redis after ${KNOWN} tenants have gone idle`,
        unit: 'of them',
        values: [await many.keys()],
        target: { atMost: 0 },
      },
    ];
  } finally {
    await Promise.all([alone.stop(), among.stop()]);
  }
}

/** What waits in Redis, with all that belongs to it. A tenant never has more there than its window. */
export async function memory(): Promise<Row[]> {
  async function bytesOf(kind: Kind, jobs: number, tenants: number): Promise<number> {
    const redis = await startRedis({ persist: false });
    try {
      await using side = await startSide(kind, redis.url);
      const before = await side.bytes();
      await side.order({ do: 'fill', jobs, tenants: uuids(tenants) });
      return ((await side.bytes()) - before) / jobs;
    } finally {
      await redis.stop();
    }
  }
  const label = 'Redis’ memory a queued job';
  return [
    {
      label: `${label}, ${FILLED / BATCH} tenants with a window each`,
      unit: 'bytes',
      values: [await bytesOf('dreamhub', FILLED, FILLED / BATCH)],
      target: { atMost: 400 },
    },
    {
      label: `${label}, 10 tenants`,
      unit: 'bytes',
      values: [await bytesOf('dreamhub', FILLED, TENANTS)],
      target: { atMost: 400 },
    },
    { label: '… BullMQ', unit: 'bytes', values: [await bytesOf('bullmq', FILLED, TENANTS)] },
    { label: '… bare Streams', unit: 'bytes', values: [await bytesOf('bare', FILLED, TENANTS)] },
  ];
}
