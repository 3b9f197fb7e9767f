/** Invitations into a tenant, by the hash of their token. */
import type { Role } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

export interface NewInvitation {
  id: string;
  email: string;
  role: Role;
  /** 32 bytes. */
  tokenHash: Uint8Array;
  createdAt: Date;
  expiresAt: Date;
}

/** In the place of an earlier one for the same e-mail, whose id it keeps and whose token is worth nothing any more. */
export async function putInvitation(sql: Sql, invitation: NewInvitation): Promise<{ id: string }> {
  const { id, email, role, tokenHash, createdAt, expiresAt } = invitation;
  const [row] = await sql<{ id: string }[]>`
    insert into invitations (id, email, role, token_hash, created_at, expires_at)
    values (${id}, ${email}, ${role}, ${tokenHash}, ${createdAt}, ${expiresAt})
    on conflict (tenant_id, lower(email)) do update set role = ${role}, token_hash = ${tokenHash},
      invited_by = current_setting('app.user_id')::uuid, created_at = ${createdAt}, expires_at = ${expiresAt}
    returning id`;
  if (!row) throw new Error('an insert returned no row');
  return row;
}

export interface InvitationSurvey {
  /** Of all e-mails. */
  count: number;
  /** Of the invitation for this e-mail. */
  role: Role | null;
  /** The e-mail is a member's. */
  isMember: boolean;
  /** The tenant's name. */
  tenant: string;
}

/** What is there already for somebody who is to be invited. */
export async function surveyInvitations(sql: Sql, email: string): Promise<InvitationSurvey> {
  const [row] = await sql<InvitationSurvey[]>`
    select t.name as tenant,
      (select count(*) from invitations where tenant_id = t.id) as count,
      (select role from invitations where tenant_id = t.id and lower(email) = lower(${email})) as role,
      exists (select from accounts
        where tenant_id = t.id and lower(email) = lower(${email}) and removed_at is null) as "isMember"
    from tenants t where t.id = current_setting('app.tenant_id')::uuid`;
  if (!row) throw new Error('there is no such tenant');
  return row;
}

/** Its role, held until the transaction ends; undefined where it is not there. */
export async function lockInvitation(sql: Sql, id: string): Promise<Role | undefined> {
  const [row] = await sql<{ role: Role }[]>`
    select role from invitations where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} for update`;
  return row?.role;
}

/** Who accepts it becomes this. */
export async function updateInvitedRole(sql: Sql, id: string, role: Role): Promise<void> {
  await sql`
    update invitations set role = ${role} where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

/** Its token opens nothing any more. */
export async function deleteInvitation(sql: Sql, id: string): Promise<void> {
  await sql`delete from invitations where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

/** What somebody has asked in who may no longer make such invitations. */
export async function deleteInvitationsBy(sql: Sql, userId: string, roles: readonly Role[]): Promise<void> {
  await sql`
    delete from invitations where tenant_id = current_setting('app.tenant_id')::uuid and invited_by = ${userId}
      and role = any(${[...roles]}::text[])`;
}

export interface Invitation {
  id: string;
  tenantId: string;
  tenantName: string;
  email: string;
  role: Role;
}

/** What fits together: token, tenant and e-mail, and has not expired. One query, whatever is wrong. As `dreamhub_system`. */
export async function findInvitation(
  sql: Sql,
  presented: { tokenHash: Uint8Array; tenant: string; email: string; at: Date },
): Promise<Invitation | undefined> {
  const [row] = await sql<Invitation[]>`
    select i.id, i.tenant_id as "tenantId", t.name as "tenantName", i.email, i.role
    from invitations i join tenants t on t.id = i.tenant_id
    where i.token_hash = ${presented.tokenHash} and lower(i.email) = lower(${presented.email})
      and lower(t.name) = lower(${presented.tenant}) and i.expires_at > ${presented.at}`;
  return row;
}

/** Takes it away, for one caller only; undefined where another was first. As `dreamhub_system`. */
export async function takeInvitation(
  sql: Sql,
  tokenHash: Uint8Array,
  at: Date,
): Promise<{ role: Role; email: string } | undefined> {
  const [row] = await sql<{ role: Role; email: string }[]>`
    delete from invitations where token_hash = ${tokenHash} and expires_at > ${at} returning role, email`;
  return row;
}
