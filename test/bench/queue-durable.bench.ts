/** The durable ways of a job, measured side by side on one PostgreSQL. */
import { createTestDatabase, startRedis } from '../support/services.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { startOrderly } from './support/hub.ts';
import { type Drained, DURABLE_KINDS, type DurableKind, type DurableOrder } from './support/queue-durable.ts';
import { interleave, ratios } from './support/rounds.ts';

const TENANTS = 10;
const JOBS = 4_000;
const WARM_UP_JOBS = 2_000;

const TITLES: Readonly<Record<DurableKind, string>> = {
  'dreamhub-16': 'DreamHub: fed in windows, fenced, finished, acknowledged; 16 jobs at once, as it comes',
  'dreamhub-128': 'DreamHub, 128 jobs at once: as many as the bare side has under way',
  graphile: 'graphile-worker as it comes',
  'graphile-16': 'graphile-worker, 16 jobs at once',
  'skip-locked': 'bare batches of SKIP LOCKED',
};

async function durable(rounds: number): Promise<Row[]> {
  const [redis, database] = await Promise.all([startRedis({ persist: false }), createTestDatabase()]);
  const tenants = Array.from({ length: TENANTS }, () => Bun.randomUUIDv7());
  const children = new Map<DurableKind, Awaited<ReturnType<typeof start>>>();

  async function start(kind: DurableKind) {
    const child = startOrderly<DurableOrder>('test/bench/queue-durable.ts', {
      KIND: kind,
      DATABASE_URL: database.url,
      ADMIN_URL: database.adminUrl,
      REDIS_URL: redis.url,
    });
    await child.ready;
    return child;
  }
  async function drain(kind: DurableKind, jobs: number): Promise<Drained & { perSecond: number }> {
    const child = children.get(kind) ?? (await start(kind));
    children.set(kind, child);
    const drained = await child.order<Drained>({ do: 'drain', jobs, tenants });
    return { ...drained, perSecond: jobs / (drained.ms / 1_000) };
  }
  try {
    for (const kind of DURABLE_KINDS) await drain(kind, WARM_UP_JOBS);
    const results = await interleave(rounds, {
      'dreamhub-16': () => drain('dreamhub-16', JOBS),
      'dreamhub-128': () => drain('dreamhub-128', JOBS),
      graphile: () => drain('graphile', JOBS),
      'graphile-16': () => drain('graphile-16', JOBS),
      'skip-locked': () => drain('skip-locked', JOBS),
    });
    const rates = (kind: DurableKind) => results[kind].map(({ perSecond }) => perSecond);
    const of = (kind: DurableKind, target?: Row['target']): Row[] => [
      {
        label: `… DreamHub’s 16, of ${TITLES[kind]}`,
        unit: 'ratio',
        values: ratios(rates('dreamhub-16'), rates(kind)),
      },
      {
        label: `… DreamHub’s 128, of ${TITLES[kind]}`,
        unit: 'ratio',
        values: ratios(rates('dreamhub-128'), rates(kind)),
        ...(target && { target }),
      },
    ];
    return [
      ...DURABLE_KINDS.flatMap((kind): Row[] => [
        { label: TITLES[kind], unit: 'jobs/s', values: rates(kind) },
        { label: '… processor time a job, the process’s', unit: 'µs', values: results[kind].map(({ own }) => own) },
        { label: '… PostgreSQL’s', unit: 'µs', values: results[kind].map(({ server }) => server) },
        { label: '… transactions a job', unit: 'ratio', values: results[kind].map(({ transactions }) => transactions) },
      ]),
      ...of('graphile', { atLeast: 2 }),
      ...of('graphile-16'),
      ...of('skip-locked', { atLeast: 0.2 }),
    ];
  } finally {
    for (const child of children.values()) await child[Symbol.asyncDispose]();
    await redis.stop();
    await database.drop();
  }
}

export const benchmark: Benchmark = {
  name: 'queue-durable',
  about: 'from waiting in PostgreSQL to ended there, beside graphile-worker and bare batches of SKIP LOCKED',
  run: ({ rounds }) => durable(rounds),
};
