import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { TurnReceipt } from '../../src/contracts/index.ts';
import { runAs, scopeIfAny } from '../../src/kernel/context.ts';
import { append, completed, delta, started, turnTopic, uuid } from '../support/realtime.ts';
import { startRedis, type TestRedis } from '../support/services.ts';
import { dial, openSocket, principalOf, type SocketNode, startSocketNode } from '../support/sockets.ts';

let redis: TestRedis;
let node: SocketNode;
let other: SocketNode;
/** Answered turns, in the order they were asked. */
const asked: { scope: unknown; request: unknown }[] = [];

beforeAll(async () => {
  redis = await startRedis();
  const chat = {
    async send(request: { content: string }) {
      asked.push({ scope: scopeIfAny(), request });
      const receipt = { turn_id: uuid(), message_id: uuid(), conversation_id: uuid() };
      const topic = `turn:${receipt.turn_id}` as const;
      await node.publisher.append([
        { topic, attempt: 1, event: started(topic, 1) },
        { topic, attempt: 1, event: delta(request.content) },
        { topic, attempt: 1, event: completed(request.content) },
      ]);
      return receipt;
    },
  };
  // There is nothing in the database: what can be read is in a log.
  const source = { snapshot: async () => null };
  node = await startSocketNode({ url: redis.url, chat, source });
  other = await startSocketNode({ url: redis.url, source });
});
afterAll(async () => {
  await node.stop();
  await other.stop();
  await redis.stop();
});

const scopeOf = ({ tenantId, userId }: { tenantId: string; userId: string }) => ({ tenantId, userId, traceId: uuid() });

/** What an upgrade that is refused answers. */
async function refusal(url: string, headers: Record<string, string>) {
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  };
  const response = await fetch(url, { headers: { ...upgrade, ...headers } });
  return { status: response.status, ...((await response.json()) as { code: string }) };
}

describe('opening', () => {
  test('says hello in either subprotocol, JSON by default', async () => {
    const principal = principalOf();
    for (const protocol of [undefined, 'dreamhub.v1.json', 'dreamhub.v1.msgpack'] as const) {
      const socket = await node.connect(principal, protocol && { protocol });
      expect(socket.socket.protocol).toBe(protocol ?? '');
      expect(socket.frames[0]).toMatchObject({
        type: 'hello',
        user_id: principal.userId,
        tenant_id: principal.tenantId,
        heartbeat_ms: 30_000,
        max_frame_bytes: 131_072,
      });
      await socket.close();
    }
  });

  test('is refused with 401 without valid credentials', async () => {
    const expired = node.tokenFor(principalOf({ expiresAt: Date.now() - 1 }));
    const ended = principalOf();
    node.revoked.add(ended.sessionId);
    const cases: [string, Record<string, string>][] = [
      ['', {}],
      ['', { authorization: 'Bearer nonsense' }],
      ['', { authorization: 'Basic abc' }],
      ['', { authorization: `Bearer ${expired}` }],
      ['', { authorization: `Bearer ${node.tokenFor(ended)}` }],
      ['?ticket=', {}],
      [`?ticket=${'a'.repeat(43)}`, {}],
    ];
    for (const [query, headers] of cases) {
      expect(await refusal(node.http + query, headers)).toMatchObject({ status: 401, code: 'unauthenticated' });
    }
  });

  test('takes a ticket once', async () => {
    const principal = principalOf();
    const { ticket, expires_in } = await node.tickets.issue(principal);
    expect(expires_in).toBe(30);
    const socket = await openSocket(`${other.base}?ticket=${ticket}`);
    expect(socket.frames[0]).toMatchObject({ type: 'hello', user_id: principal.userId });
    expect(await refusal(`${node.http}?ticket=${ticket}`, {})).toMatchObject({ status: 401 });
    await socket.close();
  });

  test('is refused with 403 for a foreign origin, without using the ticket up', async () => {
    const { ticket } = await node.tickets.issue(principalOf());
    const url = `${node.http}?ticket=${ticket}`;
    for (const origin of ['https://evil.example', 'null', 'https://console.example.evil.example']) {
      expect(await refusal(url, { origin })).toMatchObject({ status: 403, code: 'forbidden' });
    }
    const socket = await openSocket(`${node.base}?ticket=${ticket}`, {
      headers: { origin: 'https://console.example' },
    });
    await socket.close();
  });

  test('allows its own origin', async () => {
    const socket = await node.connect(principalOf(), { headers: { origin: new URL(node.http).origin } });
    await socket.close();
  });

  test('is refused with 400 where only unknown subprotocols are offered', async () => {
    const authorization = `Bearer ${node.tokenFor(principalOf())}`;
    expect(await refusal(node.http, { authorization, 'sec-websocket-protocol': 'graphql-ws' })).toMatchObject({
      status: 400,
    });
  });

  test('is closed with 4429 above the connections of a user', async () => {
    const few = await startSocketNode({ url: redis.url, config: { maxConnectionsPerUser: 2 } });
    const principal = principalOf();
    const [one, two] = [await few.connect(principal), await few.connect(principal)];
    const third = dial(few.base, { authorization: `Bearer ${few.tokenFor(principal)}` });
    expect(await new Promise((resolve) => third.addEventListener('close', ({ code }) => resolve(code)))).toBe(4429);
    await one.close();
    const fourth = await few.connect(principal);
    await Promise.all([two.close(), fourth.close()]);
    await few.stop();
  });
});

