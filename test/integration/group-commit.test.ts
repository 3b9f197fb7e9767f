import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { createGroupCommit } from '../../src/db/group-commit.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs, type Scope } from '../../src/kernel/context.ts';
import { beginAttempts, type OwnAttempt, succeedAttempts } from '../../src/repositories/task-attempts.ts';
import type { Attempt } from '../../src/repositories/tasks.ts';
import { createTestDatabase, type TestDatabase } from '../support/services.ts';

const LEASE = { leaseMs: 60_000, progress: 0 };
const TENANTS = 4;

let server: TestDatabase;
let database: Database;
let admin: postgres.Sql;
let scopes: Scope[] = [];
/** Of each tenant two that are handed out. */
let tasks: { id: string; scope: Scope }[] = [];

const newScope = (): Scope => ({ tenantId: Bun.randomUUIDv7(), userId: Bun.randomUUIDv7(), traceId: newTraceId() });

beforeAll(async () => {
  server = await createTestDatabase();
  database = createDatabase({ url: server.url, max: 6, embedded: false });
  admin = postgres(server.adminUrl, { max: 2, onnotice: () => undefined });
});

afterAll(async () => {
  await database.close();
  await admin.end();
  await server.drop();
});

beforeEach(async () => {
  scopes = Array.from({ length: TENANTS }, newScope);
  tasks = scopes.flatMap((scope) => [0, 1].map(() => ({ id: Bun.randomUUIDv7(), scope })));
  for (const { tenantId, userId } of scopes) {
    await admin`insert into tenants (id, name) values (${tenantId}, ${tenantId})`;
    await admin`insert into tenant_load (tenant_id, outstanding, outstanding_bytes) values (${tenantId}, 2, 20)`;
    for (const { id } of tasks.filter(({ scope }) => scope.tenantId === tenantId)) {
      await admin`
        insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type)
        values (${tenantId}, ${id}, ${userId}, 'tenant', '', '', 'text/plain', 10, sha256(${id}::text::bytea), 'upload')`;
      await admin`
        insert into tasks (tenant_id, id, kind, document_id, user_id, document_version, size, handed_out_at)
        values (${tenantId}, ${id}, 'ingest', ${id}, ${userId}, 1, 10, now())`;
    }
  }
});

/** Counts the transactions that are shared, and can spoil them. */
function watched(before: (patient: boolean, calls: number) => Promise<void> = async () => {}) {
  let calls = 0;
  const together: Database['together'] = (fn, options) =>
    database.together(async (shared) => {
      calls += 1;
      await before(options?.patient ?? false, calls);
      return fn(shared);
    }, options);
  return { database: { together }, calls: () => calls };
}

const beginWith = (on: Pick<Database, 'together'>) =>
  createGroupCommit<{ id: string }, Attempt>({
    database: on,
    clock: systemClock,
    run: (shared, members) => shared.system((sql) => beginAttempts(sql, members, LEASE)),
  });

const succeedWith = (on: Pick<Database, 'together'>) =>
  createGroupCommit<OwnAttempt, OwnAttempt>({
    database: on,
    clock: systemClock,
    run: (shared, members) => shared.system((sql) => succeedAttempts(sql, members)),
  });

const beginAll = (begin: ReturnType<typeof beginWith>) =>
  Promise.all(tasks.map(({ id, scope }) => runAs(scope, () => begin({ id }))));

const succeedAll = (succeed: ReturnType<typeof succeedWith>, attempt = 1) =>
  Promise.all(tasks.map(({ id, scope }) => runAs(scope, () => succeed({ id, attempt }))));

const statuses = async () => {
  const rows = await admin<{ id: string; status: string }[]>`
    select id, status from tasks where id = any(${tasks.map(({ id }) => id)}::uuid[])`;
  return tasks.map(({ id }) => rows.find((row) => row.id === id)?.status);
};

const counters = async () => {
  const rows = await admin<{ tenant_id: string; outstanding: number; bytes: number }[]>`
    select tenant_id, outstanding, outstanding_bytes::int as bytes from tenant_load
    where tenant_id = any(${scopes.map(({ tenantId }) => tenantId)}::uuid[])`;
  return scopes.map(({ tenantId }) => {
    const row = rows.find(({ tenant_id }) => tenant_id === tenantId);
    return [row?.outstanding, row?.bytes];
  });
};

