/**
 * Refresh tokens by the hash of their text; all of one login are a family, which is the session. Everything that changes
 * a family holds its lock first, so that a token issued at the moment of a revocation cannot outlive it. Runs as
 * `dreamhub_system`: the token is what tells whose it is.
 */
import type { Role } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

export interface NewRefreshToken {
  hash: Uint8Array;
  familyId: string;
  tenantId: string;
  userId: string;
  createdAt: Date;
  expiresAt: Date;
}

export interface RefreshToken {
  familyId: string;
  tenantId: string;
  userId: string;
  expiresAt: Date;
  usedAt: Date | null;
  revokedAt: Date | null;
}

/** Held until the transaction ends. */
export async function lockFamily(sql: Sql, familyId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${familyId}::text, 0))`;
}

/** Of which family a token is; the family never changes, so no lock is needed to ask. */
export async function findFamily(sql: Sql, hash: Uint8Array): Promise<string | undefined> {
  const [row] = await sql<{ familyId: string }[]>`
    select family_id as "familyId" from refresh_tokens where token_hash = ${hash}`;
  return row?.familyId;
}

/** Spent and revoked ones too; `hash` is `hashOfToken` of it. */
export async function getRefreshToken(sql: Sql, hash: Uint8Array): Promise<RefreshToken | undefined> {
  const [row] = await sql<RefreshToken[]>`
    select family_id as "familyId", tenant_id as "tenantId", user_id as "userId", expires_at as "expiresAt",
      used_at as "usedAt", revoked_at as "revokedAt"
    from refresh_tokens where token_hash = ${hash}`;
  return row;
}

/** The next token of a family, or the first one. */
export async function insertRefreshToken(sql: Sql, token: NewRefreshToken): Promise<void> {
  await sql`
    insert into refresh_tokens (token_hash, family_id, tenant_id, user_id, created_at, expires_at)
    values (${token.hash}, ${token.familyId}, ${token.tenantId}, ${token.userId}, ${token.createdAt}, ${token.expiresAt})`;
}

/** It was used: another use of it is a theft. */
export async function spendRefreshToken(sql: Sql, hash: Uint8Array, at: Date): Promise<void> {
  await sql`update refresh_tokens set used_at = ${at} where token_hash = ${hash}`;
}

/** Spent tokens are kept for as long as their reuse would be told from a made-up one. */
export async function deleteExpiredOfFamily(sql: Sql, familyId: string, at: Date): Promise<void> {
  await sql`delete from refresh_tokens where family_id = ${familyId} and expires_at <= ${at}`;
}

/** Ends the session: none of its tokens is good for anything from `at` on. */
export async function revokeFamily(sql: Sql, familyId: string, at: Date): Promise<void> {
  await sql`update refresh_tokens set revoked_at = ${at} where family_id = ${familyId} and revoked_at is null`;
}

/** Ends all sessions of a user. */
export async function revokeFamiliesOf(
  sql: Sql,
  { tenantId, userId }: { tenantId: string; userId: string },
  at: Date,
): Promise<void> {
  await sql`
    update refresh_tokens set revoked_at = ${at}
    where tenant_id = ${tenantId} and user_id = ${userId} and revoked_at is null`;
}

/** What its user is in the tenant while the session lives; undefined where either is over. */
export async function roleOfSession(
  sql: Sql,
  { tenantId, userId, sessionId }: { tenantId: string; userId: string; sessionId: string },
): Promise<Role | undefined> {
  const [row] = await sql<{ role: Role }[]>`
    select role from memberships
    where tenant_id = ${tenantId} and user_id = ${userId} and exists (
      select from refresh_tokens where family_id = ${sessionId} and revoked_at is null)`;
  return row?.role;
}