describe('requests', () => {
  test('are answered once each, in order', async () => {
    const socket = await node.connect(principalOf());
    for (let i = 1; i <= 50; i++) socket.send({ type: 'ping', id: i });
    await socket.find(({ id }) => id === 50);
    expect(socket.frames.slice(1).map(({ type, id }) => `${type}${id}`)).toEqual(
      Array.from({ length: 50 }, (_, i) => `pong${i + 1}`),
    );
    await socket.close();
  });

  for (const protocol of ['dreamhub.v1.json', 'dreamhub.v1.msgpack'] as const) {
    test(`chat.send acknowledges, then streams the turn (${protocol})`, async () => {
      const principal = principalOf();
      const socket = await node.connect(principal, { protocol });
      const content = 'Wie geht’s? 你好 👋';
      const ack = await socket.request({ type: 'chat.send', content, client_message_id: 'c1', unknown: true });
      const { turn_id, message_id, conversation_id } = ack as unknown as TurnReceipt;
      expect([ack.type, turn_id, message_id, conversation_id].map((value) => typeof value)).toEqual(
        Array(4).fill('string'),
      );
      const topic = `turn:${turn_id}`;
      await socket.find(({ type }) => type === 'turn.completed');
      expect(socket.frames.slice(1).map(({ type }) => type)).toEqual([
        'ack',
        'turn.started',
        'turn.delta',
        'turn.completed',
      ]);
      expect(socket.events(topic)).toMatchObject([
        { seq: 1 },
        { seq: 2, data: { text: content } },
        { seq: 3, data: { text: content } },
      ]);
      expect(asked.at(-1)).toMatchObject({
        scope: { tenantId: principal.tenantId, userId: principal.userId },
        request: { content, clientMessageId: 'c1' },
      });
      await socket.close();
    });
  }

  test('acknowledge a subscription before its first event', async () => {
    const principal = principalOf();
    const topic = turnTopic();
    await append(node.publisher, scopeOf(principal), topic, 1, started(topic, 1), delta('a'));
    const socket = await node.connect(principal);
    await socket.request({ type: 'subscribe', topic, after: 1 });
    await socket.find(({ type }) => type === 'turn.delta');
    expect(socket.frames.map(({ type }) => type)).toEqual(['hello', 'ack', 'turn.delta']);
    expect(await socket.request({ type: 'unsubscribe', topic })).toMatchObject({ type: 'ack' });
    await append(node.publisher, scopeOf(principal), topic, 1, delta('b'));
    await socket.request({ type: 'ping' });
    expect(socket.events(topic).length).toBe(1);
    await socket.close();
  });

  test('for another tenant’s topic are not found', async () => {
    const owner = principalOf();
    const topic = turnTopic();
    await append(node.publisher, scopeOf(owner), topic, 1, started(topic, 1), delta('canary'));
    for (const principal of [principalOf(), principalOf({ tenantId: owner.tenantId })]) {
      const socket = await node.connect(principal);
      expect(await socket.request({ type: 'subscribe', topic })).toMatchObject({ type: 'error', code: 'not_found' });
      await append(node.publisher, scopeOf(owner), topic, 1, delta('canary'));
      await socket.request({ type: 'ping' });
      expect(JSON.stringify(socket.frames)).not.toContain('canary');
      await socket.close();
    }
  });

  test('that fail say why and leave the socket open', async () => {
    const socket = await node.connect(principalOf());
    const error = (frame: Record<string, unknown>) => socket.request(frame).then(({ type, code }) => [type, code]);
    expect(await error({ type: 'subscribe', topic: 'tenant' })).toEqual(['error', 'forbidden']);
    expect(await error({ type: 'subscribe', topic: 'nonsense' })).toEqual(['error', 'not_found']);
    expect(await error({ type: 'auth.refresh', token: 'nonsense' })).toEqual(['error', 'unauthenticated']);
    expect(await error({ type: 'auth.refresh', token: node.tokenFor(principalOf()) })).toEqual(['error', 'forbidden']);
    expect(await error({ type: 'chat.send', client_message_id: 'x' })).toEqual(['error', 'invalid_request']);
    expect(await error({ type: 'ping' })).toEqual(['pong', undefined]);
    await socket.close();
  });

  test('are not coerced', async () => {
    const principal = principalOf();
    const topic = turnTopic();
    await append(node.publisher, scopeOf(principal), topic, 1, started(topic, 1));
    const socket = await node.connect(principal);
    for (const after of ['1', -1, 0.5, null, [1]]) {
      expect(await socket.request({ type: 'subscribe', topic, after })).toMatchObject({ code: 'invalid_request' });
      await socket.request({ type: 'ping' });
    }
    await socket.close();
  });
});

