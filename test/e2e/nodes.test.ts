/** Two server nodes and a worker: an answer survives its socket, its node and its worker. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { createClient } from '../../src/client/client.ts';
import { applyTurnEvent, applyTurnReset, isTurnOver, newTurn, type TurnView } from '../../src/client/turn.ts';
import { type Cluster, startCluster } from '../support/cluster.ts';
import type { DreamhubProcess } from '../support/dreamhub.ts';
import { eventsOf, type Frame, openSocket, type Person, register, type Socket } from '../support/person.ts';

const VISIBILITY_MS = 2_000;
const WORDS = 40;
/** Neither ASCII alone nor one UTF-16 unit a character. */
const REPLY = Array.from({ length: WORDS }, (_, i) => `wörd-${i}-🎈`).join(' ');

let cluster: Cluster;
let worker: DreamhubProcess;
let person: Person;
beforeAll(async () => {
  cluster = await startCluster({ reply: () => REPLY, env: { CHAT_VISIBILITY_TIMEOUT_MS: String(VISIBILITY_MS) } });
  worker = await cluster.startWorker();
  person = await register(cluster.nodes[0].url);
}, 120_000);
afterAll(() => cluster.stop(), 120_000);
// What one test let the provider say is not said for the next.
beforeEach(() => cluster.provider.reset());

const isDelta = ({ type }: Frame) => type === 'turn.delta';
const textOf = (events: readonly Frame[]) =>
  events
    .slice(events.findLastIndex(({ type }) => type === 'turn.started'))
    .filter(isDelta)
    .map(({ data }) => data?.['text'])
    .join('');
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

interface Asked {
  turn_id: string;
  conversation_id: string;
  topic: string;
}

/** Asks on the socket, with the provider held at its first token. */
async function ask(socket: Socket, more: Record<string, unknown> = {}): Promise<Asked> {
  const id = crypto.randomUUID();
  cluster.provider.next('chat', { type: 'stepwise' });
  socket.send({ type: 'chat.send', id, content: 'Tell me?', client_message_id: id, ...more });
  const { turn_id, conversation_id } = (await socket.until((frame) => frame.id === id)) as unknown as Asked;
  return { turn_id, conversation_id, topic: `turn:${turn_id}` };
}

/** Lets the provider say more, and waits until the socket has so many characters more. */
async function hear(socket: Socket, topic: string, tokens: number): Promise<void> {
  const before = eventsOf(socket, topic).filter(isDelta).length;
  for (let i = 0; i < tokens; i++) cluster.provider.step();
  await socket.until(() => eventsOf(socket, topic).filter(isDelta).length > before);
}

function lastRequest() {
  const request = cluster.provider.requests.findLast(({ route }) => route === 'chat');
  if (!request) throw new Error('the provider was not asked');
  return request;
}

async function storedAnswer({ conversation_id, turn_id }: Asked): Promise<unknown> {
  const { body } = await person.call<{ items: { role: string; content: string; turn_id: string }[] }>(
    'GET',
    `/conversations/${conversation_id}/messages`,
  );
  return body.items.find((message) => message.role === 'assistant' && message.turn_id === turn_id)?.content;
}

const on = (node: 0 | 1, token = person.token) => openSocket(cluster.nodes[node].url, { token });

