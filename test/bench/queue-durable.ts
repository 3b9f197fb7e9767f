/**
 * The durable way of a job, one side a process: it waits in PostgreSQL, is worked on, and its row says that it ended.
 *
 * DreamHub: the feeder hands out windows to Redis, the dispatcher takes them in fair order, attempts take their fencing
 * numbers and leases, their ends are fenced by those and lower the tenants' counters, the entries are acknowledged and the
 * feeder asked for the next. Attempts that begin at about the same time share a transaction, and those that end do. These are
 * the product's own functions with its number of connections; only the document's part of both
 * transactions, which runs in its tenant's scope, is left out.
 *
 * graphile-worker: its queue as it comes, where a job is a call to get it and one to complete it. No tenants, no fairness
 * among them, no counter, no fence: what is completed is whatever the worker's id has locked.
 *
 * The bare side takes and ends a batch by a statement each, with nothing kept of what a job means to anybody.
 */
import { Logger, run, runMigrations } from 'graphile-worker';
import postgres from 'postgres';
import type { Delivery } from '../../src/contracts/index.ts';
import { createDatabase } from '../../src/db/database.ts';
import { createGroupCommit } from '../../src/db/group-commit.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createDispatcher } from '../../src/queue/dispatcher.ts';
import { createFeeder } from '../../src/queue/feeder.ts';
import { createProducer } from '../../src/queue/producer.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { beginAttempts, type OwnAttempt, succeedAttempts } from '../../src/repositories/task-attempts.ts';
import type { Attempt } from '../../src/repositories/tasks.ts';
import { obey } from './support/hub.ts';
import { threadTimeOf } from './support/process-stats.ts';
import { BATCH } from './support/queue.ts';
import type { Drained, DurableKind, DurableOrder } from './support/queue-durable.ts';

const { DATABASE_URL = '', ADMIN_URL = '', REDIS_URL = '', KIND = '' } = process.env;
/** The product's number of connections of a process. */
const CONNECTIONS = 20;
/** `WORKER_CONCURRENCY` and `TENANT_CONCURRENCY`: as they come, and for jobs as small as these. */
const AS_IT_COMES = { concurrency: 16, tenantConcurrency: 4 };
const FOR_SMALL_JOBS = { concurrency: 128, tenantConcurrency: 32 };
const LEASE_MS = 24_000;
/** Batches under way at once, on the bare side. */
const LOOPS = 4;

interface DurableSide {
  fill(jobs: number, tenants: readonly string[]): Promise<void>;
  /** Works until nothing is left; returns what was used up to then. */
  drain(jobs: number, tenants: readonly string[]): Promise<ServerUse>;
}

const admin = postgres(ADMIN_URL, { max: LOOPS, onnotice: () => undefined });

interface ServerUse {
  /** Microseconds. */
  time: number;
  transactions: number;
}

/** What the sessions of this database that live now have used, and all that was committed there. */
async function serverUse(): Promise<ServerUse> {
  const rows = await admin<{ pid: number; transactions: number }[]>`
    select a.pid, d.xact_commit::int as transactions from pg_stat_activity a join pg_stat_database d using (datname)
    where a.datname = current_database()`;
  const times = await Promise.all(rows.map(({ pid }) => threadTimeOf(pid)));
  return { time: times.reduce((sum, time) => sum + time, 0), transactions: rows[0]?.transactions ?? 0 };
}

function countdown(jobs: number) {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = jobs;
  return { promise, one: () => void (--left === 0 && resolve()) };
}

