/** What a user notes for the own chats to know. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { PageOf, StructuredMemory } from '../../contracts/index.ts';
import { AppError } from '../../kernel/errors.ts';
import { describe } from '../documentation.ts';
import { fact } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { PageQuery } from '../models/common.ts';
import { FactBody, FactValueBody, KeyParams } from '../models/personal.ts';
import { authenticated } from '../plugins/auth.ts';
import type { StructuredMemoriesPort } from '../ports.ts';
import { noContent } from '../responses.ts';

const tag = 'chat';
const List = PageOf(StructuredMemory);
const one = { description: 'The fact; `ETag` is its version', schema: StructuredMemory, example: fact };
const bodyErrors = ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type'] as const;
const parameters = [
  { name: 'key', in: 'path' as const, required: true, schema: { type: 'string' as const }, example: fact.key },
  {
    name: 'If-Match',
    in: 'header' as const,
    schema: { type: 'string' as const },
    description: 'The version that was seen: 409 where it is another by now',
    example: '"2"',
  },
];

/** The version that `If-Match` names; undefined where it names none, or any (`*`). */
function seenVersion(request: Request): number | undefined {
  const header = request.headers.get('if-match')?.trim() ?? '';
  if (header === '' || header === '*') return undefined;
  const [, version] = /^"?(\d{1,9})"?$/.exec(header) ?? [];
  if (version === undefined) throw new AppError('malformed', 'If-Match must be the version of a fact, as in "2".');
  return Number(version);
}

export function createMemoryRoutes({ memory }: { memory: StructuredMemoriesPort }) {
  const tagged = <T extends StructuredMemory>(set: { headers: Record<string, string | number> }, answer: T): T => {
    set.headers['etag'] = `"${answer.version}"`;
    return answer;
  };
  return new Elysia({ name: 'routes.memory' })
    .use(authenticated)
    .get('/memory/structured', ({ query }) => memory.list(query), {
      query: PageQuery,
      response: { 200: List },
      detail: describe({
        tag,
        summary: 'List what I have noted, by key',
        answers: { 200: { description: 'One page', schema: List, example: { items: [fact], next_cursor: null } } },
        errors: ['invalid_request'],
      }),
    })
    .post('/memory/structured', async ({ body, set, status }) => status(201, tagged(set, await memory.create(body))), {
      parse: jsonBody,
      body: FactBody,
      response: { 201: StructuredMemory },
      detail: describe({
        tag,
        summary: 'Note a fact',
        description:
          'For the own chats alone: every answer is told what the user has noted, what the question asks for first. At most 200 facts, 4096 bytes of JSON each and 65536 together; 409 past that, and where there is one of this key.',
        answers: { 201: { ...one, description: 'Noted' } },
        errors: [...bodyErrors, 'conflict'],
      }),
    })
    .get('/memory/structured/:key', async ({ params, set }) => tagged(set, await memory.get(params.key)), {
      params: KeyParams,
      response: { 200: StructuredMemory },
      detail: describe({ tag, summary: 'One fact', answers: { 200: one }, errors: ['not_found'] }),
    })
    .put(
      '/memory/structured/:key',
      async ({ params, body, request, set }) =>
        tagged(set, await memory.replace(params.key, body.value, seenVersion(request))),
      {
        params: KeyParams,
        parse: jsonBody,
        body: FactValueBody,
        response: { 200: StructuredMemory },
        detail: describe({
          tag,
          summary: 'Change a fact',
          description: 'One that is there: a new one is noted by POST.',
          parameters,
          answers: { 200: one },
          errors: ['not_found', ...bodyErrors, 'conflict'],
        }),
      },
    )
    .delete(
      '/memory/structured/:key',
      ({ params, request }) => noContent(memory.remove(params.key, seenVersion(request))),
      {
        params: KeyParams,
        parse: 'none',
        response: { 204: Type.Void() },
        detail: describe({
          tag,
          summary: 'Forget a fact',
          parameters,
          answers: { 204: { description: 'Forgotten' } },
          errors: ['not_found', 'malformed', 'conflict'],
        }),
      },
    );
}
