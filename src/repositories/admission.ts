/**
 * The limits that admission keeps, per tenant: its own setting, at most what the operator granted it, at most the
 * installation's. They are looked at in the statement that raises the counter, so no two uploads pass on one free place.
 */
import type { Sql } from '../db/database.ts';

/** The installation's, for tenants that nobody has granted others. */
export interface QueueLimits {
  /** Unfinished ingest tasks. */
  maxOutstanding: number;
  /** Bytes of their documents. */
  maxOutstandingBytes: number;
}

/** `least` passes nulls over: a tenant that has set nothing has what is granted. */
export const limitOf = (sql: Sql, limits: QueueLimits) =>
  sql`least(max_outstanding, coalesce(granted_outstanding, ${limits.maxOutstanding}::int))`;
export const byteLimitOf = (sql: Sql, limits: QueueLimits) =>
  sql`least(max_outstanding_bytes, coalesce(granted_outstanding_bytes, ${limits.maxOutstandingBytes}::bigint))`;

/** Condition on a row of `tenant_load`: one more task of so many bytes may be counted. */
export const hasRoom = (sql: Sql, size: number, limits: QueueLimits) => sql`
  outstanding < ${limitOf(sql, limits)} and outstanding_bytes + ${size}::bigint <= ${byteLimitOf(sql, limits)}`;

/** The most bytes that the tenant may have unfinished. */
export async function getByteLimit(sql: Sql, limits: QueueLimits): Promise<number> {
  const [row] = await sql<{ bytes: number }[]>`
    select ${byteLimitOf(sql, limits)} as bytes from tenant_load where tenant_id = current_setting('app.tenant_id')::uuid`;
  return row?.bytes ?? 0;
}
