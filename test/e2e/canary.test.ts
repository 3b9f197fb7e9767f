/** A second tenant, and a second user of the same tenant, go over every route with the first one's ids. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Dreamhub, startDreamhub } from '../support/dreamhub.ts';
import { eventsOf, type Person, register, type Socket } from '../support/person.ts';

const CANARY = 'xylophone-canary-7391';
const OPERATOR_TOKEN = 'the-operators-own-token-of-the-canary';

interface Operation {
  method: string;
  path: string;
  body: boolean;
}

let hub: Dreamhub;
let owner: Person;
let stranger: Person;
let socket: Socket;
/** Values for path parameters, by the name of the resource that the path is about. */
let ids: Record<string, string>;
let operations: Operation[];

beforeAll(async () => {
  hub = await startDreamhub('all', { OPERATOR_TOKEN });
  [owner, stranger] = [await register(hub.url), await register(hub.url)];
  socket = await owner.socket();
  const learnt = await owner.learn(socket, `The canary says ${CANARY}.`, `${CANARY}.txt`, { title: CANARY });
  const chat = await owner.call<{ conversation_id: string; turn_id: string }>('POST', '/chat', {
    message: `What does ${CANARY} say?`,
  });
  const said = await owner.call<{ items: { id: string; role: string }[] }>(
    'GET',
    `/conversations/${chat.body.conversation_id}/messages`,
  );
  const answer = said.body.items.find(({ role }) => role === 'assistant');
  await owner.call('POST', `/messages/${answer?.id}/feedback`, { rating: 1, comment: CANARY });
  await owner.call('POST', '/memory/structured', { key: `of-${CANARY}`, value: CANARY });
  const webhook = await owner.call<{ id: string }>('POST', '/webhooks', { url: `https://${CANARY}.example/` });
  const upload = await owner.call('POST', '/uploads/tus', undefined, { 'upload-length': '5' });
  const source = await owner.call<{ id: string }>('POST', '/sources', {
    kind: 'web',
    url: `https://${CANARY}.invalid/`,
  });
  const invited = await owner.call<{ id: string }>('POST', '/members', {
    email: `${CANARY}@example.com`,
    role: 'member',
  });
  const key = await owner.call<{ id: string }>('POST', '/api-keys', { name: CANARY });
  const gone = await (await register(hub.url)).call<{ id: string }>('POST', '/privacy/erasure', { scope: 'user' });
  await owner.call('PUT', '/users/me/config', { custom_prompt: CANARY, openai_api_key: CANARY });
  await owner.call('PUT', '/users/me/config', { openai_api_key: null });
  ids = {
    members: invited.body.id,
    'api-keys': key.body.id,
    sources: source.body.id,
    uploads: upload.headers.get('location')?.split('/').at(-1) ?? '',
    webhooks: webhook.body.id,
    documents: learnt.document_id,
    tasks: learnt.task_id,
    conversations: chat.body.conversation_id,
    turns: chat.body.turn_id,
    messages: answer?.id ?? '',
    memory: `of-${CANARY}`,
    privacy: gone.body.id,
    // Dead letters are named by their tasks.
    admin: learnt.task_id,
  };
  const document = (await (await fetch(`${hub.url}/swagger/json`)).json()) as {
    paths: Record<string, Record<string, { requestBody?: unknown }>>;
  };
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      body: requestBody !== undefined,
    })),
  );
}, 120_000);
afterAll(async () => {
  socket?.close();
  await hub?.stop();
}, 60_000);

/** What a route takes that takes anything; the first one's ids wherever an id may stand. */
function bodyFor(path: string): Record<string, unknown> {
  if (path.endsWith('/search')) return { query: CANARY, top_k: 50, filter: { document_ids: [ids['documents']] } };
  if (path.endsWith('/preview')) return { document_id: ids['documents'] };
  if (path.endsWith('/chat')) return { message: `What does ${CANARY} say?`, conversation_id: ids['conversations'] };
  if (path.endsWith('/messages')) return { content: `What does ${CANARY} say?` };
  if (path.endsWith('/sources')) return { kind: 'calendar', file: true };
  if (path.endsWith('/members')) return { email: 'somebody@example.com', role: 'member' };
  if (path.includes('/members/')) return { role: 'viewer' };
  if (path.endsWith('/api-keys')) return { name: 'mine' };
  if (path.endsWith('/structured')) return { key: 'mine', value: 'mine' };
  if (path.includes('/structured/')) return { value: 'mine now' };
  if (path.endsWith('/feedback')) return { rating: -1 };
  if (path.endsWith('/config')) return { custom_prompt: 'mine now' };
  if (path.endsWith('/webhooks')) return { url: 'https://hooks.example/' };
  return { title: 'mine now' };
}