test('a thousand sockets that follow one topic all get all of it, in either subprotocol', async () => {
  const crowd = await startSocketNode({ url: redis.url, config: { maxConnectionsPerUser: 1_000 } });
  const principal = principalOf();
  const topic = turnTopic();
  await append(node.publisher, scopeOf(principal), topic, 1, started(topic, 1));
  const protocols = ['dreamhub.v1.json', 'dreamhub.v1.msgpack'] as const;
  const sockets = await Promise.all(
    Array.from({ length: 1_000 }, async (_, i) => {
      const socket = await crowd.connect(principal, { protocol: protocols[i % 2] ?? protocols[0] });
      await socket.request({ type: 'subscribe', topic });
      return socket;
    }),
  );
  for (let i = 1; i <= 20; i++) await append(node.publisher, scopeOf(principal), topic, 1, delta(`${i};`));
  await append(node.publisher, scopeOf(principal), topic, 1, completed('x'));
  const expected = Array.from({ length: 22 }, (_, i) => i + 1);
  for (const socket of sockets) {
    await socket.find(({ type }) => type === 'turn.completed');
    expect(socket.events(topic).map((frame) => frame['seq'])).toEqual(expected);
  }
  await crowd.stop();
}, 30_000);

describe('bad frames', () => {
  test('are answered, and close the socket with 4400 after a few in a row', async () => {
    const socket = await node.connect(principalOf());
    for (const data of ['0012', '"text"', '[{}]', 'null']) socket.sendRaw(data);
    await socket.until(() => socket.frames.length === 5);
    await socket.request({ type: 'ping' });
    for (const data of ['{', '{}', '{"type":1}', '{"type":"nope"}', '{"type":"constructor"}']) socket.sendRaw(data);
    expect(await socket.closed).toMatchObject({ code: 4400 });
    const errors = socket.frames.filter(({ type }) => type === 'error');
    expect(errors.length).toBe(9);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['invalid_request']));
  });

  test('of MessagePack that announce more than they hold are refused', async () => {
    const socket = await node.connect(principalOf(), { protocol: 'dreamhub.v1.msgpack' });
    const before = process.memoryUsage().rss;
    const bombs = [
      [0xdd, 0xff, 0xff, 0xff, 0xff],
      [0xdf, 0x00, 0xff, 0xff, 0xff],
      [0xc6, 0xff, 0xff, 0xff, 0xff],
      Array.from({ length: 60_000 }, (_, i) => [0xdc, 0x27, 0x10][i % 3] ?? 0),
    ];
    for (const bomb of bombs) socket.sendRaw(new Uint8Array(bomb));
    await socket.until(() => socket.frames.length === 5);
    socket.sendRaw('{"type":"ping"}');
    expect(await socket.closed).toMatchObject({ code: 4400 });
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 2 ** 20);
  });

  test('that are nested too deeply are refused', async () => {
    const socket = await node.connect(principalOf());
    socket.sendRaw(`{"type":"ping","x":${'['.repeat(20_000)}${']'.repeat(20_000)}}`);
    expect(await socket.find(({ type }) => type === 'error')).toMatchObject({ code: 'invalid_request' });
    await socket.close();
  });

  test('that are too large close the socket with 4409', async () => {
    const socket = await node.connect(principalOf());
    socket.sendRaw(`{"type":"ping","x":"${'é'.repeat(70_000)}"}`);
    expect(await socket.closed).toMatchObject({ code: 4409 });
  });

  test('that pile up behind a slow one close the socket with 4429, before its rate does', async () => {
    const handled = Promise.withResolvers<never>();
    handled.promise.catch(() => undefined);
    const slow = await startSocketNode({
      url: redis.url,
      chat: { cancel: () => handled.promise },
      config: { frameBurst: 10_000 },
    });
    const socket = await slow.connect(principalOf());
    socket.send({ type: 'chat.cancel', turn_id: uuid() });
    for (let i = 0; i < 300; i++) socket.sendRaw(`{"type":"ping","id":${i}}`);
    expect(await socket.closed).toMatchObject({ code: 4429 });
    expect(socket.frames.map(({ type }) => type)).toEqual(['hello']);
    handled.reject(new Error('too late'));
    await slow.stop();
  });

  test('that come too fast are refused, and close the socket with 4429', async () => {
    const socket = await node.connect(principalOf());
    for (let i = 0; i < 600; i++) socket.sendRaw(`{"type":"ping","id":${i}}`);
    expect(await socket.closed).toMatchObject({ code: 4429 });
    expect(socket.frames.find(({ type }) => type === 'error')).toMatchObject({
      code: 'rate_limited',
      id: expect.any(Number),
      retry_after_ms: expect.any(Number),
    });
  });
});

