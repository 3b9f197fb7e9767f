/** Who may call what: each route of the OpenAPI document, by each role and by keys of each scope. */
import { describe, expect, test } from 'bun:test';
import { type KeyScope, type Principal, ROLES, type Role, SCOPES } from '../../../src/contracts/index.ts';
import { ACCESS } from '../../../src/http/access.ts';
import { createSwaggerRoutes } from '../../../src/http/routes/swagger.ts';
import { concrete, createHttpApp, json, principal as member } from '../../support/http-app.ts';

const outside = [createSwaggerRoutes({ version: '0' })];
const OPEN = ['POST /auth/register', 'POST /auth/login', 'POST /auth/refresh'];

/** Presented as a bearer: `role` or `role scope,scope`. */
const { app } = createHttpApp(
  {
    principals: {
      prove: async (bearer): Promise<Principal> => {
        const [role, scopes] = bearer.split('~');
        return {
          ...member,
          expiresAt: Date.now() + 60_000,
          role: ROLES.find((one) => one === role) ?? 'viewer',
          ...(scopes !== undefined && { scopes: scopes.split('/') as KeyScope[] }),
        };
      },
    },
  },
  { outside },
);
const document = (await (await app.handle(new Request('http://localhost/swagger/json'))).json()) as {
  paths: Record<string, Record<string, unknown>>;
};
const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
  /^\/((api\/)?v1\/|mcp$)/.test(path)
    ? Object.keys(methods).map((method) => ({
        method: method.toUpperCase(),
        path,
        name: `${method.toUpperCase()} ${path.replace('/api/v1', '').replace(/\{(\w+)\}/g, ':$1')}`,
      }))
    : [],
);
const guarded = routes.filter(({ name }) => !OPEN.includes(name));

async function statusOf({ method, path }: { method: string; path: string }, bearer: string): Promise<number> {
  const body = ['POST', 'PUT', 'PATCH'].includes(method) ? json({}) : { headers: {} };
  const address = concrete(path.replace(/\{(\w+)\}/g, ':$1'));
  const headers = { ...body.headers, authorization: `Bearer ${bearer}` };
  return (await app.handle(new Request(`http://localhost${address}`, { ...body, method, headers }))).status;
}

/** What the contract lets each role do, said once more and by hand: reading, asking, changing what is known, running. */
const READS =
  /^(GET \/(me$|documents|tasks|sources|usage$|v1\/(models|files|vector_stores))|POST \/(mcp$|v1\/embeddings$|v1\/vector_stores\/:id\/search$|search|chunking\/preview|ws\/tickets|auth\/logout)|OPTIONS )/;
const CHATS = /^\w+ \/(v1\/(chat\/completions|responses)|conversations|turns|messages|memory|chat)/;
const OWN = /^(\w+ \/api-keys|\w+ \/users\/me\/config|DELETE \/members\/:id|\w+ \/privacy)/;
const WRITES =
  /^((POST|DELETE) \/v1\/(files|vector_stores)|DELETE \/documents|POST \/upload|\w+ \/uploads\/tus(\/:id)?$|POST \/tasks|(POST|PUT|DELETE) \/sources)/;
const RUNS = /^(\w+ \/(webhooks|quotas|admin)|(GET|POST|PATCH) \/members)/;

function expected(name: string, role: Role): boolean {
  if (READS.test(name) || CHATS.test(name) || OWN.test(name)) return true;
  if (WRITES.test(name)) return role !== 'viewer';
  if (RUNS.test(name)) return role === 'owner' || role === 'admin';
  throw new Error(`nobody has said who may call ${name}`);
}

test('each route has its place in the table, and the table has no other', () => {
  expect(guarded.length).toBeGreaterThan(50);
  expect(guarded.map(({ name }) => name).filter((name) => !(name in ACCESS))).toEqual([]);
  const known = new Set(app.routes.map(({ method, path }) => `${method} ${path.replace('/api/v1', '')}`));
  expect(Object.keys(ACCESS).filter((name) => !known.has(name))).toEqual([]);
});

describe('each route', () => {
  test.each(guarded)('$name lets in who may call it, whatever the body', async (route) => {
    for (const role of ROLES) {
      const status = await statusOf(route, role);
      expect([role, status === 403]).toEqual([role, !expected(route.name, role)]);
      expect(status).not.toBe(401);
    }
  });

  test.each(guarded)('$name asks for one scope of a key, which gives no more than its user has', async (route) => {
    const reaching = await Promise.all(
      SCOPES.map(async (scope) => ((await statusOf(route, `owner~${scope}`)) === 403 ? [] : [scope])),
    );
    const scopes = reaching.flat();
    if (route.name === 'POST /auth/logout') expect(scopes).toEqual([]);
    else if (/ \/(me|ws\/tickets|privacy\/erasure\/:id|v1\/models(\/:model)?)$|^OPTIONS/.test(route.name))
      expect(scopes).toEqual([...SCOPES]);
    else expect(scopes).toHaveLength(1);
    const [scope] = scopes;
    if (scope === undefined) return;
    for (const role of ROLES) {
      expect([role, (await statusOf(route, `${role}~${SCOPES.join('/')}`)) === 403]).toEqual([
        role,
        !expected(route.name, role),
      ]);
    }
    const others = SCOPES.filter((one) => !scopes.includes(one));
    if (others.length > 0) expect(await statusOf(route, `owner~${others.join('/')}`)).toBe(403);
  });

  test('that would be forbidden is refused before its body is read', async () => {
    const { call, token } = createHttpApp();
    const authorization = `Bearer ${await token('viewer')}`;
    const answer = await call('POST', '/api/v1/webhooks', {
      body: '{"broken',
      headers: { authorization, 'content-type': 'application/json' },
    });
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ code: 'forbidden' });
  });

  test('is the same one by another spelling of its address', async () => {
    const { call, token, scopes } = createHttpApp();
    const headers = { authorization: `Bearer ${await token('member')}` };
    for (const path of ['/api/v1/members/', '/api/v1/%6dembers', '/api/v1//members', '/api/v1/members?x=/me']) {
      expect([403, 404]).toContain((await call('GET', path, { headers })).status);
    }
    expect([...scopes.keys()]).toEqual([]);
  });
});
