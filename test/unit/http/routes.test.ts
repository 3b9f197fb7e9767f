import { describe, expect, test } from 'bun:test';
import type { AnyElysia } from 'elysia';
import { createConsoleRoutes } from '../../../src/http/routes/console.ts';
import { createSwaggerRoutes } from '../../../src/http/routes/swagger.ts';
import { concrete, createHttpApp, OPERATOR_TOKEN, principal } from '../../support/http-app.ts';

const OPEN = new Set([
  'GET /',
  'GET /assets/:name',
  'GET /console/config',
  'GET /swagger',
  'GET /swagger/json',
  'GET /swagger/assets/:name',
  'GET /health',
  'GET /healthz',
  'GET /readyz',
  'POST /api/v1/auth/register',
  'POST /api/v1/auth/login',
  'POST /api/v1/auth/refresh',
]);

/** Beside routes that there are. */
const UNKNOWN = ['GET /privacy/nothing', 'GET /nothing', 'PUT /privacy/export'];

const outside = [createConsoleRoutes({ demo: null, version: '0' }), createSwaggerRoutes({ version: '0' })];
const routesOf = (app: AnyElysia) =>
  app.routes.map(({ method, path }) => ({ method, path, name: `${method} ${path}` }));
const protectedRoutes = routesOf(createHttpApp({}, { outside }).app).filter(({ name }) => !OPEN.has(name));
const bodyMethods = new Set(['POST', 'PUT', 'PATCH']);

describe('without credentials', () => {
  test('there are routes to walk, and each open one is there', () => {
    const names = routesOf(createHttpApp({}, { outside }).app).map(({ name }) => name);
    expect(protectedRoutes.length).toBeGreaterThan(25);
    expect([...OPEN].filter((name) => !names.includes(name))).toEqual([]);
  });

  test.each(protectedRoutes)('$name refuses', async ({ method, path }) => {
    const { app, scopes } = createHttpApp({}, { outside });
    const response = await app.handle(new Request(`http://localhost${concrete(path)}`, { method }));
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    expect(await response.json()).toMatchObject(
      path.startsWith('/v1/')
        ? { error: { code: 'invalid_api_key', type: 'invalid_request_error', param: null } }
        : { code: 'unauthenticated', status: 401 },
    );
    expect([...scopes.keys()]).toEqual([]);
  });

  test.each(protectedRoutes)('$name refuses bad ones before it looks at a bad body', async ({ method, path }) => {
    const { app, scopes } = createHttpApp({}, { outside });
    const headers = { authorization: 'Bearer bad', 'content-type': 'application/json' };
    const body = bodyMethods.has(method) ? { body: '{"broken' } : {};
    const response = await app.handle(new Request(`http://localhost${concrete(path)}`, { method, headers, ...body }));
    expect(response.status).toBe(401);
    expect([...scopes.keys()]).toEqual([]);
  });

  test.each([
    'GET /api/v1/nothing',
    'GET /api',
    'PUT /api/v1/documents',
    'DELETE /api/v1/auth/login',
    'OPTIONS /api/v1/me',
    'GET /v1',
    'GET /v1/nothing',
    'PUT /v1/models',
  ])('%s tells nothing of whether it exists', async (route) => {
    const [method = '', path] = route.split(' ');
    const response = await createHttpApp().app.handle(new Request(`http://localhost${path}`, { method }));
    expect(response.status).toBe(401);
  });

  test('what is unknown outside the API is not found', async () => {
    const response = await createHttpApp().app.handle(new Request('http://localhost/nothing'));
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: 'not_found' });
  });
});

