/**
 * Vector search under row-level security, as `/search` asks it: a tenant that is asked often in the process's memory, and
 * beside it as it is asked the first time, by the database. Synthetic vectors (1,536 dimensions, topics that all
 * tenants share) for the times, and recall against looking at each vector of the same tenant; a set embedded by a real
 * model where a server is given (`retrieve-real.ts`). What each side leaves out: no HTTP, no fusion, no query embedding.
 */
import { createTopics, loadTenants, type Topics, type VectorTenant } from '../support/vector-tenants.ts';
import { realRows } from './retrieve-real.ts';
import { askedShared, buildShared } from './retrieve-shared.ts';
import {
  asked,
  askedCold,
  askedExactly,
  askedNothing,
  type Cost,
  compare,
  type Found,
  type Installation,
  install,
  type Question,
  questionOf,
  timed,
  timedInTurns,
  warmed,
} from './retrieve-tenants.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { interleave, ratios } from './support/rounds.ts';

const DIMENSIONS = 1_536;
/** Sizes of tenants; with `--quick` the largest is the smaller of the two. */
const [SMALL, MIDDLE, LARGE, HUGE, QUICK_HUGE] = [100, 4_000, 20_000, 300_000, 60_000];
/** Beside the four: what the shared graph is full of. */
const [NEIGHBOURS, QUICK_NEIGHBOURS] = [399, 149];
/** How the number of tenants is varied: fewer dimensions, because 10,000 tenants of 1,536 would be 3 GB. */
const MANY = { dimensions: 384, chunks: 50, few: 10, many: 10_000, quick: 2_000 };
const QUESTIONS = 100;

const drawn = (topics: Topics, count: number) => Array.from({ length: count }, () => questionOf(topics.vector()));

/** The questions, over and over. */
function cycle<T>(values: readonly T[]): () => T {
  let i = 0;
  return () => {
    const value = values[i++ % values.length];
    if (value === undefined) throw new Error('there is nothing to choose from');
    return value;
  };
}

const constant = (label: string, value: number, target: Row['target'], unit: Row['unit'] = 'ratio'): Row => ({
  label,
  unit,
  values: [value],
  ...(target && { target }),
});

function foundRows(size: number, { recall, short, foreign }: Found): Row[] {
  const who = `${size.toLocaleString('en')} chunks`;
  return [
    constant(`${who}: recall@10 against exact`, recall, { atLeast: 0.99 }),
    constant(`${who}: answers with fewer rows than exact`, short, { atMost: 0 }, 'of them'),
    constant(`${who}: rows of another tenant`, foreign, { atMost: 0 }, 'of them'),
  ];
}

