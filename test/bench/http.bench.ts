/**
 * The two calls that everybody makes most, each beside a bare `Bun.serve` doing the same database work on the same
 * services: accepting a small upload, and reading a task while 50,000 wait. Reading is also set beside the same DreamHub
 * with nothing waiting, because a task's state must not cost more the longer the queue is.
 *
 * DreamHub runs as a server without a worker, so nothing is drained. Its feeder hands each tenant's window out to Redis
 * before anything is measured, and from then on does what it does in production: it sweeps once a second, and after each
 * accept looks whether the window has room. That is part of what accepting costs, and the peer does not do it.
 */
import postgres from 'postgres';
import type { TestDatabase } from '../support/services.ts';
import { startBareServer } from './support/bare.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { type Installation, startInstallation } from './support/installation.ts';
import { type LoadGenerator, type LoadOrder, type LoadResult, startLoadGenerator, UNIQUE } from './support/load.ts';
import { processorTimeOf, programOf, threadTimeOf } from './support/process-stats.ts';
import { interleave, ratios } from './support/rounds.ts';
import { type Services, startServices } from './support/services.ts';
import { addTasks, registerTenant, type Tenant } from './support/tenants.ts';

const TENANTS = 5;
const QUEUED = 50_000;
/** Asked for in turn. As many finished ones are there where nothing waits. */
const TASKS_READ = 1_000;
const CONNECTIONS = 24;
/** A round is many short turns of each side: others who use the machine do so in bursts, which then fall on all sides. */
const TURNS_A_ROUND = 6;
const TURN_MS = 500;
/** Of each side, before anything counts: the JIT compiles for some 20,000 uploads, at a third of the server's cost at first. */
const WARM_UP_REQUESTS = 20_000;
const WARM_UP_MS = 90_000;
const UPLOAD_BYTES = 1_024;
/** What the feeder hands out of one tenant. */
const WINDOW = 32;

const PEER_TARGET = { atLeast: 0.65 };
const BACKLOG_TARGET = { atMost: 1.1 };

interface Filled extends AsyncDisposable {
  readonly services: Services;
  readonly installation: Installation;
  readonly tenants: Tenant[];
  /** A tenant's tasks at its place in `tenants`. */
  readonly tasks: string[][];
}

