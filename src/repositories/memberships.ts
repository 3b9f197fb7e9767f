/** Which role an account has in its tenant. */
import type { Role } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

/** Runs as `dreamhub_system`, which may insert here and do nothing else: registration makes the tenant and its owner at once. */
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
