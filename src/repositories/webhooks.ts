import type { NewWebhook, WebhookDelivery, WebhookResource } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

type WebhookRow = Omit<WebhookResource, 'created_at'> & { created_at: Date };

const columns = (sql: Sql) => sql`id, url, event_types as events, active, deactivated_reason, created_at`;
const toResource = (row: WebhookRow): WebhookResource => ({ ...row, created_at: row.created_at.toISOString() });

/** `secret` is sealed. Undefined where the tenant has `most` already. */
export async function insertWebhook(
  sql: Sql,
  webhook: Pick<NewWebhook, 'id' | 'url' | 'events'> & { secret: Uint8Array },
  most: number,
): Promise<WebhookResource | undefined> {
  const [row] = await sql<WebhookRow[]>`
    insert into webhooks (id, url, secret, sealed, event_types)
    select ${webhook.id}, ${webhook.url}, ${webhook.secret}, true, ${webhook.events}::text[]
    where (select count(*) from webhooks where tenant_id = current_setting('app.tenant_id')::uuid) < ${most}
    returning ${columns(sql)}`;
  return row && toResource(row);
}

/** Oldest first. */
export async function listWebhooks(
  sql: Sql,
  page: { limit: number; after?: string | undefined },
): Promise<WebhookResource[]> {
  const rows = await sql<WebhookRow[]>`
    select ${columns(sql)} from webhooks where tenant_id = current_setting('app.tenant_id')::uuid
      ${page.after === undefined ? sql`` : sql`and id > ${page.after}`}
    order by id limit ${page.limit}`;
  return rows.map(toResource);
}

/** In the ambient tenant. */
export async function webhookExists(sql: Sql, id: string): Promise<boolean> {
  const rows = await sql`
    select 1 from webhooks where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return rows.length > 0;
}

/** With all its deliveries; false where there is none. */
export async function deleteWebhook(sql: Sql, id: string): Promise<boolean> {
  const rows = await sql`
    delete from webhooks where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} returning id`;
  return rows.length > 0;
}

type DeliveryRow = Omit<WebhookDelivery, 'next_attempt_at' | 'created_at' | 'finished_at'> & {
  next_attempt_at: Date | null;
  created_at: Date;
  finished_at: Date | null;
};

/** Newest first. */
export async function listDeliveries(
  sql: Sql,
  webhookId: string,
  page: { limit: number; after?: string | undefined },
): Promise<WebhookDelivery[]> {
  const rows = await sql<DeliveryRow[]>`
    select id, event_id, event_type as type, status, attempt as attempts,
      case when status = 'pending' then next_at end as next_attempt_at, last_status, last_error, created_at, finished_at
    from webhook_deliveries
    where tenant_id = current_setting('app.tenant_id')::uuid and webhook_id = ${webhookId}
      ${page.after === undefined ? sql`` : sql`and id < ${page.after}`}
    order by id desc limit ${page.limit}`;
  return rows.map((row) => ({
    ...row,
    next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
    finished_at: row.finished_at?.toISOString() ?? null,
  }));
}
