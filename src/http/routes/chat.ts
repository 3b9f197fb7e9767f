/** Asking: a message in a conversation, answered by a receipt, a stream or the finished turn; and one call for all of it. */
import { Elysia } from 'elysia';
import { TurnReceipt, TurnResource } from '../../contracts/index.ts';
import { finishedReply, messageAnswer, type StreamTopic } from '../chat-answers.ts';
import { describe } from '../documentation.ts';
import { turn, turnReceipt } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { ChatAnswer, ChatBody, MessageQuery, NewMessage } from '../models/chat.ts';
import { IdParams } from '../models/common.ts';
import { waitWithoutLimit } from '../patience.ts';
import { authenticated } from '../plugins/auth.ts';
import type { ChatPort } from '../ports.ts';

const errors = [
  'malformed',
  'invalid_request',
  'payload_too_large',
  'unsupported_media_type',
  'not_found',
  'rate_limited',
  'quota_exceeded',
  'provider_unavailable',
] as const;

export function createChatRoutes({ chat, streamTopic }: { chat: ChatPort; streamTopic: StreamTopic }) {
  return new Elysia({ name: 'routes.chat' })
    .use(authenticated)
    .post(
      '/conversations/:id/messages',
      ({ params, body, query, request, server, principal }) => {
        waitWithoutLimit(request, server);
        return messageAnswer({
          chat,
          streamTopic,
          conversationId: params.id,
          message: body,
          wait: query.wait === true,
          request,
          principal,
        });
      },
      {
        params: IdParams,
        query: MessageQuery,
        parse: jsonBody,
        body: NewMessage,
        response: { 200: TurnResource, 202: TurnReceipt },
        detail: describe({
          tag: 'chat',
          summary: 'Ask in a conversation',
          description:
            "Answers with a receipt; the turn is then followed as `turn:{turn_id}`. With `Accept: text/event-stream` the answer is the turn's events, with `?wait=true` the finished turn.",
          answers: {
            202: { description: 'Accepted', schema: TurnReceipt, example: turnReceipt },
            200: { description: 'The finished turn, or its events as a stream', schema: TurnResource, example: turn },
          },
          errors: [...errors, 'conflict'],
        }),
      },
    )
    .post(
      '/chat',
      ({ body, request, server }) => {
        waitWithoutLimit(request, server);
        return finishedReply(chat, body, request.signal);
      },
      {
        parse: jsonBody,
        body: ChatBody,
        response: { 200: ChatAnswer },
        detail: describe({
          tag: 'chat',
          summary: 'One question, one whole answer',
          answers: {
            200: { description: 'The answer with its sources', schema: ChatAnswer, example: ChatAnswer.example },
          },
          errors: [...errors, 'conflict'],
        }),
      },
    );
}
