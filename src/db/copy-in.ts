/** COPY of binary rows into a temporary table whose rows go with the caller's transaction. */
import type { Sql } from './database.ts';

export interface TemporaryTable {
  /** Both are ours, never a person's: they go into the statement as they are. */
  name: string;
  columns: string;
}

/**
 * Copies `rows` (`createBinaryRows`) into a temporary table of the session, and returns its name. Rows of up to a page are
 * kept as they are: nothing is compressed only to be read once.
 *
 * The table stays in the session, empty between transactions: to make it, to drop it, and to plan anew what reads it took
 * a sixth of what inserting a batch took. Its name tells its columns, so that no two definitions ever meet in a session,
 * whoever has used it before (a pooler gives it to many). It is emptied first: a transaction may copy more than once, in
 * scopes of several tenants.
 *
 * When the server refuses the rows, the client library tells nobody: whatever is sent next in the transaction fails. So
 * whoever calls this must send something next, as whoever wants the rows does.
 */
export async function copyIn(sql: Sql, { name, columns }: TemporaryTable, rows: Uint8Array): Promise<string> {
  const table = `${name}_${Bun.hash(columns).toString(36)}`;
  // By the simple protocol: after a failed COPY of the extended one, the server would wait for a Sync.
  const writer = await sql
    .unsafe(
      `create temporary table if not exists ${table} (${columns}) with (toast_tuple_target = 8160) on commit delete rows; delete from pg_temp.${table}; copy pg_temp.${table} from stdin with (format binary)`,
    )
    .simple()
    .writable();
  // What befalls the connection befalls the next statement too, which is waited for.
  writer.on('error', () => {});
  await new Promise<void>((resolve, reject) => {
    writer.write(rows, (error) => (error ? reject(error) : resolve()));
  });
  writer.end();
  return table;
}
