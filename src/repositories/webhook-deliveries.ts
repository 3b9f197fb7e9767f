/**
 * Sending webhooks for all tenants, as `dreamhub_system`. A delivery: pending → delivered, or failed. Each attempt takes the
 * next number and moves `next_at` to when it counts as lost; its result is written only under that number.
 */
import type { Sql } from '../db/database.ts';

export interface EventToDeliver {
  tenantId: string;
  id: string;
  type: string;
  /** The body. */
  payload: string;
}

/**
 * A delivery for each webhook that wants an event; one that is there already stays as it is. Locks the webhooks: one that
 * is deactivated at this moment either gets none or gives them up with the others.
 */
export async function insertDeliveries(sql: Sql, events: readonly EventToDeliver[]): Promise<void> {
  await sql`
    insert into webhook_deliveries (tenant_id, webhook_id, event_id, event_type, payload)
    select e.tenant_id, w.id, e.id, e.type, e.payload
    from unnest(${events.map(({ tenantId }) => tenantId)}::uuid[], ${events.map(({ id }) => id)}::uuid[],
      ${events.map(({ type }) => type)}::text[], ${events.map(({ payload }) => payload)}::text[])
      with ordinality e(tenant_id, id, type, payload, n)
    join webhooks w on w.tenant_id = e.tenant_id and w.active and (w.event_types = '{}' or e.type = any(w.event_types))
    order by e.n for share of w
    on conflict (tenant_id, webhook_id, event_id) do nothing`;
}

export interface ClaimedDelivery {
  tenantId: string;
  id: string;
  webhookId: string;
  eventId: string;
  payload: string;
  attempt: number;
  url: string;
  secret: Uint8Array;
  /** False for a secret from before they were. */
  sealed: boolean;
}

export interface DeliveryClaim {
  at: Date;
  /** After which an attempt that says nothing counts as lost. */
  leaseMs: number;
  limit: number;
  /** The most of one tenant, so that its slow receivers hold up itself alone. */
  perTenant: number;
  /** Tenants that have as many as they may. */
  without: readonly string[];
  /** What tenants have had of late, in any unit: who has had less comes first. Those that are not named have had nothing. */
  used: ReadonlyMap<string, number>;
}

/** Starts attempts at what is due: of the tenants that have had least, and of those with as much, what is due for longest. */
export async function claimDeliveries(sql: Sql, claim: DeliveryClaim): Promise<ClaimedDelivery[]> {
  return sql<ClaimedDelivery[]>`
    with due as (
      select tenant_id, id, row_number() over (partition by tenant_id order by next_at, id) as n, next_at
      from webhook_deliveries
      where status = 'pending' and next_at <= ${claim.at} and tenant_id <> all(${[...claim.without]}::uuid[])
    ), taken as (
      select d.tenant_id, d.id from webhook_deliveries d
      join due on due.tenant_id = d.tenant_id and due.id = d.id
      left join unnest(${[...claim.used.keys()]}::uuid[], ${[...claim.used.values()]}::float8[]) u(tenant_id, had)
        on u.tenant_id = d.tenant_id
      where due.n <= ${claim.perTenant} and d.status = 'pending' and d.next_at <= ${claim.at}
      order by coalesce(u.had, 0), due.next_at, due.id limit ${claim.limit} for update of d skip locked
    )
    update webhook_deliveries d set attempt = attempt + 1,
      next_at = ${claim.at}::timestamptz + ${claim.leaseMs} * interval '1 millisecond'
    from taken join webhooks w on w.tenant_id = taken.tenant_id
    where d.tenant_id = taken.tenant_id and d.id = taken.id and w.id = d.webhook_id and w.active
    returning d.tenant_id as "tenantId", d.id, d.webhook_id as "webhookId", d.event_id as "eventId", d.payload, d.attempt,
      w.url, w.secret, w.sealed`;
}

type Attempt = Pick<ClaimedDelivery, 'tenantId' | 'id' | 'attempt'>;

export interface AttemptResult {
  /** HTTP status of the answer; null where there was none. */
  status: number | null;
  error: string | null;
}

/** The last attempt has been made; does nothing where another one has begun since. */
export async function endDelivery(
  sql: Sql,
  { tenantId, id, attempt }: Attempt,
  end: AttemptResult & { outcome: 'delivered' | 'failed'; at: Date },
): Promise<void> {
  await sql`
    update webhook_deliveries set status = ${end.outcome}, finished_at = ${end.at}, last_status = ${end.status},
      last_error = ${end.error}
    where tenant_id = ${tenantId} and id = ${id} and attempt = ${attempt} and status = 'pending'`;
}

/** To be tried again at `at`; does nothing where another attempt has begun since. */
export async function postponeDelivery(
  sql: Sql,
  { tenantId, id, attempt }: Attempt,
  next: AttemptResult & { at: Date },
): Promise<void> {
  await sql`
    update webhook_deliveries set next_at = ${next.at}, last_status = ${next.status}, last_error = ${next.error}
    where tenant_id = ${tenantId} and id = ${id} and attempt = ${attempt} and status = 'pending'`;
}

/** An attempt that this process broke off itself was none. */
export async function handBackDelivery(sql: Sql, { tenantId, id, attempt }: Attempt, at: Date): Promise<void> {
  await sql`
    update webhook_deliveries set attempt = attempt - 1, next_at = ${at}
    where tenant_id = ${tenantId} and id = ${id} and attempt = ${attempt} and status = 'pending'`;
}

/** Puts a secret, sealed anew, in the place of what it was; unless somebody else has done so. */
export async function resealSecret(
  sql: Sql,
  { tenantId, webhookId, secret }: Pick<ClaimedDelivery, 'tenantId' | 'webhookId' | 'secret'>,
  sealed: Uint8Array,
): Promise<void> {
  await sql`
    update webhooks set secret = ${sealed}, sealed = true
    where tenant_id = ${tenantId} and id = ${webhookId} and secret = ${secret}`;
}

/** Sends nothing more to a webhook, and gives up what waits for it. */
export async function deactivateWebhook(
  sql: Sql,
  webhook: Pick<ClaimedDelivery, 'tenantId' | 'webhookId'>,
  { reason, at }: { reason: string; at: Date },
): Promise<void> {
  await sql`
    update webhooks set active = false, deactivated_reason = ${reason}
    where tenant_id = ${webhook.tenantId} and id = ${webhook.webhookId}`;
  await sql`
    update webhook_deliveries set status = 'failed', finished_at = ${at}, last_error = ${reason}
    where tenant_id = ${webhook.tenantId} and webhook_id = ${webhook.webhookId} and status = 'pending'`;
}

/** Forgets what ended before; at most so many at once. */
export async function pruneDeliveries(sql: Sql, before: Date, limit: number): Promise<number> {
  const rows = await sql`
    delete from webhook_deliveries where (tenant_id, id) in (
      select tenant_id, id from webhook_deliveries where finished_at < ${before} order by finished_at limit ${limit})
    returning id`;
  return rows.length;
}
