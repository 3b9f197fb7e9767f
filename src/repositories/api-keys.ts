/** API keys by the hash of their text. */
import type { ApiKeyResource, KeyScope, Role } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

type Row = Omit<ApiKeyResource, 'created_at' | 'expires_at' | 'last_used_at'> & {
  created_at: Date;
  expires_at: Date | null;
  last_used_at: Date | null;
};

const columns = (sql: Sql) => sql`id, name, prefix, scopes, created_at, expires_at, last_used_at`;

const toResource = (row: Row): ApiKeyResource => ({
  ...row,
  created_at: row.created_at.toISOString(),
  expires_at: row.expires_at?.toISOString() ?? null,
  last_used_at: row.last_used_at?.toISOString() ?? null,
});

export interface NewKey {
  id: string;
  name: string;
  prefix: string;
  /** 32 bytes. */
  hash: Uint8Array;
  scopes: readonly KeyScope[];
  createdAt: Date;
  expiresAt: Date | null;
}

/** Of the ambient user, whose membership is locked (`lockRoles`); undefined where there are `most` already. */
export async function insertApiKey(sql: Sql, key: NewKey, most: number): Promise<ApiKeyResource | undefined> {
  const [row] = await sql<Row[]>`
    insert into api_keys (id, name, prefix, key_hash, scopes, created_at, expires_at)
    select ${key.id}, ${key.name}, ${key.prefix}, ${key.hash}, ${[...key.scopes]}::text[], ${key.createdAt}, ${key.expiresAt}
    where (select count(*) from api_keys where tenant_id = current_setting('app.tenant_id')::uuid
      and user_id = current_setting('app.user_id')::uuid) < ${most}
    returning ${columns(sql)}`;
  return row && toResource(row);
}

/** The ambient user's, oldest first. */
export async function listApiKeys(
  sql: Sql,
  page: { limit: number; after?: string | undefined },
): Promise<ApiKeyResource[]> {
  const rows = await sql<Row[]>`
    select ${columns(sql)} from api_keys
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      ${page.after === undefined ? sql`` : sql`and id > ${page.after}`}
    order by id limit ${page.limit}`;
  return rows.map(toResource);
}

/** The ambient user's; false where there is none. */
export async function deleteApiKey(sql: Sql, id: string): Promise<boolean> {
  const rows = await sql`
    delete from api_keys where tenant_id = current_setting('app.tenant_id')::uuid
      and user_id = current_setting('app.user_id')::uuid and id = ${id} returning 1`;
  return rows.length > 0;
}

export interface StandingKey {
  id: string;
  tenantId: string;
  userId: string;
  hash: Uint8Array;
  scopes: KeyScope[];
  expiresAt: Date | null;
  lastUsedAt: Date | null;
  /** What its user is at this moment. */
  role: Role;
}

/** By its hash or by its id; undefined where key or membership is gone. Runs as `dreamhub_system`. */
export async function findStandingKey(
  sql: Sql,
  key: { hash: Uint8Array } | { id: string; tenantId: string },
): Promise<StandingKey | undefined> {
  const [row] = await sql<StandingKey[]>`
    select k.id, k.tenant_id as "tenantId", k.user_id as "userId", k.key_hash as hash, k.scopes,
      k.expires_at as "expiresAt", k.last_used_at as "lastUsedAt", m.role
    from api_keys k join memberships m on m.tenant_id = k.tenant_id and m.user_id = k.user_id
    where ${'hash' in key ? sql`k.key_hash = ${key.hash}` : sql`k.tenant_id = ${key.tenantId} and k.id = ${key.id}`}`;
  return row;
}

/** Unless that was done after `before` already. Runs as `dreamhub_system`. */
export async function touchApiKey(
  sql: Sql,
  key: { tenantId: string; id: string },
  at: Date,
  before: Date,
): Promise<void> {
  await sql`
    update api_keys set last_used_at = ${at} where tenant_id = ${key.tenantId} and id = ${key.id}
      and (last_used_at is null or last_used_at < ${before})`;
}