describe('attempts of several tenants', () => {
  test('begin in one transaction, and end in one', async () => {
    const begin = watched();
    const begun = await beginAll(beginWith(begin.database));
    expect(begun.map((attempt) => attempt?.attempt)).toEqual(tasks.map(() => 1));
    expect(begun.map((attempt) => attempt?.document_id)).toEqual(tasks.map(({ id }) => id));
    expect(begin.calls()).toBe(1);

    const succeed = watched();
    expect(await succeedAll(succeedWith(succeed.database))).not.toContain(undefined);
    expect(succeed.calls()).toBe(1);
    expect(await statuses()).toEqual(tasks.map(() => 'succeeded'));
    expect(await counters()).toEqual(scopes.map(() => [0, 0]));
  });

  test('of which one is fenced out leave that one alone', async () => {
    await beginAll(beginWith(database));
    const [fenced] = tasks;
    await admin`update tasks set attempt = 2 where id = ${fenced?.id ?? ''}`;
    const ended = await succeedAll(succeedWith(database));
    expect(ended.map((own) => own !== undefined)).toEqual(tasks.map(({ id }) => id !== fenced?.id));
    expect(await statuses()).toEqual(tasks.map(({ id }) => (id === fenced?.id ? 'running' : 'succeeded')));
    expect(await counters()).toEqual(scopes.map((_, place) => (place === 0 ? [1, 10] : [0, 0])));
  });

  test('begin once each, however often they are delivered at the same moment', async () => {
    const begin = beginWith(database);
    const [first, second] = await Promise.all([beginAll(begin), beginAll(begin)]);
    expect(first.map((attempt) => attempt?.attempt)).toEqual(tasks.map(() => 1));
    expect(second).toEqual(tasks.map(() => undefined));
  });

  test('do not wait for one whose row somebody holds', async () => {
    const [held] = tasks;
    const locked = Promise.withResolvers<void>();
    const letGo = Promise.withResolvers<void>();
    const holder = admin.begin(async (sql) => {
      await sql`select 1 from tasks where id = ${held?.id ?? ''} for update`;
      locked.resolve();
      await letGo.promise;
    });
    await locked.promise;
    const begin = beginWith(database);
    const results = tasks.map(({ id, scope }) => runAs(scope, () => begin({ id })));
    const others = await Promise.all(results.slice(1));
    expect(others.map((attempt) => attempt?.attempt)).toEqual(others.map(() => 1));
    expect((await statuses())[0]).toBe('queued');
    letGo.resolve();
    await holder;
    expect((await results[0])?.attempt).toBe(1);
  });

  test('are done one by one where one of them is in error', async () => {
    await beginAll(beginWith(database));
    const [broken] = scopes;
    // Its counter would fall below 0.
    await admin`update tenant_load set outstanding = 0 where tenant_id = ${broken?.tenantId ?? ''}`;
    const succeed = succeedWith(database);
    const results = await Promise.allSettled(
      tasks.map(({ id, scope }) => runAs(scope, () => succeed({ id, attempt: 1 }))),
    );
    expect(results.map(({ status }) => status)).toEqual(
      tasks.map(({ scope }) => (scope === broken ? 'rejected' : 'fulfilled')),
    );
    expect(await statuses()).toEqual(tasks.map(({ scope }) => (scope === broken ? 'running' : 'succeeded')));
  });

  test('are done one by one where their connection is cut before the commit', async () => {
    const cut = watched(async (patient) => {
      if (!patient)
        await admin`select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and usename <> current_user and state like 'idle in transaction%'`;
    });
    const begun = await beginAll(beginWith(cut.database));
    expect(begun.map((attempt) => attempt?.attempt)).toEqual(tasks.map(() => 1));
    expect(cut.calls()).toBe(1 + tasks.length);
  });

  test('that may have been begun by a transaction whose end nobody saw are not taken for somebody else’s', async () => {
    const lost: Database['together'] = async (fn, options) => {
      const value = await database.together(fn, options);
      if (options?.patient) return value;
      const { AppError } = await import('../../src/kernel/errors.ts');
      throw new AppError('unavailable', 'The connection was lost.');
    };
    const begin = beginWith({ together: lost });
    const results = await Promise.allSettled(tasks.map(({ id, scope }) => runAs(scope, () => begin({ id }))));
    expect(results.map(({ status }) => status)).toEqual(tasks.map(() => 'rejected'));
    expect(await statuses()).toEqual(tasks.map(() => 'running'));
  });

  test('settle in each scope what is deferred to the end of a transaction', async () => {
    await database.together(async (shared) => {
      await Promise.all(
        tasks.map(({ id, scope }) =>
          shared.within(scope, (sql) => sql`update documents set title = 'new' where id = ${id}`),
        ),
      );
      await shared.system((sql) => sql`select count(*) from tasks`);
    });
    const rows = await admin<{ tenant_id: string }[]>`
      select tenant_id from corpus_generations where tenant_id = any(${scopes.map(({ tenantId }) => tenantId)}::uuid[])`;
    expect(rows.map(({ tenant_id }) => tenant_id).toSorted()).toEqual(
      scopes.map(({ tenantId }) => tenantId).toSorted(),
    );
  });

  test('see in each scope what is its tenant’s, and nothing of it in the next', async () => {
    const seen = await database.together((shared) =>
      Promise.all([
        ...scopes.map((scope) =>
          shared.within(scope, (sql) =>
            sql<{ id: string }[]>`select id from tasks order by id`.then((rows) => rows.length),
          ),
        ),
      ]),
    );
    expect(seen).toEqual(scopes.map(() => 2));
    const refused = database.together(async (shared) => {
      const [scope] = scopes;
      if (scope) await shared.within(scope, (sql) => sql`select 1`);
      return shared.system((sql) => sql`select title from documents`);
    });
    expect(refused).rejects.toThrow(/permission denied/);
    await refused.catch(() => undefined);
  });
});

