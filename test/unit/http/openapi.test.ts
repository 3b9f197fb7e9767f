import { describe, expect, test } from 'bun:test';
import { Type } from '@sinclair/typebox';
import { toOpenApi30 } from '../../../src/http/openapi.ts';

function schemaOf(schema: unknown) {
  const document = toOpenApi30({ openapi: '3.0.3', paths: {}, components: { schemas: { It: schema } } });
  return (document as { components: { schemas: { It: unknown } } }).components.schemas.It;
}

describe('a schema', () => {
  test('that may be null is nullable, in every way that TypeBox says so', () => {
    expect(schemaOf(Type.Union([Type.String(), Type.Null()]))).toEqual({ type: 'string', nullable: true });
    expect(schemaOf({ type: ['integer', 'null'] })).toEqual({ type: 'integer', nullable: true });
    expect(schemaOf(Type.Union([Type.Ref('Other'), Type.Null()]))).toEqual({
      nullable: true,
      allOf: [{ $ref: '#/components/schemas/Other' }],
    });
  });

  test('of constants becomes one enum', () => {
    expect(schemaOf(Type.Union([Type.Literal('a'), Type.Literal('b'), Type.Null()]))).toEqual({
      type: 'string',
      nullable: true,
      enum: ['a', 'b', null],
    });
  });

  test('of a record describes its values', () => {
    expect(schemaOf(Type.Record(Type.String(), Type.Integer()))).toEqual({
      type: 'object',
      additionalProperties: { type: 'integer' },
    });
  });

  test('keeps bounds and examples, in the words of 3.0', () => {
    expect(schemaOf(Type.Number({ exclusiveMinimum: 0, examples: [3] }))).toEqual({
      type: 'number',
      minimum: 0,
      exclusiveMinimum: true,
      example: 3,
    });
  });

  test('of a property that is called like a keyword stays a property', () => {
    expect(schemaOf(Type.Object({ const: Type.String(), examples: Type.String() }))).toEqual({
      type: 'object',
      required: ['const', 'examples'],
      properties: { const: { type: 'string' }, examples: { type: 'string' } },
    });
  });
});

test('an operation gets descriptions, JSON bodies and problem answers, and loses parameters of other paths', () => {
  const guessed = (schema: unknown) => ({
    'application/json': { schema },
    'multipart/form-data': { schema },
    'text/plain': { schema },
  });
  const document = toOpenApi30({
    paths: {
      '/things/{id}/': {
        post: {
          parameters: [
            { in: 'path', name: 'id', schema: { type: 'string' } },
            { in: 'path', name: 'other', schema: { type: 'string' } },
          ],
          requestBody: { content: guessed({ type: 'object' }) },
          responses: { 200: {}, 404: { content: guessed({ type: 'object' }) } },
        },
      },
    },
  });
  expect(document.paths).toEqual({
    '/things/{id}': {
      post: {
        parameters: [{ in: 'path', name: 'id', required: true, schema: { type: 'string' } }],
        requestBody: { content: { 'application/json': { schema: { type: 'object' } } } },
        responses: {
          200: { description: 'OK' },
          404: { description: 'Not found', content: { 'application/problem+json': { schema: { type: 'object' } } } },
        },
      },
    },
  });
});

test('what has a default need not be sent, but is always answered', () => {
  const schema = Type.Object({ query: Type.String(), top_k: Type.Integer({ default: 10 }) });
  const document = toOpenApi30({
    paths: {
      '/search': {
        post: {
          parameters: [
            { in: 'query', name: 'limit', required: true, schema: { type: 'number', multipleOf: 1, default: 50 } },
          ],
          requestBody: { content: { 'application/json': { schema } } },
          responses: { 200: { content: { 'application/json': { schema } } } },
        },
      },
    },
  });
  expect(document.paths).toMatchObject({
    '/search': {
      post: {
        parameters: [{ name: 'limit', required: false, schema: { type: 'integer', default: 50 } }],
        requestBody: { content: { 'application/json': { schema: { required: ['query'] } } } },
        responses: { 200: { content: { 'application/json': { schema: { required: ['query', 'top_k'] } } } } },
      },
    },
  });
});
