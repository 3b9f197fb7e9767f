/** Keys that stand for the caller where nobody can log in. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { ApiKeyResource, NewApiKey, PageOf } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { apiKey, newApiKey } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { ApiKeyBody } from '../models/members.ts';
import { authenticated } from '../plugins/auth.ts';
import type { ApiKeysPort } from '../ports.ts';
import { noContent } from '../responses.ts';

const tag = 'members';
const List = PageOf(ApiKeyResource);

export function createApiKeyRoutes({ apiKeys }: { apiKeys: ApiKeysPort }) {
  return new Elysia({ name: 'routes.api-keys' })
    .use(authenticated)
    .post('/api-keys', async ({ body, principal, status }) => status(201, await apiKeys.create(body, principal)), {
      parse: jsonBody,
      body: ApiKeyBody,
      response: { 201: NewApiKey },
      detail: describe({
        tag,
        summary: 'Make an API key',
        description:
          'For `Authorization: Bearer` wherever an access token goes, WebSocket and event streams included. It is shown in this answer alone. Scopes are `read` (documents, tasks, search), `write` (uploading, deleting, sources), `chat` (conversations and turns) and `admin` (members, webhooks, limits, the own API keys), each within what its user may do at that moment. A key that is made with a key is worth no more than that one. A user has at most 50.',
        answers: { 201: { description: 'With the key', schema: NewApiKey, example: newApiKey } },
        errors: ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type', 'conflict'],
      }),
    })
    .get('/api-keys', ({ query }) => apiKeys.list(query), {
      query: PageQuery,
      response: { 200: List },
      detail: describe({
        tag,
        summary: 'List the own API keys, oldest first',
        answers: { 200: { description: 'One page', schema: List, example: { items: [apiKey], next_cursor: null } } },
        errors: ['invalid_request'],
      }),
    })
    .delete('/api-keys/:id', ({ params }) => noContent(apiKeys.remove(params.id)), {
      params: IdParams,
      parse: 'none',
      response: { 204: Type.Void() },
      detail: describe({
        tag,
        summary: 'Revoke an own API key',
        description: 'At once, with the sockets and event streams that were opened with it.',
        answers: { 204: { description: 'Revoked' } },
        errors: ['not_found'],
      }),
    });
}
