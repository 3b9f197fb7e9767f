/** What is said of single messages. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { describe } from '../documentation.ts';
import { jsonBody } from '../json-body.ts';
import { IdParams } from '../models/common.ts';
import { FeedbackBody } from '../models/personal.ts';
import { authenticated } from '../plugins/auth.ts';
import type { ConversationsPort } from '../ports.ts';
import { noContent } from '../responses.ts';

export function createMessageRoutes({ conversations }: { conversations: Pick<ConversationsPort, 'rate'> }) {
  return new Elysia({ name: 'routes.messages' })
    .use(authenticated)
    .post('/messages/:id/feedback', ({ params, body }) => noContent(conversations.rate(params.id, body)), {
      params: IdParams,
      parse: jsonBody,
      body: FeedbackBody,
      response: { 204: Type.Void() },
      detail: describe({
        tag: 'conversations',
        summary: 'Say whether an answer was good',
        description:
          'Of an answer in an own conversation; 409 of a question. Messages show it as `rating`. Said again it replaces what was said before, the comment too.',
        answers: { 204: { description: 'Kept' } },
        errors: [
          'not_found',
          'conflict',
          'malformed',
          'invalid_request',
          'payload_too_large',
          'unsupported_media_type',
        ],
      }),
    });
}