async function dreamhub(atOnce: typeof AS_IT_COMES): Promise<DurableSide> {
  const logger = silentLogger;
  const clock = systemClock;
  const database = createDatabase({ url: DATABASE_URL, max: CONNECTIONS, embedded: false });
  const clients = createRedisClients({ url: REDIS_URL, logger });
  const keys = createKeys({ partitions: 4 });
  const producer = createProducer({ clients, keys });
  await clients.check(5_000);
  const feeder = createFeeder({ database, producer, clock, logger });

  const begin = createGroupCommit<{ id: string }, Attempt>({
    database,
    clock,
    run: (shared, members) => shared.system((sql) => beginAttempts(sql, members, { leaseMs: LEASE_MS, progress: 0 })),
  });
  const succeed = createGroupCommit<OwnAttempt, OwnAttempt>({
    database,
    clock,
    run: (shared, members) => shared.system((sql) => succeedAttempts(sql, members)),
  });

  async function handle({ job }: Delivery): Promise<void> {
    await runAs({ tenantId: job.tenantId, userId: job.userId, traceId: newTraceId() }, async () => {
      const begun = await begin({ id: job.id });
      if (begun) await succeed({ id: job.id, attempt: begun.attempt });
    });
  }

  return {
    async fill(jobs, tenants) {
      await admin`truncate tenants, tenant_load, documents, tasks cascade`;
      await admin`insert into tenants (id, name) select id, id::text from unnest(${[...tenants]}::uuid[]) id`;
      const each = Math.ceil(jobs / tenants.length);
      await admin`insert into tenant_load (tenant_id, outstanding, outstanding_bytes)
        select id, ${each}, ${each} from unnest(${[...tenants]}::uuid[]) id`;
      await admin`insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type)
        select id, id, id, 'tenant', '', '', 'text/plain', 1, sha256(id::text::bytea), 'upload' from unnest(${[...tenants]}::uuid[]) id`;
      await admin`insert into tasks (tenant_id, id, kind, document_id, user_id, document_version, size)
        select id, gen_random_uuid(), 'ingest', id, id, 1, 1 from unnest(${[...tenants]}::uuid[]) id, generate_series(1, ${each})`;
      await admin`vacuum analyze tasks`;
    },
    async drain(jobs, tenants) {
      const { promise, one } = countdown(jobs);
      const dispatcher = createDispatcher({
        clients,
        keys,
        producer,
        lane: 'ingest',
        consumer: 'bench',
        ...atOnce,
        visibilityMs: 30_000,
        clock,
        logger,
        handle,
        onAcknowledged(tenantId, undelivered) {
          one();
          feeder.finished('ingest', tenantId, undelivered);
        },
        onPoison: async () => {},
      });
      await dispatcher.start();
      await feeder.service.start();
      for (const tenant of tenants) feeder.nudge('ingest', tenant);
      await promise;
      const use = await serverUse();
      await feeder.service.stop();
      await dispatcher.stop();
      const [left] = await admin<{ tasks: number; outstanding: number }[]>`
        select (select count(*)::int from tasks where status <> 'succeeded') as tasks,
          (select sum(outstanding)::int from tenant_load) as outstanding`;
      if (left?.tasks !== 0 || left.outstanding !== 0) throw new Error(`DreamHub left ${JSON.stringify(left)}`);
      return use;
    },
  };
}

async function graphile(concurrency: number | undefined): Promise<DurableSide> {
  const logger = new Logger(() => () => undefined);
  await runMigrations({ connectionString: ADMIN_URL, logger });
  return {
    async fill(jobs) {
      await admin`truncate graphile_worker._private_jobs`;
      await admin`select graphile_worker.add_jobs(array(
        select ('bench', json_build_object('id', n), null, now(), 5, null, 0, null)::graphile_worker.job_spec from generate_series(1, ${jobs}) n))`;
      await admin`vacuum analyze graphile_worker._private_jobs`;
    },
    async drain(jobs) {
      const { promise, one } = countdown(jobs);
      const runner = await run({
        connectionString: ADMIN_URL,
        logger,
        noHandleSignals: true,
        ...(concurrency !== undefined && { concurrency, maxPoolSize: CONNECTIONS }),
        taskList: { bench: async () => one() },
      });
      await promise;
      const use = await serverUse();
      await runner.stop();
      return use;
    },
  };
}

async function skipLocked(): Promise<DurableSide> {
  await admin`create table if not exists bare_jobs (id bigint primary key, payload jsonb not null,
    status text not null default 'queued', attempt int not null default 0)`;
  await admin`create index if not exists bare_jobs_queued on bare_jobs (id) where status = 'queued'`;
  async function loop(): Promise<void> {
    while (true) {
      const rows = await admin<{ id: number; attempt: number }[]>`
        update bare_jobs set status = 'running', attempt = attempt + 1 where id in (
          select id from bare_jobs where status = 'queued' order by id limit ${BATCH} for update skip locked)
        returning id, attempt`;
      if (rows.length === 0) return;
      await admin`update bare_jobs set status = 'succeeded' where id = any(${rows.map(({ id }) => id)}) and status = 'running'`;
    }
  }
  return {
    async fill(jobs) {
      await admin`truncate bare_jobs`;
      await admin`insert into bare_jobs (id, payload) select n, json_build_object('id', n) from generate_series(1, ${jobs}) n`;
      await admin`vacuum analyze bare_jobs`;
    },
    async drain() {
      await Promise.all(Array.from({ length: LOOPS }, loop));
      return serverUse();
    },
  };
}

function open(kind: DurableKind): Promise<DurableSide> {
  if (kind === 'dreamhub-16') return dreamhub(AS_IT_COMES);
  if (kind === 'dreamhub-128') return dreamhub(FOR_SMALL_JOBS);
  if (kind === 'skip-locked') return skipLocked();
  return graphile(kind === 'graphile' ? undefined : AS_IT_COMES.concurrency);
}

const side = await open(KIND as DurableKind);
obey<DurableOrder>(async ({ jobs, tenants }): Promise<Drained> => {
  await side.fill(jobs, tenants);
  const before = await serverUse();
  const used = process.cpuUsage();
  const started = performance.now();
  const after = await side.drain(jobs, tenants);
  const ms = performance.now() - started;
  const { user, system } = process.cpuUsage(used);
  const { time, transactions } = after;
  return {
    ms,
    own: (user + system) / jobs,
    server: (time - before.time) / jobs,
    transactions: (transactions - before.transactions) / jobs,
  };
});
