/** A second tenant, the operator and nobody go over every route below `/v1`, and `/mcp`, with the first one's ids. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Dreamhub, startDreamhub } from '../support/dreamhub.ts';
import { type Person, register } from '../support/person.ts';

const CANARY = 'xylophone-canary-5128';
const OPERATOR_TOKEN = 'the-operators-own-token-of-the-canary';
const QUESTION = `What does ${CANARY} say?`;

let hub: Dreamhub;
let owner: Person;
let stranger: Person;
let routes: { method: string; path: string }[];
/** Of the owner's; by the name of the path's parameter, or the resource that the path is about. */
let ids: Record<string, string>;

async function ask(bearer: string | undefined, method: string, path: string, body?: unknown) {
  const answer = await fetch(hub.url + path, {
    method,
    headers: {
      accept: 'application/json, text/event-stream',
      ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: answer.status, type: answer.headers.get('content-type') ?? '', text: await answer.text() };
}

async function make(path: string, body: unknown): Promise<string> {
  const { text } = await ask(owner.token, 'POST', path, body);
  return (JSON.parse(text) as { id: string }).id;
}

beforeAll(async () => {
  hub = await startDreamhub('all', { OPERATOR_TOKEN });
  [owner, stranger] = [await register(hub.url), await register(hub.url)];
  const socket = await owner.socket();
  const learnt = await owner.learn(socket, `The canary says ${CANARY}.`, `${CANARY}.txt`, { title: CANARY });
  socket.close();
  const file = `file-${learnt.document_id}`;
  const store = await make('/v1/vector_stores', { name: CANARY, file_ids: [file] });
  const batch = await make(`/v1/vector_stores/${store}/file_batches`, { file_ids: [file] });
  const response = await make('/v1/responses', { model: 'any', input: QUESTION, background: true });
  ids = { files: file, file, vector_stores: store, batch, responses: response };
  const document = (await (await fetch(`${hub.url}/swagger/json`)).json()) as { paths: Record<string, object> };
  routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    /^\/(v1\/|mcp$)/.test(path) ? Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })) : [],
  );
}, 120_000);
afterAll(() => hub?.stop(), 60_000);

/** What a route takes, with the owner's ids wherever one may stand. */
function bodyFor(method: string, path: string): unknown {
  if (method !== 'POST' || path.endsWith('/cancel')) return undefined;
  if (path === '/mcp') {
    const params = { name: 'search', arguments: { query: CANARY } };
    return { jsonrpc: '2.0', id: 1, method: 'tools/call', params };
  }
  if (path.endsWith('/completions')) return { model: 'any', messages: [{ role: 'user', content: QUESTION }] };
  if (path.endsWith('/responses')) return { model: 'any', input: QUESTION, previous_response_id: ids['responses'] };
  if (path.endsWith('/embeddings')) return { model: 'any', input: CANARY };
  if (path.endsWith('/search')) return { query: CANARY };
  if (path.endsWith('/files')) return { file_id: ids['file'] };
  if (path.endsWith('/file_batches')) return { file_ids: [ids['file']] };
  if (path.endsWith('/{file}')) return { attributes: { mine: true } };
  return path.endsWith('/vector_stores') ? { name: 'mine', file_ids: [ids['file']] } : { name: 'mine now' };
}

const resourceOf = (path: string) => path.split('/')[2] ?? '';
const targetOf = (path: string) =>
  path.replace(/\{(\w+)\}/g, (_match, name: string) => ids[name] ?? ids[resourceOf(path)] ?? 'no-such-thing');

test('a stranger learns nothing, and changes nothing', async () => {
  let walked = 0;
  for (const { method, path } of routes) {
    const isUpload = method === 'POST' && path === '/v1/files';
    if (isUpload) continue;
    const body = bodyFor(method, path);
    const target = targetOf(path);
    const { status, text } = await ask(stranger.token, method, target, body);
    walked += 1;
    const named = path.includes('{') || JSON.stringify(body ?? '').includes(ids['file'] ?? '');
    if (named || path.endsWith('/responses')) expect([method, path, status]).toEqual([method, path, 404]);
    else expect([method, path, status]).toEqual([method, path, 200]);
    const asked = JSON.stringify(body ?? '') + target;
    for (const secret of [...Object.values(ids), CANARY, owner.session.tenant.id]) {
      if (!asked.includes(secret)) expect([method, path, text.includes(secret)]).toEqual([method, path, false]);
    }
    if (path.endsWith('/completions')) expect(text).toContain('"annotations":[]');
    if (path === '/mcp') expect(text).toContain('"structuredContent":{"results":[]}');
  }
  expect(walked).toBeGreaterThan(25);
  const mine = await ask(owner.token, 'GET', `/v1/vector_stores/${ids['vector_stores']}`);
  expect(JSON.parse(mine.text)).toMatchObject({ name: CANARY, file_counts: { completed: 1, total: 1 } });
  expect((await ask(owner.token, 'GET', `/v1/responses/${ids['responses']}`)).status).toBe(200);
  expect((await ask(owner.token, 'GET', `/v1/files/${ids['file']}`)).status).toBe(200);
}, 120_000);

test.each([
  ['the operator', OPERATOR_TOKEN],
  ['nobody', undefined],
])('%s gets 401 from every route', async (_who, bearer) => {
  for (const { method, path } of routes) {
    const { status, type, text } = await ask(bearer, method, targetOf(path), bodyFor(method, path));
    expect([method, path, status]).toEqual([method, path, 401]);
    if (path !== '/mcp') {
      expect(type).toContain('application/json');
      expect(JSON.parse(text)).toMatchObject({ error: { type: 'invalid_request_error', code: 'invalid_api_key' } });
    }
  }
  expect((await ask(bearer, 'GET', '/v1/no-such-thing')).status).toBe(401);
});
