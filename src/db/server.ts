/** What stands at a database's address, as far as it must be known before a pool is made for it. Nobody needs to configure it. */
import { connectPlainly } from './database.ts';

export interface ServerFacts {
  /**
   * Something shares server sessions out by the transaction (PgBouncer, Supavisor, Odyssey, a cloud's proxy). A server tells
   * each session the process that serves it, for cancelling, and a pooler tells something else there, because that process
   * changes. A pooler in session mode counts as one too: it is used more carefully than needed.
   */
  readonly pooled: boolean;
  /** It can end a transaction that takes too long, whatever it waits for: PostgreSQL 17. */
  readonly limitsTransactions: boolean;
}

/** Throws what the connection throws. */
export async function describeServer(url: string): Promise<ServerFacts> {
  const sql = connectPlainly(url);
  try {
    const rows = await sql<{ pid: number; limitsTransactions: boolean }[]>`
      select pg_backend_pid() as pid, current_setting('server_version_num')::int >= 170000 as "limitsTransactions"`;
    return { pooled: rows.state.pid !== rows[0]?.pid, limitsTransactions: rows[0]?.limitsTransactions ?? false };
  } finally {
    await sql.end({ timeout: 5 });
  }
}
