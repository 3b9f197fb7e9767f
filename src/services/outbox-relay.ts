/**
 * Publishes what the outbox holds: each tenant's events in order, each at least once. A tenant's next events are claimed
 * under a lease, published outside of any transaction, and turned into deliveries to webhooks and deleted at once; a relay that dies in between leaves them to the next
 * one, which publishes them again. One relay at a time is at a tenant, so an event never overtakes an earlier one.
 *
 * Nothing is claimed while Redis is known to be away, and what could not be published stays where it is.
 */
import { DOMAIN_EVENT_VERSION, type DomainEvent } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import type { DomainEventStream } from '../queue/domain-event-stream.ts';
import { claimOutbox, deletePublished, type OutboxRow, releaseOutbox } from '../repositories/outbox.ts';
import { insertDeliveries } from '../repositories/webhook-deliveries.ts';

export interface OutboxRelay extends Service {
  /** One batch; returns how many events were published, and whether there may be more that could be. */
  relay(): Promise<{ published: number; more: boolean }>;
}

export interface OutboxRelayOptions {
  database: Database;
  stream: DomainEventStream;
  clock: Clock;
  ids: Ids;
  logger: Logger;
  everyMs?: number;
  /** Longer than publishing a batch may take. */
  leaseMs?: number;
  /** How long a tenant waits whose events Redis did not take. */
  retryMs?: number;
  tenantsAtOnce?: number;
  eventsAtOnce?: number;
}

function encode({ id, type, tenantId, occurredAt, data }: OutboxRow): string {
  const event: DomainEvent = {
    v: DOMAIN_EVENT_VERSION,
    id,
    type,
    tenant_id: tenantId,
    occurred_at: occurredAt.toISOString(),
    data,
  };
  return JSON.stringify(event);
}

export function createOutboxRelay(options: OutboxRelayOptions): OutboxRelay {
  const { database, stream, clock, ids, logger, everyMs = 1_000, leaseMs = 30_000 } = options;
  const { retryMs = 2_000, tenantsAtOnce = 50, eventsAtOnce = 100 } = options;

  /** The events of one tenant that were published: all or none. */
  async function publish(tenantId: string, rows: readonly OutboxRow[]): Promise<readonly OutboxRow[]> {
    try {
      await stream.append(tenantId, rows.map(encode));
      return rows;
    } catch (error) {
      logger.warn({ err: error, tenant_id: tenantId, events: rows.length }, `not published: ${messageOf(error)}`);
      return [];
    }
  }

  async function relay(): Promise<{ published: number; more: boolean }> {
    if (!stream.isReady()) return { published: 0, more: false };
    const holder = ids.uuid();
    const since = clock.now();
    const rows = await database.system((sql) =>
      claimOutbox(sql, { holder, leaseMs, tenants: tenantsAtOnce, events: eventsAtOnce }),
    );
    if (rows.length === 0) return { published: 0, more: false };
    // Whoever stood still for so long may have been taken over from, and would publish old events after newer ones.
    const isLate = clock.now() - since > leaseMs / 2;
    const tenants = isLate ? [] : [...Map.groupBy(rows, ({ tenantId }) => tenantId)];
    const published = (await Promise.all(tenants.map(([tenantId, own]) => publish(tenantId, own)))).flat();
    const done = new Set(published.map(({ tenantId }) => tenantId));
    const failed = tenants.map(([tenantId]) => tenantId).filter((tenantId) => !done.has(tenantId));
    await database.system(async (sql) => {
      if (published.length > 0) {
        await insertDeliveries(
          sql,
          published.map((row) => ({ ...row, payload: encode(row) })),
        );
        await deletePublished(sql, published);
      }
      await releaseOutbox(sql, holder, { tenantIds: failed, retryMs });
    });
    const full = tenants.length === tenantsAtOnce || tenants.some(([, own]) => own.length === eventsAtOnce);
    return { published: published.length, more: full && published.length > 0 };
  }

  const loop = createLoop({
    name: 'outbox-relay',
    everyMs,
    clock,
    logger,
    round: async () => (await relay()).more,
  });
  return { name: loop.name, start: loop.start, stop: loop.stop, relay };
}