test('a batch that stands still holds up the next for a moment only', async () => {
  const stuck = Promise.withResolvers<void>();
  const slow = watched(async (_, calls) => {
    if (calls === 1) await stuck.promise;
  });
  const begin = createGroupCommit<{ id: string }, Attempt>({
    database: slow.database,
    clock: systemClock,
    patienceMs: 20,
    run: (shared, members) => shared.system((sql) => beginAttempts(sql, members, LEASE)),
  });
  const [first, ...others] = tasks;
  if (!first) throw new Error('there is no task');
  const waiting = runAs(first.scope, () => begin({ id: first.id }));
  while (slow.calls() === 0) await new Promise((resolve) => setImmediate(resolve));
  const rest = await Promise.all(others.map(({ id, scope }) => runAs(scope, () => begin({ id }))));
  expect(rest.map((attempt) => attempt?.attempt)).toEqual(others.map(() => 1));
  stuck.resolve();
  expect((await waiting)?.attempt).toBe(1);
});

test('what is to be apart shares no batch with another tenant, and misses none', async () => {
  const tenantsOf: number[] = [];
  const begin = createGroupCommit<{ id: string }, Attempt>({
    database,
    clock: systemClock,
    apart: true,
    run: (shared, members) => {
      tenantsOf.push(new Set(members.map(({ scope }) => scope.tenantId)).size);
      return shared.system((sql) => beginAttempts(sql, members, LEASE));
    },
  });
  expect((await beginAll(begin)).map((begun) => begun?.attempt)).toEqual(tasks.map(() => 1));
  expect(tenantsOf).toEqual(Array.from({ length: TENANTS }, () => 1));
});

test('what is to be apart does not wait for another tenant’s batch that stands still', async () => {
  const letGo = Promise.withResolvers<void>();
  const [first] = tasks;
  const begin = createGroupCommit<{ id: string }, Attempt>({
    database,
    clock: systemClock,
    apart: true,
    patienceMs: 60_000,
    run: async (shared, members) => {
      if (members.some(({ scope }) => scope === first?.scope)) await letGo.promise;
      return shared.system((sql) => beginAttempts(sql, members, LEASE));
    },
  });
  const results = tasks.map(({ id, scope }) => runAs(scope, () => begin({ id })));
  const others = await Promise.all(results.filter((_, place) => tasks[place]?.scope !== first?.scope));
  expect(others.map((begun) => begun?.attempt)).toEqual(others.map(() => 1));
  expect((await statuses())[0]).toBe('queued');
  letGo.resolve();
  expect((await results[0])?.attempt).toBe(1);
});
