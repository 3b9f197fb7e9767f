import { describe, expect, test } from 'bun:test';
import { Elysia, t } from 'elysia';
import { createConsoleRoutes } from '../../../src/http/routes/console.ts';
import { createSwaggerRoutes } from '../../../src/http/routes/swagger.ts';

const demo = { tenant: 'demo', email: 'demo@example.com', password: 'demo' };
const app = new Elysia()
  .use(createConsoleRoutes({ demo, version: '1.2.3' }))
  .use(createSwaggerRoutes({ version: '1.2.3' }))
  .group('/api/v1', (api) =>
    api.get('/things/:id', () => ({ name: 'x' }), {
      params: t.Object({ id: t.String() }),
      response: t.Object({ name: t.Nullable(t.String()) }),
      detail: { tags: ['documents'], summary: 'A thing' },
    }),
  );

const get = (path: string, headers: Record<string, string> = {}) =>
  app.handle(new Request(`http://localhost${path}`, { headers }));

const addresses = (html: string) => [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '');

describe('the console', () => {
  test('is one page with one script and one style sheet, all from here and small', async () => {
    const page = await get('/');
    expect(page.headers.get('content-type')).toContain('text/html');
    const assets = addresses(await page.text());
    expect(assets.every((address) => address.startsWith('/assets/'))).toBe(true);
    expect(assets.filter((address) => address.endsWith('.js'))).toHaveLength(1);
    expect(assets.filter((address) => address.endsWith('.css'))).toHaveLength(1);
    for (const address of assets) {
      const asset = await get(address, { 'accept-encoding': 'gzip, br' });
      expect(asset.status).toBe(200);
      expect(asset.headers.get('cache-control')).toContain('immutable');
      expect((await asset.bytes()).length).toBeLessThan(120_000);
    }
  });

  test('forbids everything that it does not need', async () => {
    const { headers } = await get('/');
    const policy = headers.get('content-security-policy') ?? '';
    for (const directive of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "object-src 'none'",
      "base-uri 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
    ]) {
      expect(policy).toContain(directive);
    }
    expect(policy).not.toContain('unsafe');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
  });

  test('is asked for again cheaply', async () => {
    const etag = (await get('/')).headers.get('etag') ?? '';
    expect((await get('/', { 'if-none-match': etag })).status).toBe(304);
  });

  test('says what a login may use', async () => {
    expect(await (await get('/console/config')).json()).toEqual({ demo, version: '1.2.3' });
  });

  test('has no other assets', async () => {
    expect((await get('/assets/..%2f..%2fpackage.json')).status).not.toBe(200);
    expect((await get('/assets/nothing.js')).status).not.toBe(200);
  });
});

describe('Swagger', () => {
  test('is a page whose every file is here', async () => {
    const page = await (await get('/swagger')).text();
    expect(page).not.toContain('://');
    for (const address of addresses(page)) expect((await get(address)).status).toBe(200);
  });

  test('describes the routes of the whole app and not its own', async () => {
    const document = (await (await get('/swagger/json')).json()) as {
      openapi: string;
      paths: Record<string, Record<string, { responses: object }>>;
    };
    expect(document.openapi).toBe('3.0.3');
    expect(Object.keys(document.paths).sort()).toEqual(['/api/v1/things/{id}', '/console/config']);
    expect(document.paths['/api/v1/things/{id}']?.get).toMatchObject({
      summary: 'A thing',
      responses: {
        200: {
          content: {
            'application/json': { schema: { properties: { name: { type: 'string', nullable: true } } } },
          },
        },
        401: { $ref: '#/components/responses/Problem401' },
      },
    });
  });

  test('serves nothing else of the package', async () => {
    expect((await get('/swagger/assets/package.json')).status).not.toBe(200);
    expect((await get('/swagger/assets/constructor')).status).not.toBe(200);
  });
});
