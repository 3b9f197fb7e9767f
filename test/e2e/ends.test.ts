/**
 * A worker that is killed between its commits and its last events, while Redis forgets what it was at: nobody is left who
 * would tell the ends, and whoever listens hears them all the same, on every node, without asking anew.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import Redis from 'ioredis';
import postgres, { type Sql } from 'postgres';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { eventsOf, type Frame, openSocket, type Person, register, type Socket } from '../support/person.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const REPLY = Array.from({ length: 12 }, (_, i) => `word-${i}`).join(' ');

interface Job {
  table: 'turns' | 'tasks';
  id: string;
  topic: string;
  /** What its last transaction has to lock. */
  row: { table: 'conversations' | 'tenant_load'; column: 'id' | 'tenant_id'; value: string };
}

let cluster: Cluster;
let sql: Sql;
let redis: Redis;
let person: Person;
/** One on each node. */
let sockets: Socket[] = [];
let turn: Job;
let forgottenTurn: Job;
let forgottenTask: Job;

const open = () => Promise.all(cluster.nodes.map(({ url }) => openSocket(url, { token: person.token })));
const follow = (topic: string) => {
  for (const socket of sockets) socket.send({ type: 'subscribe', topic });
};
const heardByAll = (test: (frame: Frame) => boolean) => Promise.all(sockets.map((socket) => socket.until(test)));
const resets = ({ frames }: Socket, topic: string) =>
  frames.filter((frame) => frame.type === 'reset' && frame.topic === topic);

/** A turn of which every reader has heard the first words; the provider waits. */
async function ask(): Promise<Job> {
  cluster.provider.next('chat', { type: 'stepwise' });
  const { status, body } = await person.call<{ id: string }>('POST', '/conversations', {});
  expect(status).toBe(201);
  const asked = await person.call<{ turn_id: string }>('POST', `/conversations/${body.id}/messages`, {
    content: 'Tell me?',
  });
  const id = asked.body.turn_id;
  const topic = `turn:${id}`;
  follow(topic);
  cluster.provider.step();
  await heardByAll((frame) => frame.topic === topic && frame.type === 'turn.delta');
  return { table: 'turns', id, topic, row: { table: 'conversations', column: 'id', value: body.id } };
}

/** A task that waits for its vectors. */
async function upload(): Promise<Job> {
  cluster.provider.next('embeddings', { type: 'hang' });
  const { status, body } = await person.upload(`A text of ${crypto.randomUUID()}.`, 'notes.txt');
  expect(status).toBe(202);
  const topic = `task:${body.task_id}`;
  follow(topic);
  await heardByAll((frame) => frame.topic === topic && frame.data?.['stage'] === 'embedding');
  await cluster.provider.waitFor(({ route, fault }) => route === 'embeddings' && fault === 'hang');
  const row = { table: 'tenant_load', column: 'tenant_id', value: person.session.tenant.id } as const;
  return { table: 'tasks', id: body.task_id, topic, row };
}

/** Keeps the job's last transaction waiting until it is let go. */
async function holdBack({ row: { table, column, value } }: Job) {
  const pid = Promise.withResolvers<number>();
  const go = Promise.withResolvers<void>();
  const held = sql.begin(async (own) => {
    const [row] = await own<{ pid: number }[]>`
      select pg_backend_pid() as pid from ${own(table)} where ${own(column)} = ${value} for no key update`;
    pid.resolve(row?.pid ?? 0);
    await go.promise;
  });
  const holder = await pid.promise;
  return {
    async waits() {
      const [row] = await sql<{ waits: boolean }[]>`
        select exists (select from pg_stat_activity where ${holder} = any(pg_blocking_pids(pid))) as waits`;
      return row?.waits === true;
    },
    letGo() {
      go.resolve();
      return held;
    },
  };
}

async function isCommitted({ table, id }: Job): Promise<boolean> {
  const [row] = await sql<{ status: string }[]>`select status from ${sql(table)} where id = ${id}`;
  return row?.status === 'completed' || row?.status === 'succeeded';
}

/** Redis loses what this matches; at least one key was there. */
async function lose(pattern: string): Promise<void> {
  const keys = await redis.keys(pattern);
  expect(keys.length, pattern).toBeGreaterThan(0);
  await redis.del(...keys);
}

beforeAll(async () => {
  cluster = await startCluster({ reply: () => REPLY });
  sql = postgres(cluster.adminUrl, { max: 5, onnotice: () => undefined });
  redis = new Redis({ path: cluster.redisSocket });
  const way = await startTcpProxy({ path: cluster.redisSocket });
  const worker = await cluster.startWorker(way);
  person = await register(cluster.nodes[0].url);
  sockets = await open();

  turn = await ask();
  forgottenTurn = await ask();
  forgottenTask = await upload();
  const jobs = [turn, forgottenTurn, forgottenTask];
  const held = await Promise.all(jobs.map(holdBack));
  for (let i = 0; i < 100; i++) cluster.provider.step();
  cluster.provider.release();
  for (const one of held) await eventually('a job waits at its end', one.waits);
  // They are committed, and no event of them leaves the worker.
  await way.set({ type: 'half-open' });
  await Promise.all(held.map((one) => one.letGo()));
  for (const job of jobs) await eventually('an end is committed', () => isCommitted(job));
  worker.signal('SIGKILL');
  await worker.exited;
  await way.stop();

  await lose('dh:*:q:*');
  for (const { topic } of [forgottenTurn, forgottenTask]) {
    await lose(`dh:*:log:*:${topic}`);
    await lose(`dh:*:meta:*:${topic}`);
  }
}, 120_000);
afterAll(async () => {
  for (const socket of sockets) socket.close();
  redis?.disconnect();
  await sql?.end();
  await cluster?.stop();
}, 120_000);

test('a turn whose entry is lost is ended for those who follow it, with the next number', async () => {
  const { topic } = turn;
  for (const socket of sockets) {
    const end = await socket.until((frame) => frame.topic === topic && frame.type === 'turn.completed');
    expect(end.data).toMatchObject({ text: REPLY });
    const events = eventsOf(socket, topic).filter(({ type }) => type !== 'reset');
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
    const deltas = events.filter(({ type }) => type === 'turn.delta');
    expect(deltas.map(({ data }) => data?.['text']).join('')).toBe(REPLY);
    expect(resets(socket, topic)).toEqual([]);
  }
}, 60_000);

test('one whose log is lost as well is told whole, and then ended', async () => {
  const { topic } = forgottenTurn;
  for (const socket of sockets) {
    const end = await socket.until((frame) => frame.topic === topic && frame.type === 'turn.completed');
    expect(end.data).toMatchObject({ text: REPLY });
    expect(resets(socket, topic)).toMatchObject([{ snapshot: { attempt: 1, text: REPLY } }]);
  }
  // Who comes later finds a log like any other.
  const [late] = await open();
  late?.send({ type: 'subscribe', topic });
  await late?.until((frame) => frame.topic === topic && frame.type === 'turn.completed');
  const events = late ? eventsOf(late, topic) : [];
  expect(events.map(({ type }) => type)).toEqual(['turn.started', 'turn.delta', 'turn.completed']);
  expect(events[1]?.data?.['text']).toBe(REPLY);
  late?.close();
}, 60_000);

test('a task whose entry and log are lost is ended for those who follow it', async () => {
  const { topic, id } = forgottenTask;
  for (const socket of sockets) {
    const end = await socket.until((frame) => frame.topic === topic && frame.type === 'task.succeeded');
    expect(end.data).toMatchObject({ task_id: id, status: 'succeeded', progress: 1 });
  }
}, 60_000);
