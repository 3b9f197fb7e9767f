/** Webhooks as the REST API shows them. What they are sent is in `domain-events.ts`. */
import { type Static, Type } from '@sinclair/typebox';
import { DOMAIN_EVENT_TYPES } from './domain-events.ts';
import { Id, Nullable, Timestamp } from './resources.ts';

const EventType = Type.Unsafe<(typeof DOMAIN_EVENT_TYPES)[number]>({ type: 'string', enum: [...DOMAIN_EVENT_TYPES] });

export const WebhookResource = Type.Object({
  id: Id,
  url: Type.String(),
  events: Type.Array(EventType, { description: 'Empty: all' }),
  active: Type.Boolean({ description: 'False once its address has answered 410: nothing is sent there any more' }),
  deactivated_reason: Nullable(Type.String()),
  created_at: Timestamp,
});
export type WebhookResource = Static<typeof WebhookResource>;

export const NewWebhook = Type.Composite([
  WebhookResource,
  Type.Object({ secret: Type.String({ description: 'Verifies what is sent; shown this once' }) }),
]);
export type NewWebhook = Static<typeof NewWebhook>;

export const WebhookRequest = Type.Object(
  {
    url: Type.String({ minLength: 8, maxLength: 2_000, description: 'Where events are posted to, by HTTP or HTTPS' }),
    events: Type.Optional(
      Type.Array(EventType, { maxItems: DOMAIN_EVENT_TYPES.length, description: 'Absent or empty: all' }),
    ),
  },
  { example: { url: 'https://hooks.example.com/dreamhub', events: ['document.ready', 'document.failed'] } },
);
export type WebhookRequest = Static<typeof WebhookRequest>;

export const DELIVERY_STATUSES = ['pending', 'delivered', 'failed'] as const;

export const WebhookDelivery = Type.Object({
  id: Id,
  event_id: Type.String({ format: 'uuid', description: '`webhook-id` of the request' }),
  type: EventType,
  status: Type.Unsafe<(typeof DELIVERY_STATUSES)[number]>({ type: 'string', enum: [...DELIVERY_STATUSES] }),
  attempts: Type.Integer(),
  next_attempt_at: Nullable(Timestamp),
  last_status: Nullable(Type.Integer({ description: 'HTTP status of the last answer' })),
  last_error: Nullable(Type.String({ description: 'Why the last attempt failed' })),
  created_at: Timestamp,
  finished_at: Nullable(Timestamp),
});
export type WebhookDelivery = Static<typeof WebhookDelivery>;
