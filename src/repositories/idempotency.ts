/** Requests with an `Idempotency-Key`, of the ambient user. Times are the database's. */
import type { Sql } from '../db/database.ts';

export interface KeyedRequest {
  /** SHA-256. */
  keyHash: Uint8Array;
  /** Method, path and query. */
  target: string;
  /** SHA-256; null where it is known only when the body has been read. */
  bodyHash: Uint8Array | null;
}

export interface KeyedAnswer {
  target: string;
  bodyHash: Uint8Array | null;
  /** Null while it runs. */
  status: number | null;
  answer: Uint8Array | null;
}

/**
 * Makes the request this attempt's: one that is new, has expired, or was the same and is run by nobody any more. False for
 * any other.
 */
export async function claimKey(
  sql: Sql,
  { keyHash, target, bodyHash }: KeyedRequest,
  { attempt, leaseMs }: { attempt: string; leaseMs: number },
): Promise<boolean> {
  const rows = await sql`
    insert into idempotency_keys as k (key_hash, target, body_hash, attempt, leased_until)
    values (${keyHash}, ${target}, ${bodyHash}, ${attempt}, now() + ${leaseMs} * interval '1 millisecond')
    on conflict (tenant_id, user_id, key_hash) do update set target = excluded.target, body_hash = excluded.body_hash,
      attempt = excluded.attempt, leased_until = excluded.leased_until, status = null, answer = null, created_at = now()
    where k.created_at < now() - interval '24 hours'
      or (k.leased_until < now() and k.target = excluded.target
        and coalesce(k.body_hash = excluded.body_hash, true))
    returning 1`;
  return rows.length > 0;
}

/** What is kept under the ambient user's key, of an attempt that still runs too; undefined where nothing is. */
export async function getKey(sql: Sql, keyHash: Uint8Array): Promise<KeyedAnswer | undefined> {
  const [row] = await sql<KeyedAnswer[]>`
    select target, body_hash as "bodyHash", status, answer from idempotency_keys
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      and key_hash = ${keyHash}`;
  return row;
}

/** Says that the attempt still runs. */
export async function renewKey(
  sql: Sql,
  keyHash: Uint8Array,
  lease: { attempt: string; leaseMs: number },
): Promise<void> {
  await sql`
    update idempotency_keys set leased_until = now() + ${lease.leaseMs} * interval '1 millisecond'
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      and key_hash = ${keyHash} and attempt = ${lease.attempt} and status is null`;
}

/** Keeps the answer, unless another attempt has taken over. */
export async function answerKey(
  sql: Sql,
  keyHash: Uint8Array,
  answered: { attempt: string; bodyHash: Uint8Array; status: number; answer: Uint8Array },
): Promise<void> {
  await sql`
    update idempotency_keys set status = ${answered.status}, answer = ${answered.answer}, body_hash = ${answered.bodyHash},
      leased_until = null
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      and key_hash = ${keyHash} and attempt = ${answered.attempt} and status is null`;
}

/** Forgets a request that had no effect, unless another attempt has taken over. */
export async function releaseKey(sql: Sql, keyHash: Uint8Array, attempt: string): Promise<void> {
  await sql`
    delete from idempotency_keys
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      and key_hash = ${keyHash} and attempt = ${attempt} and status is null`;
}

/** As `dreamhub_system`: forgets what has expired, of all tenants; resolves to how many rows that were. */
export async function sweepKeys(sql: Sql, limit: number): Promise<number> {
  const rows = await sql`
    delete from idempotency_keys where (tenant_id, user_id, key_hash) in (
      select tenant_id, user_id, key_hash from idempotency_keys
      where created_at < now() - interval '24 hours' order by created_at limit ${limit})
    returning tenant_id`;
  return rows.length;
}
