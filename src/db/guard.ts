/** What must be true of the database before anything is served; a violation ends the start. */
import { AppError } from '../kernel/errors.ts';
import type { Database } from './database.ts';

interface RoleRow {
  user: string;
  bypasses: boolean;
}

/**
 * Throws where a transaction of ours would run with a role that row-level security does not bind, or where a table
 * that the tenant role may read does not force it.
 */
export async function assertIsolated(database: Database): Promise<void> {
  const [role, unforced] = await database.system(async (sql) => {
    const roles = await sql<RoleRow[]>`
      select current_user::text as user, rolsuper or rolbypassrls as bypasses from pg_roles where rolname = current_user`;
    const tables = await sql<{ name: string }[]>`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition
        and not (c.relrowsecurity and c.relforcerowsecurity)
        and has_table_privilege('dreamhub_tenant', c.oid, 'SELECT, INSERT, UPDATE, DELETE')`;
    return [roles[0], tables] as const;
  });
  if (role?.user !== 'dreamhub_system' || role.bypasses) {
    throw new AppError('internal', `The database role ${role?.user ?? '?'} bypasses row-level security.`);
  }
  if (unforced.length > 0) {
    throw new AppError(
      'internal',
      `Row-level security is not forced on: ${unforced.map(({ name }) => name).join(', ')}.`,
    );
  }
}
