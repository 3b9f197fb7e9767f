/** A colleague, from outside: invited, let in, given a key, given another role, and sent away; on two servers. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { type Frame, openSocket, type Person, register, type Socket } from '../support/person.ts';

let cluster: Cluster;
let owner: Person;
beforeAll(async () => {
  cluster = await startCluster({ reply: () => 'An answer of some words', env: {} });
  await cluster.startWorker();
  owner = await register(cluster.nodes[0].url);
}, 120_000);
afterAll(() => cluster.stop(), 120_000);

interface Answer<T> {
  status: number;
  body: T;
}

/** A call on a node, with any bearer. */
async function ask<T = Record<string, unknown>>(
  node: 0 | 1,
  bearer: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer<T>> {
  const answer = await fetch(`${cluster.nodes[node].url}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${bearer}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as T };
}

interface Colleague {
  id: string;
  token: string;
  email: string;
}

async function join(role: string): Promise<Colleague> {
  const email = `${crypto.randomUUID()}@example.com`;
  const invited = await owner.call<{ id: string; invite: string; link: string }>('POST', '/members', { email, role });
  expect(invited.status).toBe(201);
  expect(invited.body.link).toStartWith(`${owner.url}/#/join?`);
  const joined = await ask<{ access_token: string; user: { id: string; role: string } }>(
    1,
    '-',
    'POST',
    '/auth/register',
    {
      tenant: owner.tenant,
      email,
      password: 'correct horse battery',
      invite: invited.body.invite,
    },
  );
  expect(joined).toMatchObject({ status: 201, body: { user: { id: invited.body.id, role } } });
  return { id: joined.body.user.id, token: joined.body.access_token, email };
}

async function upload(node: 0 | 1, bearer: string, text: string, visibility: string) {
  const form = new FormData();
  form.append('visibility', visibility);
  form.append('file', new Blob([text]), 'secret plans.txt');
  const answer = await fetch(`${cluster.nodes[node].url}/api/v1/upload`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}` },
    body: form,
  });
  return { status: answer.status, body: (await answer.json()) as { document_id: string; task_id: string } };
}

const socketOn = (node: 0 | 1, token: string) => openSocket(cluster.nodes[node].url, { token });

async function answerTo(socket: Socket, frame: Record<string, unknown>): Promise<Frame> {
  const id = crypto.randomUUID();
  socket.send({ ...frame, id });
  return socket.until((one) => one.id === id);
}

/** Resolves when the response has ended. */
async function drained(response: Response): Promise<void> {
  for await (const _ of response.body ?? []);
}

describe('a colleague', () => {
  test('shares what is the tenant’s, and keeps what is private', async () => {
    const [one, other] = [await join('member'), await join('member')];
    const { body } = await upload(0, one.token, 'The plans are secret: zanzibar at dawn.', 'private');
    const socket = await socketOn(0, one.token);
    socket.send({ type: 'subscribe', topic: `task:${body.task_id}` });
    await socket.until(({ type }) => type === 'task.succeeded');
    socket.close();
    const path = `/documents/${body.document_id}`;
    expect((await ask(1, one.token, 'GET', path)).body).toMatchObject({ owner_id: one.id, visibility: 'private' });
    expect((await ask(1, other.token, 'GET', path)).status).toBe(404);
    const listFor = async (token: string) => {
      const list = await ask<{ items: { id: string }[] }>(1, token, 'GET', '/documents');
      return list.body.items.filter(({ id }) => id === body.document_id);
    };
    expect(await listFor(other.token)).toEqual([]);
    // The owner sees the name and the size, and nothing of what is inside.
    expect(await listFor(owner.token)).toMatchObject([
      { id: body.document_id, filename: 'secret plans.txt', size: 39, owner_id: one.id, sha256: null },
    ]);
    for (const part of ['text', 'chunks', 'content']) {
      expect((await ask(1, owner.token, 'GET', `${path}/${part}`)).status).toBe(404);
    }
    const search = { query: 'zanzibar at dawn', filter: { document_ids: [body.document_id] } };
    for (const bearer of [owner.token, other.token]) {
      expect((await ask(0, bearer, 'POST', '/search', search)).body['results']).toEqual([]);
    }
    const own = await ask<{ results: unknown[] }>(0, one.token, 'POST', '/search', search);
    expect(own.body.results).toHaveLength(1);
    expect((await ask(0, owner.token, 'DELETE', path)).status).toBe(204);
    expect((await ask(1, one.token, 'GET', path)).status).toBe(404);
  }, 60_000);

  test('who becomes a viewer stops uploading at once, and is told to come back', async () => {
    const colleague = await join('member');
    expect((await upload(1, colleague.token, `${colleague.id} one`, 'tenant')).status).toBe(202);
    const sockets = [await socketOn(0, colleague.token), await socketOn(1, colleague.token)];
    const changed = await owner.call('PATCH', `/members/${colleague.id}`, { role: 'viewer' });
    expect(changed).toMatchObject({ status: 200, body: { role: 'viewer' } });
    for (const { closed } of sockets) expect((await closed).code).toBe(4401);
    for (const node of [0, 1] as const) {
      expect((await upload(node, colleague.token, `${colleague.id} two`, 'tenant')).status).toBe(403);
      expect((await ask(node, colleague.token, 'POST', '/search', { query: 'x' })).status).toBe(200);
    }
    const back = await socketOn(1, colleague.token);
    expect(await answerTo(back, { type: 'ping' })).toMatchObject({ type: 'pong' });
    back.close();
  }, 60_000);

  test('who is removed is out everywhere at once: sockets, streams, tokens and keys', async () => {
    const colleague = await join('member');
    const made = await ask<{ key: string }>(1, colleague.token, 'POST', '/api-keys', { name: 'script' });
    const { key } = made.body;
    cluster.provider.next('chat', { type: 'stepwise' });
    const turn = await ask<{ turn_id: string }>(0, key, 'POST', '/conversations', {}).then(({ body }) =>
      ask<{ turn_id: string }>(0, key, 'POST', `/conversations/${String(body['id' as keyof typeof body])}/messages`, {
        content: 'Tell me?',
      }),
    );
    const streams = await Promise.all(
      ([0, 1] as const).map((node) =>
        fetch(`${cluster.nodes[node].url}/api/v1/turns/${turn.body.turn_id}/events`, {
          headers: { authorization: `Bearer ${node === 0 ? key : colleague.token}` },
        }),
      ),
    );
    expect(streams.map(({ status }) => status)).toEqual([200, 200]);
    const sockets = [await socketOn(0, colleague.token), await socketOn(1, key)];
    expect((await owner.call('DELETE', `/members/${colleague.id}`)).status).toBe(204);
    for (const { closed } of sockets) expect((await closed).code).toBe(4401);
    await Promise.all(streams.map(drained));
    for (const node of [0, 1] as const) {
      for (const bearer of [colleague.token, key]) expect((await ask(node, bearer, 'GET', '/me')).status).toBe(401);
    }
    const login = { tenant: owner.tenant, email: colleague.email, password: 'correct horse battery' };
    expect((await ask(0, '-', 'POST', '/auth/login', login)).status).toBe(401);
    cluster.provider.reset();
  }, 60_000);
});

describe('an API key', () => {
  test('opens REST, event streams and sockets, as far as its scopes go', async () => {
    const made = await owner.call<{ key: string; id: string }>('POST', '/api-keys', {
      name: 'reader',
      scopes: ['read'],
    });
    expect(made.status).toBe(201);
    const { key, id } = made.body;
    expect((await ask(1, key, 'GET', '/me')).body).toMatchObject({ user: { id: owner.session.user.id } });
    expect((await ask(1, key, 'GET', '/documents')).status).toBe(200);
    for (const [method, path] of [
      ['POST', '/upload'],
      ['POST', '/chat'],
      ['GET', '/members'],
      ['POST', '/api-keys'],
      ['POST', '/auth/logout'],
      ['GET', '/admin/queue'],
    ] as const) {
      expect([path, await ask(1, key, method, path, method === 'POST' ? {} : undefined)]).toMatchObject([
        path,
        { status: 403, body: { code: 'forbidden' } },
      ]);
    }
    const { ticket } = (await ask<{ ticket: string }>(0, key, 'POST', '/ws/tickets')).body;
    const viaTicket = new WebSocket(`${cluster.nodes[1].url.replace('http', 'ws')}/ws?ticket=${ticket}`);
    const closedTicket = new Promise<number>((resolve) => {
      viaTicket.onclose = ({ code }) => resolve(code);
    });
    await new Promise((resolve) => {
      viaTicket.onmessage = resolve;
    });
    const socket = await socketOn(0, key);
    expect(await answerTo(socket, { type: 'subscribe', topic: 'user' })).toMatchObject({ type: 'ack' });
    for (const frame of [
      { type: 'subscribe', topic: 'tenant' },
      { type: 'subscribe', topic: `turn:${crypto.randomUUID()}` },
      { type: 'chat.send', content: 'Hello?', client_message_id: '1' },
      { type: 'chat.cancel', turn_id: crypto.randomUUID() },
    ]) {
      expect(await answerTo(socket, frame)).toMatchObject({ type: 'error', code: 'forbidden' });
    }
    expect((await owner.call('DELETE', `/api-keys/${id}`)).status).toBe(204);
    expect((await socket.closed).code).toBe(4401);
    expect(await closedTicket).toBe(4401);
    for (const node of [0, 1] as const) expect((await ask(node, key, 'GET', '/me')).status).toBe(401);
  }, 60_000);

  test('is told to nobody who sends an Idempotency-Key of the same user with another key', async () => {
    const [full, other] = await Promise.all(
      ['one', 'two'].map(async (name) => {
        const made = await owner.call<{ key: string }>('POST', '/api-keys', { name, scopes: ['admin'] });
        return made.body.key;
      }),
    );
    const make = async (bearer: string) => {
      const answer = await fetch(`${owner.url}/api/v1/api-keys`, {
        method: 'POST',
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json', 'idempotency-key': '1' },
        body: JSON.stringify({ name: 'child', scopes: ['admin'] }),
      });
      return ((await answer.json()) as { key: string }).key;
    };
    const first = await make(full ?? '');
    expect(await make(full ?? '')).toBe(first);
    expect(await make(other ?? '')).not.toBe(first);
    expect(await make(owner.token)).not.toBe(first);
  });
});