describe('an answer', () => {
  test('goes on without gap or repeat on another node', async () => {
    const first = await on(0);
    const asked = await ask(first);
    await hear(first, asked.topic, 5);
    first.close();
    await first.closed;
    for (let i = 0; i < 10; i++) cluster.provider.step();

    const seen = eventsOf(first, asked.topic);
    const last = seen.at(-1);
    const second = await on(1);
    second.send({ type: 'subscribe', topic: asked.topic, after: last?.seq, epoch: last?.epoch });
    await hear(second, asked.topic, WORDS * 2);
    await second.until(({ type }) => type === 'turn.completed');
    const all = [...seen, ...eventsOf(second, asked.topic)];
    expect(all.map(({ seq }) => seq)).toEqual(numbers(all.length));
    expect(second.frames.filter(({ type }) => type === 'reset')).toEqual([]);
    expect(textOf(all)).toBe(REPLY);
    expect(await storedAnswer(asked)).toBe(REPLY);
    second.close();
  }, 60_000);

  test('that is stopped costs no token more, and one that is interrupted makes room for the next', async () => {
    const socket = await on(0);
    const asked = await ask(socket);
    await hear(socket, asked.topic, 3);
    const request = lastRequest();
    // The order comes by way of the other node.
    const other = await on(1);
    other.send({ type: 'chat.cancel', id: 'stop', turn_id: asked.turn_id });
    const end = await socket.until(({ type, topic }) => type === 'turn.cancelled' && topic === asked.topic);
    await cluster.provider.waitFor((one) => one === request && one.state === 'aborted');
    const sent = request.tokensSent;
    expect(end.data?.['text']).toBe(textOf(eventsOf(socket, asked.topic)));

    const { conversation_id } = asked;
    const running = await ask(socket, { conversation_id });
    await hear(socket, running.topic, 1);
    const interrupted = lastRequest();
    socket.send({
      type: 'chat.send',
      id: 'no',
      content: 'x',
      client_message_id: 'no',
      conversation_id,
      if_busy: 'reject',
    });
    expect(await socket.until(({ id }) => id === 'no')).toMatchObject({ type: 'error', code: 'conflict' });
    const next = await ask(other, { conversation_id, if_busy: 'interrupt' });
    await socket.until(({ type, topic }) => type === 'turn.cancelled' && topic === running.topic);
    await cluster.provider.waitFor((one) => one === interrupted && one.state === 'aborted');
    const sentThen = interrupted.tokensSent;
    await hear(other, next.topic, WORDS * 2);
    await other.until(({ type, topic }) => type === 'turn.completed' && topic === next.topic);
    expect(await storedAnswer(next)).toBe(REPLY);
    expect([request.tokensSent, interrupted.tokensSent]).toEqual([sent, sentThen]);
    expect(Math.max(sent, sentThen)).toBeLessThan(WORDS);
    socket.close();
    other.close();
  }, 60_000);

  test('whose worker is killed is begun anew by another one within the visibility timeout and 3 s', async () => {
    const socket = await on(0);
    const asked = await ask(socket);
    await hear(socket, asked.topic, 4);
    const heir = await cluster.startWorker();
    cluster.provider.next('chat', { type: 'stepwise' });
    const killedAt = performance.now();
    worker.signal('SIGKILL');
    await worker.exited;
    worker = heir;
    const restarted = await socket.until(
      ({ type, topic, data }) => type === 'turn.started' && topic === asked.topic && data?.['attempt'] === 2,
    );
    expect(performance.now() - killedAt).toBeLessThan(VISIBILITY_MS + 3_000);
    await hear(socket, asked.topic, WORDS * 2);
    await socket.until(({ type, topic }) => type === 'turn.completed' && topic === asked.topic);
    const all = eventsOf(socket, asked.topic);
    expect(all.map(({ seq }) => seq)).toEqual(numbers(all.length));
    expect(restarted.seq).toBeGreaterThan(4);
    expect(textOf(all)).toBe(REPLY);
    expect(await storedAnswer(asked)).toBe(REPLY);
    socket.close();
  }, 60_000);

  test('survives a rolling restart: 1001 and a hint for each socket, and clients that come back by themselves', async () => {
    const clients = await Promise.all(
      cluster.nodes.map(async ({ url }) => {
        const client = createClient({ baseUrl: url, random: () => 0.1 });
        await client.auth.login({ email: person.email, password: person.password });
        return client.connect();
      }),
    );
    const bystander = await on(1);
    const asked = await ask(bystander);
    const views = clients.map((realtime) => {
      let view: TurnView = newTurn;
      const over = Promise.withResolvers<TurnView>();
      const see = (next: TurnView) => {
        view = next;
        if (isTurnOver(view)) over.resolve(view);
      };
      const subscription = realtime.subscribe(`turn:${asked.turn_id}`, {
        event: (event) => see(applyTurnEvent(view, event)),
        reset: (frame) => see(applyTurnReset(view, frame)),
      });
      return { over: over.promise, position: subscription.position };
    });
    await hear(bystander, asked.topic, 5);
    for (const [index, node] of cluster.nodes.entries()) {
      expect(await node.stop()).toBe(0);
      if (index === 1) {
        const { code, reason } = await bystander.closed;
        expect([code, reason]).toEqual([1001, expect.stringMatching(/^reconnect_after_ms=\d+$/)]);
      }
      await node.start();
      for (let i = 0; i < 5; i++) cluster.provider.step();
    }
    for (let i = 0; i < WORDS * 2; i++) cluster.provider.step();
    for (const view of await Promise.all(views.map(({ over }) => over))) {
      expect(view).toMatchObject({ status: 'completed', attempt: 1, text: REPLY });
    }
    expect(await storedAnswer(asked)).toBe(REPLY);
    for (const realtime of clients) realtime.close();
  }, 60_000);

  test('is resumed by hundreds at once while PostgreSQL is away: the way back asks it nothing', async () => {
    // 100 sockets of one user are the most that a node takes.
    const people = [person, await register(cluster.nodes[0].url), await register(cluster.nodes[0].url)];
    const rooms = await Promise.all(
      people.map(async ({ token }) => {
        const asking = await on(0, token);
        const asked = await ask(asking);
        await hear(asking, asked.topic, 3);
        const [last] = eventsOf(asking, asked.topic).slice(-1);
        const readers = await Promise.all(numbers(90).map(() => on(0, token)));
        for (const reader of readers) reader.send({ type: 'subscribe', topic: asked.topic });
        await Promise.all(readers.map((reader) => reader.until(({ seq }) => seq === last?.seq)));
        return { token, asked, readers };
      }),
    );
    await cluster.postgres.set({ type: 'half-open' });
    cluster.nodes[0].proxy.cut();
    const resumed = await Promise.all(
      rooms.flatMap(({ token, asked, readers }) =>
        readers.map(async (reader) => {
          await reader.closed;
          const seen = eventsOf(reader, asked.topic);
          const last = seen.at(-1);
          const socket = await on(1, token);
          socket.send({ type: 'subscribe', topic: asked.topic, after: last?.seq, epoch: last?.epoch });
          return { socket, seen, asked };
        }),
      ),
    );
    expect(resumed).toHaveLength(270);
    for (let i = 0; i < WORDS * 2; i++) cluster.provider.step();
    for (const { socket, seen, asked } of resumed) {
      await socket.until(({ type }) => type === 'turn.completed');
      const all = [...seen, ...eventsOf(socket, asked.topic)];
      expect(all.map(({ seq }) => seq)).toEqual(numbers(all.length));
      expect(textOf(all)).toBe(REPLY);
      socket.close();
    }
    await cluster.postgres.set({ type: 'pass' });
    cluster.postgres.cut();
  }, 120_000);
});

