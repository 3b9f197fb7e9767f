/** Which role an account has in its tenant. */
import type { MemberResource, Role } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

/** Runs as `dreamhub_system`, which adds members and reads roles: registration makes the tenant and its owner at once. */
export async function insertMembership(
  sql: Sql,
  membership: { tenantId: string; userId: string; role: Role },
): Promise<void> {
  await sql`
    insert into memberships (tenant_id, user_id, role)
    values (${membership.tenantId}, ${membership.userId}, ${membership.role})`;
}

/** The role of the running scope's user; undefined where it was taken away. */
export async function getOwnRole(sql: Sql): Promise<Role | undefined> {
  const [row] = await sql<{ role: Role }[]>`
    select role from memberships
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid`;
  return row?.role;
}

/** Roles of these users as they are once nobody else is changing them; held until the transaction ends. */
export async function lockRoles(sql: Sql, userIds: readonly string[]): Promise<Map<string, Role>> {
  const rows = await sql<{ user_id: string; role: Role }[]>`
    select user_id, role from memberships
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = any(${[...userIds]}::uuid[])
    order by user_id for update`;
  return new Map(rows.map(({ user_id, role }) => [user_id, role]));
}

/** Everybody who is a member; `locked`: who stays so until the transaction ends. */
export async function listRoles(
  sql: Sql,
  { locked }: { locked: boolean } = { locked: false },
): Promise<{ id: string; role: Role }[]> {
  return sql<{ id: string; role: Role }[]>`
    select user_id as id, role from memberships where tenant_id = current_setting('app.tenant_id')::uuid
    order by user_id ${locked ? sql`for update` : sql``}`;
}

/** Fails with `isLastOwner` where it was the last owner's. */
export async function updateRole(sql: Sql, userId: string, role: Role): Promise<void> {
  await sql`
    update memberships set role = ${role}
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = ${userId}`;
}

/** With the keys and the invitations of that user. Fails with `isLastOwner` where it was the last owner's. */
export async function deleteMembership(sql: Sql, userId: string): Promise<void> {
  await sql`
    delete from memberships where tenant_id = current_setting('app.tenant_id')::uuid and user_id = ${userId}`;
}

/** The database refused to leave a tenant without an owner (`sql/0186_members.sql`). */
export function isLastOwner(error: unknown): boolean {
  return error instanceof Error && 'constraint_name' in error && error.constraint_name === 'memberships_keep_an_owner';
}

export type MemberRow = Omit<MemberResource, 'created_at' | 'last_seen_at' | 'expires_at'> & {
  created_at: Date;
  expires_at: Date | null;
};

/** Members and whoever is invited; in the order of their ids, which is that in which they were asked in. */
export async function listMembers(sql: Sql, page: { limit: number; after?: string | undefined }): Promise<MemberRow[]> {
  const after = page.after ?? '00000000-0000-0000-0000-000000000000';
  return sql<MemberRow[]>`
    select a.id, a.email, m.role, 'active' as status, m.created_at, null::timestamptz as expires_at
    from memberships m join accounts a on a.tenant_id = m.tenant_id and a.id = m.user_id
    where m.tenant_id = current_setting('app.tenant_id')::uuid and m.user_id > ${after}
    union all
    select id, email, role, 'invited', created_at, expires_at from invitations
    where tenant_id = current_setting('app.tenant_id')::uuid and id > ${after}
    order by id limit ${page.limit}`;
}

/** One of them; undefined where there is none of this id. */
export async function getMember(sql: Sql, id: string): Promise<MemberRow | undefined> {
  const [row] = await sql<MemberRow[]>`
    select a.id, a.email, m.role, 'active' as status, m.created_at, null::timestamptz as expires_at
    from memberships m join accounts a on a.tenant_id = m.tenant_id and a.id = m.user_id
    where m.tenant_id = current_setting('app.tenant_id')::uuid and m.user_id = ${id}
    union all
    select id, email, role, 'invited', created_at, expires_at from invitations
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row;
}

/** When each of these users last renewed a session or used a key. Runs as `dreamhub_system`, for one tenant. */
export async function lastSeen(sql: Sql, tenantId: string, userIds: readonly string[]): Promise<Map<string, Date>> {
  const rows = await sql<{ id: string; at: Date | null }[]>`
    select u.id, greatest(
      (select max(r.created_at) from refresh_tokens r where r.tenant_id = ${tenantId} and r.user_id = u.id),
      (select max(k.last_used_at) from api_keys k where k.tenant_id = ${tenantId} and k.user_id = u.id)) as at
    from unnest(${[...userIds]}::uuid[]) as u (id)`;
  return new Map(rows.flatMap(({ id, at }) => (at === null ? [] : [[id, at] as const])));
}

/** What stays to be done for a user who leaves, in whose scope it is asked: work that nobody could ever see the end of. */
export async function findOrphanedWork(sql: Sql): Promise<{ tasks: string[]; turns: string[] }> {
  const [row] = await sql<{ tasks: string[]; turns: string[] }[]>`
    select
      array(select id from tasks where tenant_id = current_setting('app.tenant_id')::uuid
        and private_to = current_setting('app.user_id')::uuid and status in ('queued', 'running')) as tasks,
      array(select id from turns where tenant_id = current_setting('app.tenant_id')::uuid
        and user_id = current_setting('app.user_id')::uuid and status in ('queued', 'running')) as turns`;
  return row ?? { tasks: [], turns: [] };
}