test('there are routes to walk', () => {
  expect(operations.filter(({ path }) => path.startsWith('/api/v1')).length).toBeGreaterThan(25);
});

describe('a stranger', () => {
  test('learns nothing on any route, and changes nothing', async () => {
    const walked: string[] = [];
    for (const { method, path, body } of operations) {
      // These take no ids and answer about whoever proves who they are.
      if (!path.startsWith('/api/v1') || path.startsWith('/api/v1/auth')) continue;
      const resource = path.split('/')[3] ?? '';
      const hasId = path.includes('{');
      if (hasId && !ids[resource]) throw new Error(`the test has no id for ${path}`);
      const target = path.replace('/api/v1', '').replace(/\{[^}]+\}/g, ids[resource] ?? '');
      if (target === '/upload') continue;
      const answer = await stranger.call<unknown>(method, target, body ? bodyFor(target) : undefined);
      const text = JSON.stringify(answer.body);
      walked.push(`${method} ${target}`);
      if (hasId) expect([method, path, answer.status]).toEqual([method, path, 404]);
      for (const [what, secret] of Object.entries({ ...ids, canary: CANARY, tenant: owner.session.tenant.id })) {
        const asked = JSON.stringify(body ? bodyFor(target) : {}) + target;
        // An answer may repeat what was asked; it may not say more.
        if (!asked.includes(secret))
          expect([`${method} ${path} tells ${what}`, text.includes(secret)]).toEqual([
            `${method} ${path} tells ${what}`,
            false,
          ]);
      }
    }
    expect(walked.length).toBeGreaterThan(20);
    const still = await owner.call<{ title: string; status: string }>('GET', `/documents/${ids['documents']}`);
    expect(still.body).toMatchObject({ title: CANARY, status: 'ready' });
    expect((await owner.call('GET', `/conversations/${ids['conversations']}`)).status).toBe(200);
    const members = await owner.call<{ items: { id: string; role: string }[] }>('GET', '/members');
    expect(members.body.items.map(({ role }) => role)).toEqual(['owner', 'member']);
    const keys = await owner.call<{ items: { id: string }[] }>('GET', '/api-keys');
    expect(keys.body.items.map(({ id }) => id)).toEqual([ids['api-keys'] ?? '']);
    const said = await owner.call<{ items: { id: string; rating: number | null }[] }>(
      'GET',
      `/conversations/${ids['conversations']}/messages`,
    );
    expect(said.body.items.find(({ id }) => id === ids['messages'])?.rating).toBe(1);
    const fact = await owner.call('GET', `/memory/structured/${ids['memory']}`);
    expect(fact.body).toMatchObject({ value: CANARY, version: 1 });
    const config = await owner.call('GET', '/users/me/config');
    expect(config.body).toMatchObject({ custom_prompt: CANARY, has_openai_api_key: false });
  }, 60_000);

  test('finds nothing by searching or asking', async () => {
    for (const mode of ['hybrid', 'vector', 'text']) {
      const found = await stranger.call<{ results: unknown[] }>('POST', '/search', {
        query: `canary says ${CANARY}`,
        top_k: 100,
        mode,
      });
      expect([mode, found.body.results]).toEqual([mode, []]);
    }
    const chat = await stranger.call<{ sources: unknown[] }>('POST', '/chat', { message: 'What does the canary say?' });
    expect(chat.body.sources).toEqual([]);
    expect(JSON.stringify(chat.body)).not.toContain(CANARY);
  }, 60_000);

  test('reads no topic', async () => {
    const spy = await stranger.socket();
    const topics = [`task:${ids['tasks']}`, `turn:${ids['turns']}`, `conversation:${ids['conversations']}`];
    for (const topic of topics) {
      spy.send({ type: 'subscribe', id: topic, topic });
      expect(await spy.until(({ id }) => id === topic)).toMatchObject({ type: 'error', code: 'not_found' });
    }
    spy.send({ type: 'subscribe', id: 'user', topic: 'user' });
    await spy.until(({ id }) => id === 'user');
    await owner.learn(socket, `Another ${CANARY}`, 'other.txt');
    spy.send({ type: 'ping', id: 'end' });
    await spy.until(({ type }) => type === 'pong');
    expect(topics.concat('user').flatMap((topic) => eventsOf(spy, topic))).toEqual([]);
    spy.close();
  }, 60_000);

  test('gets the same bytes as a document of its own', async () => {
    // Not the one who goes over the routes: it would find the canary, rightly, in a document of its own.
    const another = await register(hub.url);
    const mine = await another.upload(`The canary says ${CANARY}.`, `${CANARY}.txt`);
    expect(mine.status).toBe(202);
    expect(mine.body.document_id).not.toBe(ids['documents'] ?? '');
  });
});

