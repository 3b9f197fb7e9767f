import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { TurnResource } from '../../contracts/index.ts';
import { resumePointOf, type StreamTopic } from '../chat-answers.ts';
import { describe } from '../documentation.ts';
import { turn } from '../examples.ts';
import { TurnEventsQuery } from '../models/chat.ts';
import { IdParams } from '../models/common.ts';
import { waitWithoutLimit } from '../patience.ts';
import { authenticated } from '../plugins/auth.ts';
import type { ChatPort } from '../ports.ts';

const tag = 'chat';
const one = { 200: { description: 'The turn', schema: TurnResource, example: turn } };

export function createTurnRoutes({ chat, streamTopic }: { chat: ChatPort; streamTopic: StreamTopic }) {
  return new Elysia({ name: 'routes.turns' })
    .use(authenticated)
    .get('/turns/:id', ({ params }) => chat.turn(params.id), {
      params: IdParams,
      response: { 200: TurnResource },
      detail: describe({
        tag,
        summary: 'One turn: a question and what became of it',
        answers: one,
        errors: ['not_found'],
      }),
    })
    .get(
      '/turns/:id/events',
      ({ params, query, request, server, principal }) => {
        waitWithoutLimit(request, server);
        const topic = `turn:${params.id.toLowerCase()}`;
        return streamTopic({ topic, signal: request.signal, principal, ...(resumePointOf(request) ?? query) });
      },
      {
        params: IdParams,
        query: TurnEventsQuery,
        detail: describe({
          tag,
          summary: "A turn's events as Server-Sent Events",
          description:
            '`event:` is the type, `id:` `EPOCH:SEQ`, `data:` the frame as JSON. `Last-Event-ID` continues after the event it names, and counts before `after`.',
          parameters: [
            { name: 'id', in: 'path', required: true, schema: { type: 'string', format: 'uuid' } },
            {
              name: 'after',
              in: 'query',
              schema: { type: 'integer', minimum: 0 },
              description: 'The last `seq` that was seen',
            },
            { name: 'Last-Event-ID', in: 'header', schema: { type: 'string' }, description: '`EPOCH:SEQ`' },
          ],
          answers: {
            200: {
              description: 'The events, up to the one that ends the turn',
              contentType: 'text/event-stream',
              schema: Type.String(),
              example:
                'id: k3v9:4\nevent: turn.delta\ndata: {"type":"turn.delta","seq":4,"data":{"text":"You have"}}\n\n',
            },
          },
          errors: ['not_found', 'malformed', 'invalid_request'],
        }),
      },
    )
    .post('/turns/:id/cancel', ({ params }) => chat.cancel(params.id), {
      params: IdParams,
      parse: 'none',
      response: { 200: TurnResource },
      detail: describe({
        tag,
        summary: 'Stop a turn',
        description: 'The request to the model is broken off. A turn that has ended stays as it is.',
        answers: one,
        errors: ['not_found', 'conflict'],
      }),
    });
}
