/** What the benchmark `retrieve` asks: a database of its own, tenants of given sizes, and their answers by each way. */
import postgres from 'postgres';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { ensureSpace, type Space } from '../../src/db/spaces.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { exactChunks, nearestChunks, type Scored, searchChunks } from '../../src/repositories/vectors.ts';
import { createResidentVectors, type ResidentVectors } from '../../src/services/resident-vectors.ts';
import { createVectorTiers } from '../../src/services/vector-tiers.ts';
import type { TierBounds } from '../../src/services/vector-tiers-plan.ts';
import { toHalfvec } from '../../src/services/vectors.ts';
import { createTestDatabase } from '../support/services.ts';
import type { VectorTenant } from '../support/vector-tenants.ts';
import { threadTimeOf } from './support/process-stats.ts';
import { median } from './support/rounds.ts';

export const NEAREST = 10;

export interface Installation extends AsyncDisposable {
  readonly database: Database;
  readonly space: Space;
  readonly residents: ResidentVectors;
  /** Signs in as a superuser: loads rows, and is the bare round trip. */
  readonly adminUrl: string;
  readonly admin: postgres.Sql;
  /** Puts every tenant into its tier, as the workers' loop does. */
  settle(bounds?: TierBounds): Promise<void>;
}

export async function install(dimensions: number): Promise<Installation> {
  const db = await createTestDatabase();
  const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 2, embedded: false });
  const admin = postgres(db.adminUrl, { max: 1, onnotice: () => undefined });
  const space = await ensureSpace(database, { provider: 'bench', model: 'synthetic', dimensions, pipeline: 'bench' });
  const residents = createResidentVectors({
    database,
    clock: systemClock,
    logger: silentLogger,
    metrics: createMetrics(),
  });
  if (!residents) throw new Error('this processor has no SIMD for WebAssembly');
  return {
    database,
    space,
    residents,
    adminUrl: db.adminUrl,
    admin,
    async settle(bounds) {
      const tiers = createVectorTiers({
        database,
        clock: systemClock,
        ids: systemIds,
        random: Math.random,
        logger: silentLogger,
        ...(bounds && { bounds }),
      });
      await tiers.settle();
      // What was moved is dead, and what was loaded has never been looked at: as autovacuum leaves it within a minute.
      for (const table of ['chunk_codes', 'chunk_vectors', 'document_spaces', 'documents'])
        await admin.unsafe(`vacuum analyze ${table}`);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([database.close(), admin.end()]);
      await db.drop();
    },
  };
}

/** A question's vector, and the form in which the database takes it, made beforehand for the sides that are compared with. */
export interface Question {
  readonly vector: Float32Array;
  readonly text: string;
}

export const questionOf = (vector: Float32Array): Question => ({ vector, text: toHalfvec(vector) });

export type Ask = (question: Question) => Promise<Scored[]>;

type Asker = Pick<VectorTenant, 'tenantId' | 'userId'>;

const inScope = <T>({ tenantId, userId }: Asker, fn: () => Promise<T>): Promise<T> =>
  runAs({ tenantId, userId, traceId: newTraceId() }, fn);

const within =
  ({ database }: Installation, who: Asker) =>
  (run: (sql: Parameters<Parameters<Database['tenant']>[0]>[0]) => Promise<Scored[]>) =>
    inScope(who, () => database.tenant(run));

/** As search asks: in the process where the tenant's vectors are kept, else by the database. */
export function asked(installation: Installation, tenant: VectorTenant): Ask {
  const { residents, database, space } = installation;
  const about = { spaceId: space.id, limit: NEAREST, filter: {} };
  return ({ vector }) =>
    inScope(tenant, async () => {
      const found = await residents.nearest({ ...about, vector });
      if (found) return found;
      const { rows, ...searched } = await database.tenant((sql) =>
        searchChunks(sql, { ...about, embedding: toHalfvec(vector) }),
      );
      residents.searched(space.id, searched);
      return rows;
    });
}

/** Milliseconds that reading the tenant's vectors takes, where it is worth keeping. */
export async function warmed(installation: Installation, tenant: VectorTenant, question: Question): Promise<number> {
  await asked(installation, tenant)(question);
  const started = performance.now();
  await installation.residents.idle();
  return performance.now() - started;
}

/** By the database, as the first search of a tenant: under row-level security, by its tier, in a transaction of its own. */
export function askedCold(installation: Installation, tenant: VectorTenant): Ask {
  const run = within(installation, tenant);
  const { id: spaceId } = installation.space;
  return ({ text }) => run((sql) => nearestChunks(sql, { spaceId, embedding: text, limit: NEAREST, filter: {} }));
}