describe('the operator', () => {
  const headers = { authorization: `Bearer ${OPERATOR_TOKEN}`, 'content-type': 'application/json' };
  const ask = (method: string, target: string, body?: unknown) =>
    fetch(hub.url + target, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });

  test('gets 401 from every route of the API but those under /admin and the ways in', async () => {
    let walked = 0;
    for (const { method, path, body } of operations) {
      if (!path.startsWith('/api/v1') || /\/auth\/(register|login|refresh)$/.test(path)) continue;
      const resource = path.split('/')[3] ?? '';
      const target = path.replace(/\{[^}]+\}/g, ids[resource] ?? crypto.randomUUID());
      const { status } = await ask(method, target, body ? bodyFor(target) : undefined);
      if (resource === 'admin') expect([method, path, status === 401]).toEqual([method, path, false]);
      else expect([method, path, status]).toEqual([method, path, 401]);
      walked += 1;
    }
    expect(walked).toBeGreaterThan(25);
    const spy = new WebSocket(`${hub.url.replace('http', 'ws')}/ws`, { headers } as unknown as string[]);
    const { promise: refused, resolve } = Promise.withResolvers<void>();
    spy.onerror = () => resolve();
    spy.onopen = () => {
      throw new Error('the operator opened a socket');
    };
    await refused;
  });

  test('sees the queue of all tenants, and an owner the own part', async () => {
    const all = (await (await ask('GET', '/api/v1/admin/queue')).json()) as { lanes: unknown[]; top_tenants: unknown };
    expect(all.lanes).toMatchObject([{ lane: 'ingest' }, { lane: 'chat' }]);
    expect(all.top_tenants).toBeArray();
    const own = await owner.call<{ top_tenants: unknown }>('GET', '/admin/queue');
    expect(own).toMatchObject({ status: 200, body: { top_tenants: null } });
    const tenant = owner.session.tenant.id;
    const granted = await ask('PUT', `/api/v1/admin/tenants/${tenant}/quotas`, { max_outstanding: 7 });
    expect(await granted.json()).toMatchObject({ max_outstanding: 7, ceilings: { max_outstanding: 7 } });
    expect((await owner.call('PUT', '/quotas', { max_outstanding: 8 })).status).toBe(422);
    expect((await owner.call('PUT', '/quotas', { weight: 2, max_outstanding: 6 })).body).toMatchObject({
      weight: 2,
      max_outstanding: 6,
    });
    expect((await stranger.call('GET', '/quotas')).body).toMatchObject({ weight: 1, max_outstanding: 10_000 });
  });
});

describe('nobody at all', () => {
  test('gets 401 from every route of the API but the ways in', async () => {
    let walked = 0;
    for (const { method, path } of operations) {
      if (!path.startsWith('/api/v1') || /\/auth\/(register|login|refresh)$/.test(path)) continue;
      const target = path.replace(/\{[^}]+\}/g, crypto.randomUUID());
      const answer = await fetch(hub.url + target, { method });
      expect([method, path, answer.status]).toEqual([method, path, 401]);
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      walked += 1;
    }
    expect(walked).toBeGreaterThan(25);
    expect((await fetch(`${hub.url}/api/v1/no-such-thing`)).status).toBe(401);
    expect(
      (
        await fetch(`${hub.url}/ws`, {
          headers: {
            upgrade: 'websocket',
            connection: 'upgrade',
            'sec-websocket-key': 'x'.repeat(22),
            'sec-websocket-version': '13',
          },
        })
      ).status,
    ).toBe(401);
  });

  test('is told 404 with credentials where nothing is built yet', async () => {
    for (const [method, path] of [['GET', '/usage/of-everybody']] as const) {
      const answer = await owner.call<{ code: string }>(method, path);
      expect([path, answer.status, answer.body.code]).toEqual([path, 404, 'not_found']);
    }
  });
});