async function fill(queued: boolean): Promise<Filled> {
  const services = await startServices();
  try {
    const installation = await startInstallation({ ...services.env, DREAMHUB_ROLE: 'server' });
    const tenants: Tenant[] = [];
    const tasks: string[][] = [];
    for (let i = 0; i < TENANTS; i++) {
      const tenant = await registerTenant(installation.address, `bench-${i}`);
      const count = (queued ? QUEUED : TASKS_READ) / TENANTS;
      tenants.push(tenant);
      tasks.push(await addTasks(services.database, tenant, { count, finished: !queued }));
    }
    await settle(services, queued ? TENANTS * WINDOW : 0);
    return {
      services,
      installation,
      tenants,
      tasks,
      async [Symbol.asyncDispose]() {
        await installation[Symbol.asyncDispose]();
        await services[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await services[Symbol.asyncDispose]();
    throw error;
  }
}

/** What autovacuum would do some minutes after such a load, done now; and the feeder's windows are full. */
async function settle({ database }: Services, handedOut: number): Promise<void> {
  const sql = postgres(database.adminUrl, { max: 1, onnotice: () => undefined });
  try {
    await sql.unsafe('vacuum analyze');
    for (;;) {
      const [row] = await sql<{ out: number }[]>`select count(handed_out_at)::int as out from tasks`;
      if (row && row.out >= handedOut) return;
      await Bun.sleep(50);
    }
  } finally {
    await sql.end();
  }
}

/** Proves to both who is calling: DreamHub checks the token, the peer believes the two names. */
function credentials({ tenantId, userId, token }: Tenant): string {
  return `Authorization: Bearer ${token}\r\nX-Tenant-Id: ${tenantId}\r\nX-User-Id: ${userId}\r\n`;
}

function readTask(tenant: Tenant, id: string): string {
  return `GET /api/v1/tasks/${id} HTTP/1.1\r\nHost: localhost\r\n${credentials(tenant)}\r\n`;
}

/** As a form of a browser or curl: one part, named as a file. */
function upload(tenant: Tenant): string {
  const boundary = '----dreamhub-bench-7MA4YWxkTrZu0gW';
  const line = 'Every upload of this benchmark says something that no other upload says. ';
  const text = `${UNIQUE}\n${line.repeat(20)}`.slice(0, UPLOAD_BYTES);
  const body = [
    `--${boundary}`,
    'Content-Disposition: form-data; name="file"; filename="notes.txt"',
    'Content-Type: text/plain',
    '',
    text,
    `--${boundary}--`,
    '',
  ].join('\r\n');
  return [
    'POST /api/v1/upload HTTP/1.1',
    'Host: localhost',
    `${credentials(tenant)}Content-Type: multipart/form-data; boundary=${boundary}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    '',
    body,
  ].join('\r\n');
}

function reads({ tenants, tasks }: Filled): string[] {
  const each = TASKS_READ / TENANTS;
  const requests: string[] = [];
  for (let i = 0; i < each; i++) {
    tenants.forEach((tenant, place) => {
      const own = tasks[place] ?? [];
      const id = own[Math.floor((i * own.length) / each)];
      if (id !== undefined) requests.push(readTask(tenant, id));
    });
  }
  return requests;
}

interface Measured extends LoadResult {
  /** Processor time of the server, in microseconds a request. */
  own: number;
  /** The same with the server's sessions in the database, where that runs on this machine. */
  whole: number;
}

interface Side {
  server: { pid: number; port: number };
  database: TestDatabase;
  requests: string[];
  status: number;
}

/** Processor time of each of the database's sessions so far, by process; none where they run elsewhere. */
async function sessionTimes({ adminUrl }: TestDatabase): Promise<Map<number, number>> {
  const sql = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  try {
    const sessions = await sql<{ pid: number }[]>`
      select pid from pg_stat_activity where datname = current_database() and application_name = 'dreamhub'`;
    const times = new Map<number, number>();
    for (const { pid } of sessions) {
      if ((await programOf(pid)).startsWith('postgres')) times.set(pid, await threadTimeOf(pid));
    }
    return times;
  } finally {
    await sql.end();
  }
}

function sideOf(generator: LoadGenerator, { server, database, requests, status }: Side) {
  return async (): Promise<Measured> => {
    const sessions = await sessionTimes(database);
    const before = await processorTimeOf(server.pid);
    const order: LoadOrder = { port: server.port, requests, status, connections: CONNECTIONS, ms: TURN_MS };
    const result = await generator.run(order);
    const own = (await processorTimeOf(server.pid)) - before;
    let whole = own;
    for (const [pid, time] of await sessionTimes(database)) whole += time - (sessions.get(pid) ?? 0);
    return { ...result, own: own / result.requests, whole: whole / result.requests };
  };
}

/** Runs each side until it has answered enough to be compiled, and for no longer than `WARM_UP_MS`. */
async function warmUp(sides: Readonly<Record<string, () => Promise<Measured>>>): Promise<void> {
  for (const side of Object.values(sides)) {
    const started = performance.now();
    for (let answered = 0; answered < WARM_UP_REQUESTS && performance.now() - started < WARM_UP_MS; ) {
      answered += (await side()).requests;
    }
  }
}

/** Where the machine has nothing else to do, rates come down to this; where others work, it wavers less. */
const costs = (measured: readonly Measured[]) => measured.map(({ whole }) => whole);
const rates = (measured: readonly Measured[]) => measured.map(({ requestsPerSecond }) => requestsPerSecond);

function rowsOf(label: string, measured: readonly Measured[]): Row[] {
  return [
    { label, unit: 'requests/s', values: rates(measured) },
    { label: `${label}: latency p50`, unit: 'ms', values: measured.map(({ p50 }) => p50) },
    { label: `${label}: latency p99`, unit: 'ms', values: measured.map(({ p99 }) => p99) },
    { label: `${label}: processor time a request, server`, unit: 'µs', values: measured.map(({ own }) => own) },
    { label: `${label}: the same with its database sessions`, unit: 'µs', values: costs(measured) },
  ];
}

export const benchmark: Benchmark = {
  name: 'http',
  about: `accepting a small upload and reading a task, ${CONNECTIONS} connections, beside a bare Bun.serve doing the same database work`,

  async run({ rounds, progress }) {
    progress(`filling a database with ${QUEUED} queued tasks of ${TENANTS} tenants, and one with none`);
    await using loaded = await fill(true);
    await using empty = await fill(false);
    await using bare = await startBareServer(loaded.services);
    await using generator = await startLoadGenerator();

    const [dreamhub, none] = [loaded.installation, empty.installation];
    const { database } = loaded.services;
    const reading = { requests: reads(loaded), status: 200, database };
    const getting = {
      dreamhub: sideOf(generator, { ...reading, server: dreamhub }),
      bare: sideOf(generator, { ...reading, server: bare }),
      empty: sideOf(generator, { ...reading, server: none, requests: reads(empty), database: empty.services.database }),
    };
    progress('reading tasks');
    await warmUp(getting);
    const get = await interleave(rounds * TURNS_A_ROUND, getting);

    const accepting = { requests: loaded.tenants.map(upload), status: 202, database };
    const posting = {
      dreamhub: sideOf(generator, { ...accepting, server: dreamhub }),
      bare: sideOf(generator, { ...accepting, server: bare }),
    };
    progress('uploading');
    await warmUp(posting);
    const post = await interleave(rounds * TURNS_A_ROUND, posting);

    return [
      ...rowsOf('POST /upload, DreamHub', post.dreamhub),
      ...rowsOf('POST /upload, bare', post.bare),
      {
        label: 'POST /upload: rate of DreamHub to bare',
        unit: 'ratio',
        values: ratios(rates(post.dreamhub), rates(post.bare)),
        target: PEER_TARGET,
      },
      {
        label: 'POST /upload: processor time of bare to DreamHub',
        unit: 'ratio',
        values: ratios(costs(post.bare), costs(post.dreamhub)),
      },
      ...rowsOf(`GET /tasks/{id}, DreamHub, ${QUEUED} queued`, get.dreamhub),
      ...rowsOf(`GET /tasks/{id}, bare, ${QUEUED} queued`, get.bare),
      ...rowsOf('GET /tasks/{id}, DreamHub, none queued', get.empty),
      {
        label: 'GET /tasks/{id}: rate of DreamHub to bare',
        unit: 'ratio',
        values: ratios(rates(get.dreamhub), rates(get.bare)),
        target: PEER_TARGET,
      },
      {
        label: 'GET /tasks/{id}: processor time of bare to DreamHub',
        unit: 'ratio',
        values: ratios(costs(get.bare), costs(get.dreamhub)),
      },
      {
        // At a fixed number of connections the time of a request is the inverse of the rate.
        label: `GET /tasks/{id}: time with ${QUEUED} queued to time with none`,
        unit: 'ratio',
        values: ratios(rates(get.empty), rates(get.dreamhub)),
        target: BACKLOG_TARGET,
      },
    ];
  },
};
