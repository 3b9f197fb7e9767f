import { Elysia } from 'elysia';
import { describe } from '../documentation.ts';
import { jsonBody } from '../json-body.ts';
import { SearchAnswer, SearchBody } from '../models/search.ts';
import { authenticated } from '../plugins/auth.ts';
import type { SearchPort } from '../ports.ts';

export function createSearchRoutes({ search }: { search: SearchPort }) {
  return new Elysia({ name: 'routes.search' })
    .use(authenticated)
    .post('/search', ({ body: { filter = {}, ...rest } }) => search.search({ ...rest, filter }), {
      parse: jsonBody,
      body: SearchBody,
      response: { 200: SearchAnswer },
      detail: describe({
        tag: 'search',
        summary: 'Find passages',
        description:
          'By meaning and by words at once unless `mode` says otherwise. `score` orders the results of one answer.',
        answers: {
          200: { description: 'The best passages, best first', schema: SearchAnswer, example: SearchAnswer.example },
        },
        errors: ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type', 'provider_unavailable'],
      }),
    });
}