describe('with credentials', () => {
  test.each(UNKNOWN)('%s, which there is not, is not found', async (route) => {
    const [method = '', path = ''] = route.split(' ');
    const body = bodyMethods.has(method) ? { body: '{}', headers: { 'content-type': 'application/json' } } : {};
    const response = await createHttpApp().call(method, `/api/v1${path}`, body);
    expect(response.status).toBe(404);
  });

  test.each(protectedRoutes.filter(({ path }) => path.includes('/:id')))(
    '$name knows no id that is no UUID',
    async ({ method, path }) => {
      const { call, scopes, token } = createHttpApp();
      const headers = { authorization: `Bearer ${await token('owner')}` };
      const body = bodyMethods.has(method)
        ? {
            body: '{"content":"x","title":"x","role":"member"}',
            headers: { ...headers, 'content-type': 'application/json' },
          }
        : { headers };
      const response = await call(method, path.replace(':id', 'nonsense'), body);
      expect(response.status).toBe(404);
      expect([...scopes.keys()]).toEqual([]);
    },
  );

  test.each([
    ['POST', '/api/v1/upload'],
    ['DELETE', '/api/v1/documents/:id'],
    ['POST', '/api/v1/tasks/:id/retry'],
    ['POST', '/api/v1/tasks/:id/cancel'],
  ])('%s %s is forbidden to a viewer and allowed to a member', async (method, path) => {
    const { call, token, scopes } = createHttpApp();
    const viewer = await call(method, concrete(path), {
      headers: { authorization: `Bearer ${await token('viewer')}` },
    });
    expect(viewer.status).toBe(403);
    expect(await viewer.json()).toMatchObject({ code: 'forbidden' });
    expect([...scopes.keys()]).toEqual([]);
    expect((await call(method, concrete(path))).status).toBeLessThan(300);
  });

  test('of a session that has ended nothing is served', async () => {
    const { call } = createHttpApp({ principals: { prove: async () => null } });
    expect((await call('GET', '/api/v1/me')).status).toBe(401);
  });

  test.each(['Basic YTpi', 'Bearer', 'Bearer ', 'Bearer a b', 'token'])(
    'that say %j are refused',
    async (authorization) => {
      expect((await createHttpApp().call('GET', '/api/v1/me', { headers: { authorization } })).status).toBe(401);
    },
  );

  test('a check of the session that fails is an error of ours, not a refusal of the caller', async () => {
    const { call } = createHttpApp({
      principals: { prove: () => Promise.reject(new Error('both stores are gone')) },
    });
    expect((await call('GET', '/api/v1/me')).status).toBe(500);
  });
});

describe('the operator', () => {
  const operator = { headers: { authorization: `Bearer ${OPERATOR_TOKEN}` } };
  const isAdmin = ({ path }: { path: string }) => path.startsWith('/api/v1/admin/');
  const adminRoutes = protectedRoutes.filter(isAdmin);
  const requestFor = (method: string) =>
    bodyMethods.has(method)
      ? {
          ...operator,
          body: '{"model": "m", "dimensions": 8}',
          headers: { ...operator.headers, 'content-type': 'application/json' },
        }
      : operator;

  test('has routes of its own', () => {
    expect(adminRoutes.length).toBeGreaterThan(3);
  });

  test.each(protectedRoutes.filter((route) => !isAdmin(route)))(
    '$name is as closed to the operator as to a stranger',
    async ({ method, path }) => {
      const { call, scopes } = createHttpApp({}, { outside });
      expect((await call(method, concrete(path), requestFor(method))).status).toBe(401);
      expect([...scopes.keys()]).toEqual([]);
    },
  );

  test.each([
    '/api/v1/admin/../documents',
    '/api/v1/admin/%2e%2e/documents',
    '/api/v1/admin/%2e%2e%2fdocuments',
    '/api/v1/admin//documents',
    '/api/v1/admin',
    '/api/v1/Admin/queue',
    '/api/v1/administration/queue',
  ])('gets nothing by another spelling: %s', async (path) => {
    const { call, scopes } = createHttpApp();
    expect([401, 404]).toContain((await call('GET', path, operator)).status);
    expect([...scopes.keys()]).toEqual([]);
  });

  test.each(adminRoutes)('$name is served outside every scope', async ({ method, path }) => {
    const { call, scopes } = createHttpApp();
    expect([200, 201]).toContain((await call(method, concrete(path), requestFor(method))).status);
    expect([...scopes.values()]).toEqual([undefined]);
  });

  test.each(['', `${OPERATOR_TOKEN}x`, OPERATOR_TOKEN.toUpperCase(), OPERATOR_TOKEN.slice(1)])(
    'is nobody who says %j',
    async (token) => {
      const { call } = createHttpApp();
      const headers = { authorization: `Bearer ${token}` };
      expect((await call('GET', '/api/v1/admin/queue', { headers })).status).toBe(401);
    },
  );

  test.each(adminRoutes)('$name is forbidden to who only writes or reads in a tenant', async ({ method, path }) => {
    for (const role of ['member', 'viewer'] as const) {
      const { call, token, scopes } = createHttpApp();
      const { headers, ...request } = requestFor(method);
      const authorization = `Bearer ${await token(role)}`;
      const answer = await call(method, concrete(path), { ...request, headers: { ...headers, authorization } });
      expect([role, answer.status]).toEqual([role, 403]);
      expect([...scopes.keys()]).toEqual([]);
    }
  });

  test('alone grants ceilings: to the owner of a tenant there is no such route', async () => {
    const { call, token, scopes } = createHttpApp();
    const headers = { authorization: `Bearer ${await token('owner')}`, 'content-type': 'application/json' };
    const answer = await call('PUT', `/api/v1/admin/tenants/${Bun.randomUUIDv7()}/quotas`, { headers, body: '{}' });
    expect(answer.status).toBe(404);
    expect([...scopes.keys()]).toEqual([]);
  });
});

