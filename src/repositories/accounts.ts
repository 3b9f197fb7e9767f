/**
 * Tenants and accounts. They are looked up before any tenant is known, so most of this runs as `dreamhub_system` and names
 * the tenant itself: registration makes it, a login finds it.
 */
import type { Sql } from '../db/database.ts';

export interface NewTenant {
  id: string;
  name: string;
}

/** False where the name, in any case, is taken; waits for another that is taking it at this moment. */
export async function insertTenant(sql: Sql, { id, name }: NewTenant): Promise<boolean> {
  const rows = await sql`
    insert into tenants (id, name) values (${id}, ${name}) on conflict (lower(name)) do nothing returning 1`;
  return rows.length > 0;
}

/** The counter that admits the tenant's uploads. */
export async function insertTenantLoad(sql: Sql, tenantId: string): Promise<void> {
  await sql`insert into tenant_load (tenant_id) values (${tenantId})`;
}

export interface NewAccount {
  id: string;
  tenantId: string;
  email: string;
  passwordHash: string;
}

/** Fails with a unique violation where the tenant has the e-mail already. */
export async function insertAccount(sql: Sql, { id, tenantId, email, passwordHash }: NewAccount): Promise<void> {
  await sql`
    insert into accounts (id, tenant_id, email, password_hash) values (${id}, ${tenantId}, ${email}, ${passwordHash})`;
}

export interface AccountCandidate {
  userId: string;
  tenantId: string;
  passwordHash: string;
}

/** Accounts that an e-mail may mean, oldest first; in the tenant of that name alone where one is given. */
export async function findAccounts(
  sql: Sql,
  { email, tenant, limit }: { email: string; tenant: string | undefined; limit: number },
): Promise<AccountCandidate[]> {
  return sql<AccountCandidate[]>`
    select a.id as "userId", a.tenant_id as "tenantId", a.password_hash as "passwordHash"
    from accounts a join tenants t on t.id = a.tenant_id
    where lower(a.email) = lower(${email}) and a.removed_at is null ${tenant === undefined ? sql`` : sql`and lower(t.name) = lower(${tenant})`}
    order by a.created_at, a.id limit ${limit}`;
}

export interface Profile {
  userId: string;
  email: string;
  tenantId: string;
  tenantName: string;
}

/** The account of the running scope with its tenant; undefined where it is gone. */
export async function getProfile(sql: Sql): Promise<Profile | undefined> {
  const [row] = await sql<Profile[]>`
    select a.id as "userId", a.email, t.id as "tenantId", t.name as "tenantName"
    from accounts a join tenants t on t.id = a.tenant_id
    where a.tenant_id = current_setting('app.tenant_id')::uuid and a.id = current_setting('app.user_id')::uuid`;
  return row;
}

/** Nobody logs in to it any more, and its e-mail is free; the row says whose documents are. Runs as `dreamhub_system`. */
export async function removeAccount(sql: Sql, account: { tenantId: string; userId: string }, at: Date): Promise<void> {
  await sql`
    update accounts set removed_at = ${at}, password_hash = '' where tenant_id = ${account.tenantId} and id = ${account.userId}`;
}
