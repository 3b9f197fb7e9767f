/** What the benchmark `retrieve` asks: a database of its own, tenants of given sizes, and their answers by each way. */
import postgres from 'postgres';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { ensureSpace, type Space } from '../../src/db/spaces.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { exactChunks, nearestChunks, type Scored } from '../../src/repositories/vectors.ts';
import { createVectorTiers } from '../../src/services/vector-tiers.ts';
import type { TierBounds } from '../../src/services/vector-tiers-plan.ts';
import { createTestDatabase } from '../support/services.ts';
import type { VectorTenant } from '../support/vector-tenants.ts';
import { threadTimeOf } from './support/process-stats.ts';
import { median } from './support/rounds.ts';

export const NEAREST = 10;

export interface Installation extends AsyncDisposable {
  readonly database: Database;
  readonly space: Space;
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
  return {
    database,
    space,
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

export type Ask = (embedding: string) => Promise<Scored[]>;

const within =
  ({ database }: Installation, { tenantId, userId }: Pick<VectorTenant, 'tenantId' | 'userId'>) =>
  (run: (sql: Parameters<Parameters<Database['tenant']>[0]>[0]) => Promise<Scored[]>) =>
    runAs({ tenantId, userId, traceId: newTraceId() }, () => database.tenant(run));

/** As search asks: under row-level security, by the tenant's tier, in a transaction of its own. */
export function asked(installation: Installation, tenant: VectorTenant): Ask {
  const run = within(installation, tenant);
  const { id: spaceId } = installation.space;
  return (embedding) => run((sql) => nearestChunks(sql, { spaceId, embedding, limit: NEAREST, filter: {} }));
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
  return (embedding) =>
    run(async (sql) => {
      await sql`select set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)`;
      return exactChunks(sql, { spaceId, embedding, limit: NEAREST, filter: {} });
    });
}

export interface Cost {
  /** Milliseconds of the median question. */
  ms: number;
  /** Microseconds of processor time that the database's sessions spent on one, on average. */
  cpu: number;
}

/** What the sessions of the installation's pool have used so far; a session has one thread. */
async function usedBy({ admin }: Installation): Promise<number> {
  const rows = await admin<{ pid: number }[]>`
    select pid from pg_stat_activity where datname = current_database() and application_name = 'dreamhub'`;
  const times = await Promise.all(rows.map(({ pid }) => threadTimeOf(pid)));
  return times.reduce((sum, time) => sum + time, 0);
}

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
  questions: readonly string[],
): Promise<Found> {
  const [ask, exactly] = [asked(installation, tenant), askedExactly(installation, tenant)];
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