/** What every question costs before it asks anything. */
export function askedNothing(installation: Installation, tenant: VectorTenant): Ask {
  const run = within(installation, tenant);
  return () => run((sql) => sql<Scored[]>`select 'nothing' as id, 0 as score`);
}

/** By looking at each vector, in the same kind of transaction. */
export function askedExactly(installation: Installation, tenant: VectorTenant): Ask {
  const run = within(installation, tenant);
  const { id: spaceId } = installation.space;
  return ({ text }) =>
    run(async (sql) => {
      await sql`select set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)`;
      return exactChunks(sql, { spaceId, embedding: text, limit: NEAREST, filter: {} });
    });
}

export interface Cost {
  /** Milliseconds of the median question. */
  ms: number;
  /** Microseconds of processor time that the database's sessions and this process spent on one, on average. */
  cpu: number;
}

/** What the sessions of the installation's pool have used so far; a session has one thread. */
async function usedBySessions({ admin }: Installation): Promise<number> {
  const rows = await admin<{ pid: number }[]>`
    select pid from pg_stat_activity where datname = current_database() and application_name = 'dreamhub'`;
  const times = await Promise.all(rows.map(({ pid }) => threadTimeOf(pid)));
  return times.reduce((sum, time) => sum + time, 0);
}

function usedHere(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** What this process and those sessions have used so far. */
const usedBy = async (installation: Installation): Promise<number> => usedHere() + (await usedBySessions(installation));

/** Asks so many times; the first few warm plans and pages up. */
export async function timed(installation: Installation, times: number, one: () => Promise<unknown>): Promise<Cost> {
  for (let i = 0; i < Math.ceil(times / 5); i++) await one();
  const before = await usedBy(installation);
  const took: number[] = [];
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    await one();
    took.push(performance.now() - started);
  }
  return { ms: median(took), cpu: ((await usedBy(installation)) - before) / times };
}

interface Asking {
  readonly installation: Installation;
  one(): Promise<unknown>;
}

/** Questions of one side before it is another's turn: few enough that what disturbs one disturbs all. */
const IN_A_TURN = 20;

/**
 * As `timed`, for sides whose questions take so little that one of them could be measured while the machine does something
 * else and the others not: they ask in short turns.
 */
export async function timedInTurns<Name extends string>(
  times: number,
  sides: Readonly<Record<Name, Asking>>,
): Promise<Record<Name, Cost>> {
  const all = (Object.entries(sides) as [Name, Asking][]).map(([name, asking]) => ({
    name,
    ...asking,
    took: [] as number[],
    here: 0,
    sessions: 0,
  }));
  for (const { one } of all) for (let i = 0; i < IN_A_TURN; i++) await one();
  for (let turn = 0; turn < times / IN_A_TURN; turn++) {
    // Who begins is another one each time.
    for (const [at] of all.entries()) {
      const side = all[(at + turn) % all.length];
      if (!side) continue;
      const sessions = await usedBySessions(side.installation);
      const here = usedHere();
      for (let i = 0; i < IN_A_TURN; i++) {
        const started = performance.now();
        await side.one();
        side.took.push(performance.now() - started);
      }
      side.here += usedHere() - here;
      side.sessions += (await usedBySessions(side.installation)) - sessions;
    }
  }
  return Object.fromEntries(
    all.map(({ name, took, here, sessions }) => [name, { ms: median(took), cpu: (here + sessions) / took.length }]),
  ) as Record<Name, Cost>;
}

export interface Found {
  /** Share of the exact ten that were found. */
  recall: number;
  /** Questions that were answered with fewer rows than there are. */
  short: number;
  /** Rows of somebody else. */
  foreign: number;
}

/** Both answers to the same questions. */
export async function compare(
  installation: Installation,
  tenant: VectorTenant,
  questions: readonly Question[],
  ask: Ask = asked(installation, tenant),
): Promise<Found> {
  const exactly = askedExactly(installation, tenant);
  const seen = new Set<string>();
  let [hits, wanted, short] = [0, 0, 0];
  for (const question of questions) {
    const [found, exact] = [await ask(question), await exactly(question)];
    const ids = new Set(exact.map(({ id }) => id));
    hits += found.filter(({ id }) => ids.has(id)).length;
    wanted += ids.size;
    if (found.length < ids.size) short += 1;
    for (const { id } of found) seen.add(id);
  }
  const own = await installation.admin`
    select 1 from chunks where tenant_id = ${tenant.tenantId} and id = any(${[...seen]}::uuid[])`;
  return { recall: hits / wanted, short, foreign: seen.size - own.length };
}
