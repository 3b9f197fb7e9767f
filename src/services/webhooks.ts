/** Where a tenant's events are sent; `webhook-sender.ts` sends them. */
import { randomBytes } from 'node:crypto';
import type {
  NewWebhook,
  Page,
  PageRequest,
  WebhookDelivery,
  WebhookRequest,
  WebhookResource,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Sealer } from '../kernel/sealing.ts';
import { deleteWebhook, insertWebhook, listDeliveries, listWebhooks, webhookExists } from '../repositories/webhooks.ts';
import { idCursor, toPage } from './paging.ts';
import { NotSent, type WebhookRequests } from './webhook-request.ts';
import { printedSecret, secretContext } from './webhook-signature.ts';

export interface Webhooks {
  /** The secret is in this answer and in no other. */
  create(request: WebhookRequest): Promise<NewWebhook>;
  list(page: PageRequest): Promise<Page<WebhookResource>>;
  remove(id: string): Promise<void>;
  deliveries(id: string, page: PageRequest): Promise<Page<WebhookDelivery>>;
}

export interface WebhooksOptions {
  database: Database;
  requests: Pick<WebhookRequests, 'assertAllowed'>;
  /** Of webhook secrets. */
  sealer: Sealer;
  ids: Ids;
}

const MOST_WEBHOOKS = 20;
const SECRET_BYTES = 32;

const notFound = () => new AppError('not_found', 'There is no such webhook.');

export function createWebhooks({ database, requests, sealer, ids }: WebhooksOptions): Webhooks {
  async function assertUsable(url: string): Promise<void> {
    try {
      await requests.assertAllowed(url);
    } catch (error) {
      if (!(error instanceof NotSent)) throw error;
      throw new AppError('invalid_request', 'Nothing can be sent to this address.', {
        errors: [{ path: '/url', message: error.message }],
      });
    }
  }

  return {
    async create({ url, events = [] }) {
      await assertUsable(url);
      const secret = randomBytes(SECRET_BYTES);
      const id = ids.uuid();
      const sealed = sealer.seal(secret, secretContext(currentScope().tenantId, id));
      const row = { id, url, events: [...new Set(events)], secret: sealed };
      const made = await database.tenant((sql) => insertWebhook(sql, row, MOST_WEBHOOKS));
      if (!made) throw new AppError('conflict', `A tenant has at most ${MOST_WEBHOOKS} webhooks.`);
      return { ...made, secret: printedSecret(secret) };
    },

    async list({ limit, cursor }) {
      const rows = await database.tenant((sql) => listWebhooks(sql, { limit: limit + 1, after: idCursor(cursor) }));
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => row });
    },

    async remove(id) {
      if (!(await database.tenant((sql) => deleteWebhook(sql, id)))) throw notFound();
    },

    async deliveries(id, { limit, cursor }) {
      const rows = await database.tenant(async (sql) => {
        if (!(await webhookExists(sql, id))) throw notFound();
        return listDeliveries(sql, id, { limit: limit + 1, after: idCursor(cursor) });
      });
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => row });
    },
  };
}
