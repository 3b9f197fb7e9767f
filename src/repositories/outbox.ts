/**
 * The outbox. A change and its event are written in one transaction, in the tenant's scope; the relay's functions below
 * serve all tenants as `dreamhub_system`, and are told which one.
 */
import type { DomainEventData, DomainEventType } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

/** Writes an event into the transaction of the change that it tells of. */
export async function appendOutbox<T extends DomainEventType>(
  sql: Sql,
  type: T,
  data: DomainEventData[T],
): Promise<void> {
  await sql`insert into outbox (type, data) values (${type}, ${sql.json(data as never)})`;
}

export interface OutboxRow {
  tenantId: string;
  seq: number;
  id: string;
  type: DomainEventType;
  data: DomainEventData[DomainEventType];
  occurredAt: Date;
}

/**
 * Takes tenants that have events and that no other relay is at, and returns each one's next events in order. Skips from
 * tenant to tenant through the key, however much of one is waiting.
 */
export async function claimOutbox(
  sql: Sql,
  claim: { holder: string; leaseMs: number; tenants: number; events: number },
): Promise<OutboxRow[]> {
  const claimed = await sql<{ tenantId: string }[]>`
    with recursive waiting(tenant_id) as (
      (select o.tenant_id from outbox o order by o.tenant_id limit 1)
      union all
      select (select o.tenant_id from outbox o where o.tenant_id > w.tenant_id order by o.tenant_id limit 1)
      from waiting w where w.tenant_id is not null
    ), free as (
      select w.tenant_id from waiting w where w.tenant_id is not null and not exists (
        select from outbox_leases l where l.tenant_id = w.tenant_id and l.leased_until > now())
      limit ${claim.tenants}
    )
    insert into outbox_leases as l (tenant_id, holder, leased_until)
    select tenant_id, ${claim.holder}, now() + ${claim.leaseMs} * interval '1 millisecond' from free order by tenant_id
    on conflict (tenant_id) do update set holder = excluded.holder, leased_until = excluded.leased_until
      where l.leased_until < now()
    returning l.tenant_id as "tenantId"`;
  if (claimed.length === 0) return [];
  // A statement of its own: it sees what the relay that held a tenant before has deleted.
  const rows = await sql<OutboxRow[]>`
    select o.tenant_id as "tenantId", o.seq, o.id, o.type, o.data, o.occurred_at as "occurredAt"
    from unnest(${claimed.map(({ tenantId }) => tenantId)}::uuid[]) c(tenant_id) cross join lateral (
      select * from outbox where tenant_id = c.tenant_id order by seq limit ${claim.events}) o
    order by o.tenant_id, o.seq`;
  if (rows.length === 0) await releaseOutbox(sql, claim.holder);
  return rows;
}

/** Deletes what was published, however long ago the lease ended: it was published. */
export async function deletePublished(sql: Sql, rows: readonly Pick<OutboxRow, 'tenantId' | 'seq'>[]): Promise<void> {
  await sql`
    delete from outbox o
    using unnest(${rows.map(({ tenantId }) => tenantId)}::uuid[], ${rows.map(({ seq }) => seq)}::bigint[]) p(tenant_id, seq)
    where o.tenant_id = p.tenant_id and o.seq = p.seq`;
}

/**
 * Gives back the tenants that this relay still has. Those that could not be published to are not taken again before
 * `retryMs`, so that they don't keep the others waiting.
 */
export async function releaseOutbox(
  sql: Sql,
  holder: string,
  failed: { tenantIds: readonly string[]; retryMs: number } = { tenantIds: [], retryMs: 0 },
): Promise<void> {
  const tenantIds = [...failed.tenantIds];
  if (tenantIds.length > 0) {
    await sql`
      update outbox_leases set leased_until = now() + ${failed.retryMs} * interval '1 millisecond'
      where holder = ${holder} and tenant_id = any(${tenantIds}::uuid[])`;
  }
  await sql`delete from outbox_leases where holder = ${holder} and tenant_id <> all(${tenantIds}::uuid[])`;
}
