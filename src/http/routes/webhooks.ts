/** For owners and admins: events tell of private documents too, by name. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { NewWebhook, PageOf, WebhookDelivery, WebhookRequest, WebhookResource } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { delivery, webhook } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { authenticated } from '../plugins/auth.ts';
import type { WebhooksPort } from '../ports.ts';
import { noContent } from '../responses.ts';

const tag = 'webhooks';
const List = PageOf(WebhookResource);
const Deliveries = PageOf(WebhookDelivery);
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=';

export function createWebhookRoutes({ webhooks }: { webhooks: WebhooksPort }) {
  return new Elysia({ name: 'routes.webhooks' })
    .use(authenticated)
    .post('/webhooks', async ({ body, status }) => status(201, await webhooks.create(body)), {
      parse: jsonBody,
      body: WebhookRequest,
      response: { 201: NewWebhook },
      detail: describe({
        tag,
        summary: 'Have events posted to an address',
        description:
          'As `{v, id, type, tenant_id, occurred_at, data}`, signed by the Standard Webhooks convention (`webhook-id`, `webhook-timestamp`, `webhook-signature`). Each event comes at least once, perhaps out of order; it is tried again until the answer is 2xx, up to 14 times over about half a day. 410 ends the webhook.',
        answers: {
          201: { description: 'With its secret, shown this once', schema: NewWebhook, example: { ...webhook, secret } },
        },
        errors: [
          'malformed',
          'invalid_request',
          'payload_too_large',
          'unsupported_media_type',
          'forbidden',
          'conflict',
        ],
      }),
    })
    .get('/webhooks', ({ query }) => webhooks.list(query), {
      query: PageQuery,
      response: { 200: List },
      detail: describe({
        tag,
        summary: 'List webhooks, oldest first',
        answers: { 200: { description: 'One page', schema: List, example: { items: [webhook], next_cursor: null } } },
        errors: ['forbidden', 'invalid_request'],
      }),
    })
    .delete('/webhooks/:id', ({ params }) => noContent(webhooks.remove(params.id)), {
      params: IdParams,
      parse: 'none',
      response: { 204: Type.Void() },
      detail: describe({
        tag,
        summary: 'Delete a webhook',
        description: 'With what was not delivered yet.',
        answers: { 204: { description: 'Deleted' } },
        errors: ['not_found', 'forbidden'],
      }),
    })
    .get('/webhooks/:id/deliveries', ({ params, query }) => webhooks.deliveries(params.id, query), {
      params: IdParams,
      query: PageQuery,
      response: { 200: Deliveries },
      detail: describe({
        tag,
        summary: 'What became of the events, newest first',
        description: 'Kept for a week after the last attempt.',
        answers: {
          200: { description: 'One page', schema: Deliveries, example: { items: [delivery], next_cursor: null } },
        },
        errors: ['not_found', 'forbidden', 'invalid_request'],
      }),
    });
}
