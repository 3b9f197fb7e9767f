/**
 * Whatever happens to connections (cut at any byte), to nodes (killed) and to readers (slow, moving between nodes) while an
 * answer is streamed: each reader's numbers are contiguous, and what it shows in the end is the stored message, byte for
 * byte. `RUNS=n` runs so many seeds, `SOAK=1` 500, `SEED=n` begins with that one.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Client, createClient } from '../../src/client/client.ts';
import type { TopicEvent } from '../../src/client/topics.ts';
import { applyTurnEvent, applyTurnReset, isTurnOver, newTurn, type TurnView } from '../../src/client/turn.ts';
import type { ResetFrame } from '../../src/contracts/index.ts';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { type Person, register } from '../support/person.ts';
import { openRawSocket } from '../support/sockets.ts';

const RUNS = Number(Bun.env['RUNS'] ?? (Bun.env['SOAK'] ? 500 : 25));
const FIRST_SEED = Number(Bun.env['SEED'] ?? 1);
const SECONDS_A_RUN = 20;

type Random = () => number;

/** Mulberry32: small, and the same on every machine. */
function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const between = (random: Random, least: number, most: number) => least + Math.floor(random() * (most - least + 1));

/** Every length of UTF-8, quotes and line ends, and words that no tokenizer likes. */
const PIECES = ['tide', 'Straße', '潮位', '🎈', '👩‍🚀', '"quoted"', '\\', '\n\n', '\t', 'é', 'ﷺ', '{"type":"x"}', '𝒳'];

function textOf(seed: number): string {
  const random = randomOf(seed);
  const count = between(random, 40, 160);
  return Array.from({ length: count }, () => PIECES[between(random, 0, PIECES.length - 1)])
    .join(' ')
    .trim();
}

let cluster: Cluster;
let person: Person;
let clients: readonly Client[];
beforeAll(async () => {
  cluster = await startCluster({
    reply: (body) => textOf(Number(/seed (\d+)/.exec(JSON.stringify(body['messages']))?.[1])),
  });
  await cluster.startWorker();
  person = await register(cluster.nodes[0].direct);
  clients = await Promise.all(
    cluster.nodes.map(async ({ url }) => {
      // Waits of next to nothing: what is tested is not patience.
      const client = createClient({ baseUrl: url, random: () => 0.01 });
      await client.auth.login({ email: person.email, password: person.password });
      return client;
    }),
  );
}, 120_000);
afterAll(() => cluster.stop(), 120_000);

/** What a reader was told of the turn, in order. */
interface Log {
  view: TurnView;
  told: { epoch: string; seq: number; reset: boolean }[];
}

function assertContiguous({ told }: Log): void {
  let last: Log['told'][number] | undefined;
  for (const one of told) {
    if (!one.reset) {
      expect(one.seq).toBe((last?.seq ?? 0) + 1);
      if (last) expect(one.epoch).toBe(last.epoch);
    }
    last = one;
  }
}

interface Reading {
  log: Promise<Log>;
  stop(): void;
}

/** The client package, which comes back by itself. */
function clientReader(client: Client, turnId: string): Reading {
  const realtime = client.connect();
  const log: Log = { view: newTurn, told: [] };
  const over = Promise.withResolvers<Log>();
  const see = (view: TurnView, epoch: string, seq: number, reset: boolean) => {
    log.view = view;
    log.told.push({ epoch, seq, reset });
    if (isTurnOver(view)) over.resolve(log);
  };
  realtime.subscribe(`turn:${turnId}`, {
    event: (event) => see(applyTurnEvent(log.view, event), event.epoch, event.seq, false),
    reset: (frame) => see(applyTurnReset(log.view, frame), frame.epoch, frame.seq, true),
    failed: (error) => over.reject(error),
  });
  return { log: over.promise, stop: () => realtime.close() };
}

