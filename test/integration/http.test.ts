/** What HTTP does on a real socket, over scripted services. */
import { afterEach, describe, expect, test } from 'bun:test';
import { connect } from 'node:net';
import * as examples from '../../src/http/examples.ts';
import { createAccessTokens } from '../../src/http/plugins/jwt.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { type Scope, scopeIfAny } from '../../src/kernel/context.ts';
import { concrete, json, principal, SECRET } from '../support/http-app.ts';
import { createHttpServers, hubThat } from '../support/http-servers.ts';

const { serve, close } = createHttpServers();
afterEach(close);

/** Sends these exact bytes and gives back the whole answer. */
async function raw(port: number, request: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let answer = '';
  const socket = connect(port, '127.0.0.1', () => socket.write(request));
  socket.setEncoding('utf8').on('data', (text: string) => {
    answer += text;
  });
  socket.on('close', () => resolve(answer)).on('error', reject);
  return promise;
}

const chunked = (...sizes: number[]): ReadableStream<Uint8Array> => {
  const waiting = [...sizes];
  return new ReadableStream({
    pull(controller) {
      const size = waiting.shift();
      if (size === undefined) controller.close();
      else controller.enqueue(new Uint8Array(size).fill(0x20));
    },
  });
};

/** What the operator alone may do, who has no scope; and what is only the name of another method. */
const hasNoScope = ({ method, path }: { method: string; path: string }) =>
  path.includes('/admin/tenants/') ||
  (method === 'POST' && (path.includes('/admin/spaces') || path === '/api/v1/uploads/tus/:id'));