/** One size beside another, and beside the peers. */
async function sizes(rounds: number, quick: boolean, progress: (line: string) => void): Promise<Row[]> {
  const huge = quick ? QUICK_HUGE : HUGE;
  const peers = quick ? QUICK_NEIGHBOURS : NEIGHBOURS;
  await using installation = await install(DIMENSIONS);
  const topics = createTopics(DIMENSIONS, 1);
  const { adminUrl, space, admin } = installation;
  const load = (all: number[]) => loadTenants(all, { adminUrl, spaceId: space.id, topics, progress });
  const neighbours = await load([SMALL, ...Array.from({ length: peers }, () => SMALL)]);
  progress('building the graph that all share');
  await buildShared(installation, neighbours);
  const [small] = neighbours as [VectorTenant];
  const [middle, large, largest] = (await load([MIDDLE, LARGE, huge])) as [VectorTenant, VectorTenant, VectorTenant];
  progress('putting tenants into their tiers');
  const started = performance.now();
  await installation.settle();
  progress(`settled after ${Math.round((performance.now() - started) / 1_000)} s`);
  await logTiers(installation, progress);

  const rows: Row[] = [];
  const questions = drawn(topics, QUESTIONS);
  const [first] = questions as [Question];
  for (const tenant of [small, middle, large, largest]) {
    const took = await warmed(installation, tenant, first);
    rows.push({ label: `${tenant.chunks.toLocaleString('en')} chunks: read into memory`, unit: 'ms', values: [took] });
  }
  for (const tenant of [small, middle, large, largest]) {
    const some = questions.slice(0, tenant === largest ? 40 : QUESTIONS);
    rows.push(...foundRows(tenant.chunks, await compare(installation, tenant, some)));
    const { recall } = await compare(installation, tenant, some, askedCold(installation, tenant));
    rows.push(
      constant(`${tenant.chunks.toLocaleString('en')} chunks: recall@10 by the database`, recall, { atLeast: 0.99 }),
    );
  }

  progress('asking in turns');
  const next = cycle(questions);
  const side = (times: number, ask: (question: Question) => Promise<unknown>) => () =>
    timed(installation, times, () => ask(next()));
  const ask = {
    bare: () => admin`select 1`,
    empty: askedNothing(installation, small),
    small: asked(installation, small),
  };
  const measured = await interleave(rounds, {
    short: () =>
      timedInTurns(400, {
        bare: { installation, one: ask.bare },
        empty: { installation, one: () => ask.empty(next()) },
        small: { installation, one: () => ask.small(next()) },
      }),
    smallCold: side(100, askedCold(installation, small)),
    shared: side(15, askedShared(installation, small)),
    middle: side(60, asked(installation, middle)),
    middleCold: side(40, askedCold(installation, middle)),
    middleExact: side(20, askedExactly(installation, middle)),
    large: side(40, asked(installation, large)),
    largeCold: side(20, askedCold(installation, large)),
    largeExact: side(10, askedExactly(installation, large)),
    huge: side(20, asked(installation, largest)),
    hugeCold: side(10, askedCold(installation, largest)),
    hugeExact: side(1, askedExactly(installation, largest)),
  });
  const ms = (label: string, costs: readonly Cost[]): Row => ({
    label,
    unit: 'ms',
    values: costs.map((one) => one.ms),
  });
  const ratio = (label: string, a: readonly Cost[], b: readonly Cost[], target?: Row['target']): Row[] => [
    {
      label,
      unit: 'ratio',
      values: ratios(
        a.map((one) => one.ms),
        b.map((one) => one.ms),
      ),
      ...(target && { target }),
    },
    {
      label: `${label}, processor time`,
      unit: 'ratio',
      values: ratios(
        a.map((one) => one.cpu),
        b.map((one) => one.cpu),
      ),
    },
  ];
  const slope = (of: (cost: Cost) => number) =>
    measured.large.map((cost, round) => {
      const from = measured.middle[round];
      return (of(cost) - (from ? of(from) : Number.NaN)) / (LARGE - MIDDLE);
    });
  const [bare, empty, s] = (['bare', 'empty', 'small'] as const).map((name) =>
    measured.short.map((all) => all[name]),
  ) as [Cost[], Cost[], Cost[]];
  const { smallCold, shared, middle: m, middleCold, middleExact } = measured;
  const { large: l, largeCold, largeExact, huge: h, hugeCold, hugeExact } = measured;
  const hugeLabel = `${huge.toLocaleString('en')} chunks`;
  return [
    ...rows,
    ms('a bare round trip', bare),
    ms('an empty transaction of a tenant', empty),
    ms('100 chunks', s),
    ...ratio('100 chunks / bare round trip', s, bare, { atMost: 4 }).slice(0, 1),
    ...ratio('100 chunks / empty transaction', s, empty).slice(0, 1),
    ms('the same by the database', smallCold),
    ms(`the same by one graph for ${peers + 1} tenants, iterative`, shared),
    ...ratio('shared graph / 100 chunks', shared, s, quick ? undefined : { atLeast: 40 }),
    ...ratio('shared graph / 100 chunks by the database', shared, smallCold),
    ms('4,000 chunks', m),
    ms('4,000 chunks, exact', middleExact),
    ...ratio('4,000 chunks by the database / exact', middleCold, middleExact),
    ...ratio('4,000 chunks / exact', m, middleExact, { atMost: 0.5 }),
    ms('20,000 chunks', l),
    ms('20,000 chunks, exact', largeExact),
    ...ratio('20,000 chunks by the database / exact', largeCold, largeExact),
    ...ratio('20,000 chunks / exact', l, largeExact, { atMost: 0.33 }),
    {
      label: 'slope from 4,000 to 20,000, a chunk',
      unit: 'µs',
      values: slope((cost) => cost.ms * 1_000),
      target: { atMost: 0.3 },
    },
    { label: 'the same, processor time', unit: 'µs', values: slope((cost) => cost.cpu) },
    ms(hugeLabel, h),
    ms(`${hugeLabel}, exact`, hugeExact),
    ...ratio(`${hugeLabel} by the database / exact`, hugeCold, hugeExact),
    ...ratio(`${hugeLabel} / exact`, h, hugeExact),
  ];
}