/** A socket that stops reading now and then, and comes back on either node. */
function slowReader(random: Random, turnId: string): Reading {
  const log: Log = { view: newTurn, told: [] };
  const topic = `turn:${turnId}`;
  let stopped = false;
  async function live(): Promise<void> {
    const node = cluster.nodes[random() < 0.5 ? 0 : 1];
    const socket = await openRawSocket(`${node.url}/ws`, { authorization: `Bearer ${person.token}` });
    const last = log.told.at(-1);
    let taken = 0;
    const take = () => {
      for (const frame of socket.frames.slice(taken)) {
        taken += 1;
        if (!('topic' in frame) || frame.topic !== topic) continue;
        const told = frame as ResetFrame | TopicEvent<`turn:${string}`>;
        log.view = told.type === 'reset' ? applyTurnReset(log.view, told) : applyTurnEvent(log.view, told);
        log.told.push({ epoch: told.epoch, seq: told.seq, reset: told.type === 'reset' });
      }
      return isTurnOver(log.view);
    };
    socket.send({ type: 'subscribe', topic, ...(last && { after: last.seq, epoch: last.epoch }) });
    let pauses = between(random, 0, 4);
    try {
      while (!stopped && !take()) {
        const seen = socket.frames.length;
        await socket.until(() => socket.frames.length > seen);
        if (pauses-- <= 0) continue;
        socket.pause();
        await Bun.sleep(between(random, 1, 60));
        socket.resume();
      }
    } finally {
      take();
      socket.end();
    }
  }
  async function run(): Promise<Log> {
    await untilItWorks(async () => {
      await live();
      if (!stopped && !isTurnOver(log.view)) throw new Error('not over');
    });
    return log;
  }
  return {
    log: run(),
    stop: () => {
      stopped = true;
    },
  };
}

async function untilItWorks<T>(attempt: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + SECONDS_A_RUN * 1_000; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await Bun.sleep(5);
    }
  }
}

/** Cuts every connection to a node after a few bytes or many, again and again, and may kill the node. */
async function harm(random: Random, isOver: () => boolean): Promise<void> {
  const victim = random() < 0.2 ? cluster.nodes[random() < 0.5 ? 0 : 1] : undefined;
  for (const { proxy } of cluster.nodes) {
    await proxy.set({ type: 'cut-replies-after', bytes: () => between(random, 1, 6_000) });
  }
  await Bun.sleep(between(random, 20, 200));
  if (victim) {
    await victim.kill();
    await victim.start();
  }
  while (!isOver()) {
    await Bun.sleep(between(random, 5, 80));
    if (random() < 0.3) for (const { proxy } of cluster.nodes) proxy.cut();
  }
}

async function runSeed(seed: number): Promise<void> {
  const random = randomOf(seed);
  cluster.provider.always('chat', { type: 'slow', tokenMs: between(random, 0, 8) });
  const chat = await person.call<{ id: string }>('POST', '/conversations', {});
  const receipt = await person.call<{ turn_id: string }>('POST', `/conversations/${chat.body.id}/messages`, {
    content: `seed ${seed}`,
  });
  const { turn_id: turnId } = receipt.body;
  let over = false;
  const harming = harm(random, () => over);
  const readings = [
    ...clients.map((client) => clientReader(client, turnId)),
    slowReader(randomOf(seed + 1_000_000), turnId),
  ];
  try {
    const logs = await Promise.all(readings.map(({ log }) => log));
    over = true;
    await harming;
    for (const { proxy } of cluster.nodes) await proxy.set({ type: 'pass' });
    const { body } = await person.call<{ items: { role: string; content: string }[] }>(
      'GET',
      `/conversations/${chat.body.id}/messages`,
    );
    const stored = body.items.find(({ role }) => role === 'assistant')?.content;
    // What the model said comes first; DreamHub may say something of its own after it.
    expect(stored).toStartWith(textOf(seed));
    for (const log of logs) {
      assertContiguous(log);
      expect(log.view).toMatchObject({ status: 'completed', text: stored });
    }
  } finally {
    over = true;
    for (const reading of readings) reading.stop();
    await harming;
    for (const { proxy } of cluster.nodes) await proxy.set({ type: 'pass' });
  }
}

test.each(Array.from({ length: RUNS }, (_, i) => FIRST_SEED + i))(
  'seed %i: every reader shows the stored message, over cuts, kills and pauses',
  runSeed,
  SECONDS_A_RUN * 2_000,
);