describe('the scope of the caller', () => {
  const own = { tenantId: principal.tenantId, userId: principal.userId };

  test('is entered for every route that needs credentials, and for no other', async () => {
    const { app, ask, scopes, token } = serve();
    const authorization = `Bearer ${await token('owner')}`;
    const bodies: Record<string, unknown> = {
      '/api/v1/search': { query: 'x' },
      '/api/v1/chat': { message: 'x' },
      '/api/v1/webhooks': { url: 'https://x.example' },
      '/api/v1/sources': { kind: 'web', url: 'https://x.example' },
      '/api/v1/conversations/:id': { title: 'x' },
      '/api/v1/conversations/:id/messages': { content: 'x' },
      '/api/v1/members': { email: 'a@b', role: 'member' },
      '/api/v1/members/:id': { role: 'member' },
      '/api/v1/api-keys': { name: 'x' },
      '/api/v1/messages/:id/feedback': { rating: 1 },
      '/api/v1/memory/structured': { key: 'x', value: 1 },
      '/api/v1/memory/structured/:key': { value: 1 },
      '/api/v1/privacy/erasure': { scope: 'user' },
      '/api/v1/auth/register': { tenant: 'x', email: 'a@b', password: 'long enough' },
      '/api/v1/auth/login': { email: 'a@b', password: 'x' },
      '/api/v1/auth/refresh': { refresh_token: 'x' },
    };
    const tus = { 'tus-resumable': '1.0.0', 'upload-length': '1', 'upload-offset': '0' };
    const tusPart = { ...tus, 'content-type': 'application/offset+octet-stream' };
    for (const { method, path } of app.routes.filter(
      (route) => route.path.startsWith('/api/') && !route.path.endsWith('/events') && !hasNoScope(route),
    )) {
      const { headers, ...body } = path.includes('/uploads/tus')
        ? { headers: method === 'PATCH' ? tusPart : tus, ...(method === 'PATCH' && { body: 'x' }) }
        : ['POST', 'PUT', 'PATCH'].includes(method)
          ? json(bodies[path] ?? {})
          : { headers: {} };
      const response = await ask(method, concrete(path), { ...body, headers: { ...headers, authorization } });
      expect({ path, ok: response.ok }).toEqual({ path, ok: true });
    }
    const strangers = ['identity.register', 'identity.login', 'identity.refresh'];
    expect(scopes.size).toBeGreaterThan(25);
    for (const [name, scope] of scopes) {
      if (strangers.includes(name)) expect({ name, scope }).toEqual({ name, scope: undefined });
      else expect({ name, scope }).toMatchObject({ name, scope: own });
    }
    expect(scopeIfAny()).toBeUndefined();
  });

  test('carries the trace of the request', async () => {
    const { ask, scopes } = serve();
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    const response = await ask('GET', '/api/v1/me', { headers: { traceparent: `00-${trace}-00f067aa0ba902b7-01` } });
    expect(scopes.get('identity.me')?.traceId).toBe(trace);
    expect(response.headers.get('x-request-id')).toBe(trace);
    expect(response.headers.get('traceparent')).toStartWith(`00-${trace}-`);
  });

  test('is still there when a stream that was returned is pulled', async () => {
    const seen: (Scope | undefined)[] = [];
    let left = 3;
    const content = async () => ({
      filename: 'a',
      mediaType: 'text/plain',
      size: 3,
      stream: new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            await Promise.resolve();
            seen.push(scopeIfAny());
            controller.enqueue(new Uint8Array(1));
            left -= 1;
            if (left === 0) controller.close();
          },
        },
        { highWaterMark: 0 },
      ),
    });
    const { ask } = serve({ documents: { content } });
    const response = await ask('GET', `/api/v1/documents/${examples.documentId}/content`);
    expect((await response.bytes()).byteLength).toBe(3);
    expect(seen).toHaveLength(3);
    for (const scope of seen) expect(scope).toMatchObject(own);
  });

  test('of two callers at once is never mixed up', async () => {
    const tokens = createAccessTokens({ secrets: [SECRET], clock: systemClock });
    const waiting: (() => void)[] = [];
    const me = async () => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        // All are inside before any goes on.
        if (waiting.length === 20) for (const go of waiting) go();
      });
      return { ...examples.me, user: { ...examples.me.user, id: scopeIfAny()?.userId ?? '' } };
    };
    const { ask } = serve({ identity: { me } });
    const users = Array.from({ length: 20 }, () => Bun.randomUUIDv7());
    const answers = await Promise.all(
      users.map(async (userId) => {
        const authorization = `Bearer ${await tokens.sign({ ...principal, userId }, 60)}`;
        const response = await ask('GET', '/api/v1/me', { headers: { authorization } });
        return ((await response.json()) as typeof examples.me).user.id;
      }),
    );
    expect(answers).toEqual(users);
  });

  test('is entered where a topic is subscribed to', async () => {
    let scope: Scope | undefined;
    const { ask } = serve(
      {},
      hubThat(async (topic, reader) => {
        scope = scopeIfAny();
        queueMicrotask(() => reader.event({ topic, epoch: 'e', seq: 1, type: 'turn.completed', json: '{}' }));
        return () => undefined;
      }),
    );
    const response = await ask('GET', `/api/v1/turns/${examples.turn.id}/events`);
    expect(await response.text()).toContain('event: turn.completed\nid: e:1\ndata: {}');
    expect(scope).toMatchObject(own);
  });
});

