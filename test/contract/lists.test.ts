/** Every list of the API answers `{items, next_cursor}`: as the OpenAPI document says, and as it is answered. */
import { describe, expect, test } from 'bun:test';
import { createSwaggerRoutes } from '../../src/http/routes/swagger.ts';
import { createHttpApp, OPERATOR_TOKEN } from '../support/http-app.ts';

interface Schema {
  $ref?: string;
  type?: string;
  nullable?: boolean;
  properties?: Record<string, Schema>;
  required?: string[];
}
interface Operation {
  parameters?: { name: string; in: string; schema?: { enum?: string[]; minimum?: number; maximum?: number } }[];
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}

const { app, call, token } = createHttpApp({}, { outside: [createSwaggerRoutes({ version: '0' })] });
const document = (await (await app.handle(new Request('http://localhost/swagger/json'))).json()) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

const resolved = (schema: Schema | undefined): Schema =>
  schema?.$ref ? resolved(document.components.schemas[schema.$ref.split('/').at(-1) ?? '']) : (schema ?? {});

const lists = Object.entries(document.paths).flatMap(([path, operations]) => {
  const operation = operations['get'];
  const schema = resolved(operation?.responses['200']?.content?.['application/json']?.schema);
  return operation && path.startsWith('/api/v1') && schema.properties?.['items'] ? [{ path, operation, schema }] : [];
});

test('there are lists to look at', () => {
  expect(lists.length).toBeGreaterThan(12);
});

describe('every list', () => {
  for (const { path, operation, schema } of lists) {
    test(`GET ${path} answers a page`, async () => {
      expect(schema.required).toEqual(expect.arrayContaining(['items', 'next_cursor']));
      expect(resolved(schema.properties?.['items']).type).toBe('array');
      expect(resolved(schema.properties?.['next_cursor'])).toMatchObject({ type: 'string', nullable: true });
      const parameters = new Map(operation.parameters?.map((one) => [one.name, one]));
      expect(parameters.get('limit')).toMatchObject({ in: 'query' });
      expect(parameters.get('cursor')).toMatchObject({ in: 'query' });

      const address = path.replace(/\{[^}]+\}/g, path.includes('/spaces/') ? '1' : Bun.randomUUIDv7());
      const who = path.includes('/admin/') ? OPERATOR_TOKEN : await token('owner');
      const headers = { authorization: `Bearer ${who}` };
      const answer = await call('GET', address, { headers });
      expect(answer.status).toBe(200);
      const page = (await answer.json()) as Record<string, unknown>;
      expect(Object.keys(page).sort()).toEqual(['items', 'next_cursor']);
      expect(page['items']).toBeArray();
      for (const wrong of ['limit=0', 'limit=201', 'limit=x', 'limit=1.5']) {
        const refused = await call('GET', `${address}?${wrong}`, { headers });
        expect(`${wrong} ${refused.status}`).toBe(`${wrong} 422`);
        expect(((await refused.json()) as { code: string }).code).toBe('invalid_request');
      }
    });
  }
});