describe('a session', () => {
  test('that ends closes its sockets on every node with 4401, and no other', async () => {
    const principal = principalOf();
    const sibling = { ...principal, sessionId: uuid() };
    const [here, there, stays] = [
      await node.connect(principal),
      await other.connect(principal),
      await other.connect(sibling),
    ];
    await runAs(scopeOf(principal), () => node.control.endSession(principal.sessionId));
    expect(await here.closed).toMatchObject({ code: 4401 });
    expect(await there.closed).toMatchObject({ code: 4401 });
    // Whoever else asks on that node may have been told a moment ago that the session lives.
    expect(await refusal(other.http, { authorization: `Bearer ${other.tokenFor(principal)}` })).toMatchObject({
      status: 401,
    });
    expect(await stays.request({ type: 'ping' })).toMatchObject({ type: 'pong' });
    await stays.close();
  });

  test('of a user who was given another role closes on every node, and comes back as what he is now', async () => {
    const admin = principalOf({ role: 'admin' });
    const colleague = principalOf({ tenantId: admin.tenantId, role: 'admin' });
    const [here, there, stays] = [
      await node.connect(admin),
      await other.connect(admin),
      await other.connect(colleague),
    ];
    for (const socket of [here, there]) {
      expect(await socket.request({ type: 'subscribe', topic: 'tenant' })).toMatchObject({ type: 'ack' });
    }
    await runAs(scopeOf(colleague), () => other.control.endUser(admin.userId));
    for (const socket of [here, there]) expect(await socket.closed).toMatchObject({ code: 4401 });
    expect(await stays.request({ type: 'ping' })).toMatchObject({ type: 'pong' });
    const again = await other.connect({ ...admin, role: 'member' });
    expect(await again.request({ type: 'subscribe', topic: 'tenant' })).toMatchObject({ code: 'forbidden' });
    await again.close();
    await stays.close();
  });

  test('of a user who is ended while the credentials are looked at closes as it opens, and a later one stays', async () => {
    let isEnding = true;
    const slow = await startSocketNode({
      url: redis.url,
      async proving(principal) {
        if (!isEnding) return;
        isEnding = false;
        const heard = Promise.withResolvers<void>();
        const stop = slow.control.onEnded(({ kind }) => kind === 'user' && heard.resolve());
        await runAs(scopeOf(principal), () => slow.control.endUser(principal.userId));
        await heard.promise;
        stop();
      },
    });
    const principal = principalOf();
    const token = slow.tokenFor(principal);
    const socket = dial(slow.base, { authorization: `Bearer ${token}` });
    const { promise: closed, resolve } = Promise.withResolvers<number>();
    socket.onclose = ({ code }) => resolve(code);
    expect(await closed).toBe(4401);
    const again = await slow.connect(principal);
    expect(await again.request({ type: 'ping' })).toMatchObject({ type: 'pong' });
    await again.close();
    await slow.stop();
  });

  test('hears no topic of admins any more once its token says that it is none', async () => {
    const principal = principalOf({ role: 'admin' });
    const [socket, still] = [await node.connect(principal), await node.connect(principal)];
    for (const one of [socket, still]) await one.request({ type: 'subscribe', topic: 'tenant' });
    const token = node.tokenFor({ ...principal, role: 'member' });
    expect(await socket.request({ type: 'auth.refresh', token })).toMatchObject({ type: 'ack' });
    const hint = { type: 'document.deleted', data: { document_id: uuid(), task_id: null, title: 'x' } } as const;
    await runAs(scopeOf(principal), () => node.publisher.hint('tenant', hint));
    await still.find(({ type }) => type === 'document.deleted');
    expect(await socket.request({ type: 'subscribe', topic: 'tenant' })).toMatchObject({ code: 'forbidden' });
    expect(socket.events('tenant')).toEqual([]);
    await socket.close();
    await still.close();
  });

  test('that ended while Redis was cut off is noticed afterwards', async () => {
    const principal = principalOf();
    const socket = await other.connect(principal);
    other.revoked.add(principal.sessionId);
    await other.clients.ops.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    expect(await socket.closed).toMatchObject({ code: 4401 });
  });

  test('whose token expires is closed with 4401, unless it was refreshed', async () => {
    const soon = Date.now() + 2_000;
    const principal = principalOf({ expiresAt: soon });
    const [expires, refreshed] = [await node.connect(principal), await node.connect(principal)];
    const token = node.tokenFor({ ...principal, expiresAt: Date.now() + 600_000 });
    expect(await refreshed.request({ type: 'auth.refresh', token })).toMatchObject({ type: 'ack' });
    expect(await expires.closed).toMatchObject({ code: 4401 });
    expect(Date.now()).toBeGreaterThanOrEqual(soon);
    expect(await refreshed.request({ type: 'ping' })).toMatchObject({ type: 'pong' });
    await refreshed.close();
  });
});

describe('a node that goes away', () => {
  test('closes its sockets with 1001 and takes no new ones', async () => {
    const leaving = await startSocketNode({ url: redis.url });
    const sockets = await Promise.all(Array.from({ length: 20 }, () => leaving.connect(principalOf())));
    await leaving.ws.closeAll();
    for (const socket of sockets) {
      expect(await socket.closed).toMatchObject({
        code: 1001,
        reason: expect.stringMatching(/^reconnect_after_ms=\d+$/),
      });
    }
    expect(leaving.ws.count()).toBe(0);
    const authorization = `Bearer ${leaving.tokenFor(principalOf())}`;
    expect(await refusal(leaving.http, { authorization })).toMatchObject({ status: 503 });
    await leaving.stop();
  });
});