describe('a body', () => {
  test('that says no length is counted, and refused past the limit', async () => {
    const { app, ask, scopes, token } = serve();
    const routes = app.routes.filter(
      ({ method, path }) => path.startsWith('/api/') && (method === 'POST' || method === 'PATCH'),
    );
    const withBody = routes.filter(({ hooks }) => hooks.body !== undefined);
    expect(withBody.length).toBeGreaterThan(6);
    for (const { method, path } of withBody) {
      const body = chunked(...Array.from({ length: 20 }, () => 65_536));
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${await token('owner')}` };
      const response = await ask(method, concrete(path), { body, headers });
      expect({ path, status: response.status }).toEqual({ path, status: 413 });
      expect(await response.json()).toMatchObject({ code: 'payload_too_large' });
    }
    expect([...scopes.keys()]).toEqual([]);
  });

  test('of an upload is given on while it still arrives', async () => {
    const arrived = Promise.withResolvers<number>();
    const { ask } = serve({
      uploads: {
        async accept({ body, contentType }) {
          expect(contentType).toBe('multipart/form-data; boundary=x');
          if (!(body instanceof ReadableStream)) throw new Error('it was read as a whole');
          for await (const bytes of body) arrived.resolve(bytes.byteLength);
          return { receipt: { ...examples.receipt, duplicate: true }, created: false };
        },
      },
    });
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const answered = ask('POST', '/api/v1/upload', { body: readable, headers });
    await writer.write(new Uint8Array(10));
    expect(await arrived.promise).toBe(10);
    await writer.close();
    const response = await answered;
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ duplicate: true });
  });

  test('of a small upload is read as a whole, of a larger one it is not', async () => {
    const seen: (number | string)[] = [];
    const { ask } = serve({
      uploads: {
        async accept({ body }) {
          if (body instanceof Uint8Array) seen.push(body.byteLength);
          else for await (const _ of body ?? []) seen[1] = 'a stream';
          return { receipt: examples.receipt, created: true };
        },
      },
    });
    expect((await ask('POST', '/api/v1/upload', { body: new Uint8Array(65_536) })).status).toBe(202);
    expect((await ask('POST', '/api/v1/upload', { body: new Uint8Array(65_537) })).status).toBe(202);
    expect(seen).toEqual([65_536, 'a stream']);
  });

  test('of an upload that says it is larger than allowed is refused unread, in our form', async () => {
    const { ask, scopes } = serve({}, { maxUploadBytes: 3_000_000 });
    const response = await ask('POST', '/api/v1/upload', { body: new Uint8Array(4_200_000) });
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ code: 'payload_too_large' });
    expect(scopes.has('uploads.accept')).toBeFalse();
    expect((await ask('POST', '/api/v1/upload', { body: new Uint8Array(3_500_000) })).status).toBe(202);
  });
});

describe('an address that could be read in two ways', () => {
  test.each([
    ['a short host', 'GET /hidden/api/v1/me HTTP/1.1\r\nHost: a'],
    ['a host with a path', 'GET /api/v1/me HTTP/1.1\r\nHost: a/b/c'],
    ['an absolute target', 'GET http://somewhere/api/v1/me HTTP/1.1\r\nHost: a'],
    ['two slashes', 'GET //api/v1/me HTTP/1.1\r\nHost: localhost'],
    ['an escaped path', 'GET /%61pi/v1/me HTTP/1.1\r\nHost: localhost'],
    ['dots', 'GET /x/../api/v1/me HTTP/1.1\r\nHost: localhost'],
    ['a slash at the end', 'GET /api/v1/me/ HTTP/1.1\r\nHost: localhost'],
    ['capitals', 'GET /API/v1/me HTTP/1.1\r\nHost: localhost'],
    ['no host', 'GET /api/v1/me HTTP/1.0\r\nX-Nothing: 1'],
  ])('(%s) opens nothing to a stranger', async (_what, request) => {
    const { port, scopes } = serve();
    const answer = await raw(port, `${request}\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 (400|401|404) /);
    expect([...scopes.keys()]).toEqual([]);
  });
});