async function logTiers({ admin }: Installation, progress: (line: string) => void): Promise<void> {
  const rows = await admin<{ chunks: number; tier: string; candidates: number; recall: number }[]>`
    select chunks::int, tier, candidates, recall from vector_tiers order by chunks`;
  for (const { chunks, tier, candidates, recall } of rows) {
    progress(`${chunks.toLocaleString('en')} chunks: ${tier}, ${candidates} candidates, recall ${recall} measured`);
  }
}

/** Ten tenants, and a thousand times as many of the same size. */
async function numbers(rounds: number, many: number, progress: (line: string) => void): Promise<Row[]> {
  const topics = createTopics(MANY.dimensions, 2);
  await using few = await install(MANY.dimensions);
  await using lots = await install(MANY.dimensions);
  const load = ({ adminUrl, space }: Installation, count: number) =>
    loadTenants(
      Array.from({ length: count }, () => MANY.chunks),
      { adminUrl, spaceId: space.id, topics, progress },
    );
  const fewTenants = await load(few, MANY.few);
  const lotsTenants = await load(lots, many);
  await Promise.all([few.settle(), lots.settle()]);
  const next = cycle(drawn(topics, QUESTIONS));
  const side = (installation: Installation, tenants: readonly VectorTenant[]) => {
    const turn = cycle(tenants.toSorted((a, b) => (a.tenantId.slice(-6) < b.tenantId.slice(-6) ? -1 : 1)));
    return { installation, one: () => asked(installation, turn())(next()) };
  };
  const sides = { few: side(few, fewTenants), many: side(lots, lotsTenants) };
  const together = await interleave(rounds, { both: () => timedInTurns(400, sides) });
  const measured = { few: together.both.map((all) => all.few), many: together.both.map((all) => all.many) };
  const count = many.toLocaleString('en');
  const of = (costs: readonly Cost[], key: keyof Cost) => costs.map((cost) => cost[key]);
  return [
    {
      label: `${MANY.few} tenants of ${MANY.chunks} chunks, ${MANY.dimensions} dimensions`,
      unit: 'ms',
      values: of(measured.few, 'ms'),
    },
    { label: `${count} of them`, unit: 'ms', values: of(measured.many, 'ms') },
    {
      label: `${count} / ${MANY.few} tenants`,
      unit: 'ratio',
      values: ratios(of(measured.many, 'ms'), of(measured.few, 'ms')),
      target: { atMost: 1.25 },
    },
    {
      label: `${count} / ${MANY.few} tenants, processor time`,
      unit: 'ratio',
      values: ratios(of(measured.many, 'cpu'), of(measured.few, 'cpu')),
    },
  ];
}

export const benchmark: Benchmark = {
  name: 'retrieve',
  about: 'vector search under row-level security beside exact scans, a shared graph and a bare round trip',

  async run({ rounds, quick, progress }) {
    return [
      ...(await sizes(rounds, quick, progress)),
      ...(await numbers(rounds, quick ? MANY.quick : MANY.many, progress)),
      ...(await realRows(progress)),
    ];
  },
};