/** What is read of a turn's event stream until it ends. */
async function readEvents(node: 0 | 1, turnId: string, token: string) {
  const response = await fetch(`${cluster.nodes[node].url}/api/v1/turns/${turnId}/events`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const decoder = new TextDecoder();
  const begun = Promise.withResolvers<void>();
  let text = '';
  const read = async () => {
    for await (const bytes of response.body ?? []) {
      text += decoder.decode(bytes, { stream: true });
      if (text.includes('event: turn.delta')) begun.resolve();
    }
    return text;
  };
  const ended = read();
  await begun.promise;
  return { ended };
}

describe('a session', () => {
  test('that is left closes its sockets on every node within 5 s, and opens no other on any', async () => {
    const leaver = await register(cluster.nodes[0].url);
    const sockets = [await on(0, leaver.token), await on(1, leaver.token)];
    const stays = await on(1);
    const leftAt = performance.now();
    expect((await leaver.call('POST', '/auth/logout')).status).toBe(204);
    for (const socket of sockets) expect(await socket.closed).toMatchObject({ code: 4401 });
    expect(performance.now() - leftAt).toBeLessThan(5_000);
    for (const { url } of cluster.nodes) {
      const refused = await fetch(`${url}/ws`, { headers: { authorization: `Bearer ${leaver.token}` } });
      expect(refused.status).toBe(401);
    }
    stays.send({ type: 'ping', id: 'still here' });
    expect(await stays.until(({ id }) => id === 'still here')).toMatchObject({ type: 'pong' });
    stays.close();
  }, 60_000);

  test('whose refresh token comes twice ends its sockets and event streams on every node, and no other of the user', async () => {
    const { url } = cluster.nodes[0];
    const robbed = await register(url);
    const post = (path: string, body: unknown) =>
      fetch(`${url}/api/v1/auth/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    const { email, password, tenant } = robbed;
    const elsewhere = (await (await post('login', { email, password, tenant })).json()) as { access_token: string };
    const sockets = [await on(0, robbed.token), await on(1, robbed.token)];
    const stays = await on(1, elsewhere.access_token);
    const { turn_id, topic } = await ask(sockets[0] as Socket);
    cluster.provider.step();
    const streams = [await readEvents(0, turn_id, robbed.token), await readEvents(1, turn_id, robbed.token)];
    const continues = await readEvents(1, turn_id, elsewhere.access_token);
    stays.send({ type: 'subscribe', topic });

    const used = { refresh_token: robbed.session.refresh_token };
    expect((await post('refresh', used)).status).toBe(200);
    const reusedAt = performance.now();
    expect((await post('refresh', used)).status).toBe(401);
    for (const socket of sockets) expect(await socket.closed).toMatchObject({ code: 4401 });
    for (const { ended } of streams) expect(await ended).not.toContain('turn.completed');
    expect(performance.now() - reusedAt).toBeLessThan(5_000);

    for (let i = 0; i < WORDS * 2; i++) cluster.provider.step();
    await stays.until((frame) => frame.topic === topic && frame.type === 'turn.completed');
    expect(await continues.ended).toContain('event: turn.completed');
    stays.close();
  }, 60_000);
});
