/** What attempts at tasks and at turns have in common: the same columns, guarded by the same fencing number. */
import type { Sql } from '../db/database.ts';

/** An attempt: its row, and the number by which its writes are known. */
export interface AttemptKey {
  table: 'tasks' | 'turns';
  id: string;
  attempt: number;
}

/** Extends the lease of an attempt; undefined where another one owns the row by now. `leaseMs` is in milliseconds. */
export async function renewLease(
  sql: Sql,
  { table, id, attempt }: AttemptKey,
  leaseMs: number,
): Promise<{ cancel_requested: boolean } | undefined> {
  const [row] = await sql<{ cancel_requested: boolean }[]>`
    update ${sql(table)} set leased_until = now() + ${leaseMs} * interval '1 millisecond'
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt} and status = 'running'
    returning cancel_requested`;
  return row;
}

export interface Requeue {
  /** Milliseconds from now until it may be handed out again. */
  afterMs: number;
  /** The attempt failed; false where it was only handed back. */
  counted: boolean;
  error: { code: string; message: string } | null;
}

/** Puts a running row back into the backlog; false where another attempt owns it by now. */
export async function requeue(
  sql: Sql,
  { table, id, attempt }: AttemptKey,
  { afterMs, counted, error }: Requeue,
): Promise<boolean> {
  const rows = await sql`
    update ${sql(table)} set status = 'queued', run_at = now() + ${afterMs} * interval '1 millisecond',
      handed_out_at = null, leased_until = null, retry_count = retry_count + ${counted ? 1 : 0},
      error_code = ${error?.code ?? null}, error_message = ${error?.message ?? null}
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt} and status = 'running'
    returning 1`;
  return rows.length > 0;
}
