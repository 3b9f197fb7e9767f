/**
 * Whether something that shares server sessions out by the transaction (PgBouncer, Supavisor, Odyssey, a cloud's proxy)
 * stands before PostgreSQL. Nobody needs to configure it: a server tells each session the process that serves it, for
 * cancelling, and a pooler tells something else there, because that process changes.
 */
import { connectPlainly } from './database.ts';

/** Throws what the connection throws. A pooler in session mode counts as one too: it is used more carefully than needed. */
export async function isPooled(url: string): Promise<boolean> {
  const sql = connectPlainly(url);
  try {
    const rows = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
    return rows.state.pid !== rows[0]?.pid;
  } finally {
    await sql.end({ timeout: 5 });
  }
}