test.each([
  'POST /admin/spaces',
  'POST /admin/spaces/1/activate',
  'POST /admin/spaces/1/rollback',
  'POST /admin/spaces/1/retire',
])('%s is the operator’s alone: to the owner of a tenant there is no such route', async (route) => {
  const [method = '', path] = route.split(' ');
  const { call, token, scopes } = createHttpApp();
  const headers = { authorization: `Bearer ${await token('owner')}`, 'content-type': 'application/json' };
  const answer = await call(method, `/api/v1${path}`, { headers, body: '{"model": "m", "dimensions": 8}' });
  expect(answer.status).toBe(404);
  expect([...scopes.keys()]).toEqual([]);
});

describe('an owner or admin', () => {
  test.each(['owner', 'admin'] as const)('(%s) sees the part of the own tenant', async (role) => {
    const { call, token, scopes } = createHttpApp();
    const headers = { authorization: `Bearer ${await token(role)}` };
    for (const path of ['/admin/queue', '/admin/dead-letters', '/admin/spaces', '/quotas']) {
      expect((await call('GET', `/api/v1${path}`, { headers })).status).toBe(200);
    }
    expect(scopes.get('administration.queue')?.tenantId).toBe(principal.tenantId);
  });

  test('alone reads and sets quotas', async () => {
    const { call, token } = createHttpApp();
    for (const role of ['member', 'viewer'] as const) {
      const headers = { authorization: `Bearer ${await token(role)}`, 'content-type': 'application/json' };
      expect((await call('GET', '/api/v1/quotas', { headers })).status).toBe(403);
      expect((await call('PUT', '/api/v1/quotas', { headers, body: '{"weight": 2}' })).status).toBe(403);
    }
  });

  test.each([
    { weight: 0.05 },
    { weight: 'heavy' },
    { max_outstanding: 0 },
    { max_outstanding: 1.5 },
    { max_outstanding_bytes: -1 },
  ])('cannot set %j', async (body) => {
    const { call, token, scopes } = createHttpApp();
    const headers = { authorization: `Bearer ${await token('owner')}`, 'content-type': 'application/json' };
    expect((await call('PUT', '/api/v1/quotas', { headers, body: JSON.stringify(body) })).status).toBe(422);
    expect([...scopes.keys()]).toEqual([]);
  });
});

describe('every route', () => {
  const routes = createHttpApp().app.routes.filter(({ path }) => /^\/(api|v1)\//.test(path));

  test.each(routes.map((route) => ({ name: `${route.method} ${route.path}`, route })))(
    '$name is documented',
    ({ route }) => {
      const detail = route.hooks.detail;
      expect(detail.summary).toBeString();
      expect(detail.tags).toHaveLength(1);
      for (const [status, answer] of Object.entries<Record<string, unknown>>(detail.responses)) {
        expect(answer.description).toBeString();
        for (const media of Object.values<Record<string, unknown>>({ ...(answer.content as object) })) {
          const binary = JSON.stringify(media.schema).includes('binary');
          if (!binary)
            expect({ status, example: media.example ?? media.examples }).not.toEqual({ status, example: undefined });
        }
      }
      const body = route.hooks.body;
      if (body) expect(body.example).toBeDefined();
    },
  );
});