describe('answers', () => {
  test('limit what a browser may do with them', async () => {
    const { ask } = serve();
    const { headers } = await ask('GET', '/api/v1/documents');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('access-control-allow-origin')).toBeNull();
  });

  test('may be read by pages of the allowed origins alone', async () => {
    const { url, ask } = serve();
    const friend = { origin: 'https://friend.example' };
    expect((await ask('GET', '/api/v1/nothing', { headers: friend })).headers.get('access-control-allow-origin')).toBe(
      friend.origin,
    );
    const preflight = { 'access-control-request-method': 'PATCH' };
    const allowed = await fetch(`${url}/api/v1/me`, { method: 'OPTIONS', headers: { ...friend, ...preflight } });
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get('access-control-allow-methods')).toContain('PATCH');
    const stranger = await fetch(`${url}/api/v1/me`, {
      method: 'OPTIONS',
      headers: { origin: 'https://foe.example', ...preflight },
    });
    expect(stranger.status).toBe(401);
    expect(stranger.headers.get('access-control-allow-origin')).toBeNull();
  });

  test('of an original are an attachment under its own name', async () => {
    const { ask } = serve();
    const response = await ask('GET', `/api/v1/documents/${examples.documentId}/content`);
    expect(response.headers.get('content-disposition')).toContain("filename*=UTF-8''%E6%89%8B%E5%86%8C%20%221%22.pdf");
    expect(response.headers.get('content-length')).toBe('5');
    expect(await response.text()).toBe('bytes');
  });

  test('of an extracted text are UTF-8', async () => {
    const response = await serve().ask('GET', `/api/v1/documents/${examples.documentId}/text`);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toBe('Größe 数据');
  });

  test('take the name that the caller gave the request, unless it could break a log', async () => {
    const { ask } = serve();
    expect(
      (await ask('GET', '/api/v1/me', { headers: { 'x-request-id': 'mine-1' } })).headers.get('x-request-id'),
    ).toBe('mine-1');
    expect(
      (await ask('GET', '/api/v1/me', { headers: { 'x-request-id': 'a b"c' } })).headers.get('x-request-id'),
    ).toMatch(/^[0-9a-f]{32}$/);
  });

  test('are logged once, with what they were and for whom', async () => {
    const { ask, logged } = serve();
    await ask('GET', '/api/v1/nothing?token=secret');
    const lines = logged.filter(({ msg }) => msg === 'request');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      method: 'GET',
      path: '/api/v1/nothing',
      status: 404,
      tenant_id: principal.tenantId,
    });
    expect(JSON.stringify(logged)).not.toContain('secret');
  });
});

describe('operations', () => {
  test('health is told to everybody', async () => {
    const { url } = serve();
    for (const path of ['/health', '/healthz'])
      expect(await (await fetch(url + path)).json()).toEqual({ status: 'ok' });
    expect(await (await fetch(`${url}/readyz`)).json()).toEqual({ status: 'ok', checks: { database: 'ok' } });
  });

  test.each([
    ['degraded', 200],
    ['unavailable', 503],
  ] as const)('a process that is %s answers %i', async (status, code) => {
    const { url } = serve({}, { health: { ready: async () => ({ status, checks: { redis: 'gone' } }) } });
    const response = await fetch(`${url}/readyz`);
    expect(response.status).toBe(code);
    expect(response.headers.has('retry-after')).toBe(code === 503);
    expect(await response.json()).toEqual({ status, checks: { redis: 'gone' } });
  });

  test('metrics are open to this machine, and to whoever has the token', async () => {
    const { url } = serve();
    const [proxied, wrong, right] = [
      { 'x-forwarded-for': '203.0.113.1' },
      { 'x-forwarded-for': '203.0.113.1', authorization: 'Bearer metrics tokem' },
      { 'x-forwarded-for': '203.0.113.1', authorization: 'Bearer metrics token' },
    ];
    const own = await fetch(`${url}/metrics`);
    expect(own.headers.get('content-type')).toBe('text/plain; version=0.0.4');
    expect(await own.text()).toContain('dreamhub_workers_busy');
    expect((await fetch(`${url}/metrics`, { headers: proxied })).status).toBe(401);
    expect((await fetch(`${url}/metrics`, { headers: wrong })).status).toBe(401);
    expect((await fetch(`${url}/metrics`, { headers: right })).status).toBe(200);
  });

  test('metrics without a token are for this machine alone', async () => {
    const { url } = serve({}, { metricsToken: undefined });
    const headers = { 'x-forwarded-for': '203.0.113.1', authorization: 'Bearer undefined' };
    expect((await fetch(`${url}/metrics`, { headers })).status).toBe(401);
  });
});
