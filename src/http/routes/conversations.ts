import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { ConversationResource, ConversationSummary, MessageResource, PageOf } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { conversation, conversationSummary, message } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { NewConversation, RenamedConversation } from '../models/chat.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { waitWithoutLimit } from '../patience.ts';
import { authenticated } from '../plugins/auth.ts';
import type { ConversationsPort } from '../ports.ts';
import { noContent } from '../responses.ts';

const tag = 'conversations';
const Conversations = PageOf(ConversationResource);
const Messages = PageOf(MessageResource);
const bodyErrors = ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type'] as const;
const one = { description: 'The conversation', schema: ConversationResource, example: conversation };

export function createConversationRoutes({ conversations }: { conversations: ConversationsPort }) {
  return new Elysia({ name: 'routes.conversations' })
    .use(authenticated)
    .post('/conversations', async ({ body, status }) => status(201, await conversations.create(body)), {
      parse: jsonBody,
      body: NewConversation,
      response: { 201: ConversationResource },
      detail: describe({
        tag,
        summary: 'Begin a conversation',
        description: 'Without a title it gets one from its first message.',
        answers: { 201: one },
        errors: bodyErrors,
      }),
    })
    .get('/conversations', ({ query }) => conversations.list(query), {
      query: PageQuery,
      response: { 200: Conversations },
      detail: describe({
        tag,
        summary: 'List my conversations, newest first',
        answers: {
          200: {
            description: 'One page',
            schema: Conversations,
            example: { items: [conversation], next_cursor: null },
          },
        },
        errors: ['invalid_request'],
      }),
    })
    .get('/conversations/:id', ({ params }) => conversations.get(params.id), {
      params: IdParams,
      response: { 200: ConversationResource },
      detail: describe({ tag, summary: 'One conversation', answers: { 200: one }, errors: ['not_found'] }),
    })
    .patch('/conversations/:id', ({ params, body }) => conversations.rename(params.id, body.title), {
      params: IdParams,
      parse: jsonBody,
      body: RenamedConversation,
      response: { 200: ConversationResource },
      detail: describe({
        tag,
        summary: 'Rename a conversation',
        answers: { 200: one },
        errors: ['not_found', ...bodyErrors],
      }),
    })
    .delete('/conversations/:id', ({ params }) => noContent(conversations.remove(params.id)), {
      params: IdParams,
      parse: 'none',
      response: { 204: Type.Void() },
      detail: describe({
        tag,
        summary: 'Delete a conversation with its messages',
        answers: { 204: { description: 'Deleted' } },
        errors: ['not_found'],
      }),
    })
    .get(
      '/conversations/:id/summary',
      ({ params, request, server }) => {
        waitWithoutLimit(request, server);
        return conversations.summary(params.id);
      },
      {
        params: IdParams,
        response: { 200: ConversationSummary },
        detail: describe({
          tag,
          summary: 'What a conversation came to',
          description:
            'Kept, and brought up to date when messages came since, by the installation’s model, with the user’s own key where there is one; without a model it is made of sentences of the conversation. Where that fails, the one from before is told: `up_to_message_id` says how far it goes, `messages_since` what is not in it. An answer in a long conversation is told the summary of what its model cannot read any more.',
          answers: {
            200: { description: 'The summary', schema: ConversationSummary, example: conversationSummary },
          },
          errors: ['not_found', 'conflict', 'quota_exceeded', 'provider_unavailable'],
        }),
      },
    )
    .get('/conversations/:id/messages', ({ params, query }) => conversations.messages(params.id, query), {
      params: IdParams,
      query: PageQuery,
      response: { 200: Messages },
      detail: describe({
        tag,
        summary: 'The messages of a conversation',
        answers: {
          200: { description: 'One page', schema: Messages, example: { items: [message], next_cursor: null } },
        },
        errors: ['not_found', 'invalid_request'],
      }),
    });
}
