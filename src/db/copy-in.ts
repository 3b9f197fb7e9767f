/** COPY of binary rows into a temporary table of the caller's transaction. */
import type { Sql } from './database.ts';

export interface TemporaryTable {
  /** Both are ours, never a person's: they go into the statement as they are. */
  name: string;
  columns: string;
}

/**
 * Rows of up to a page are kept as they are: nothing is compressed only to be read once.
 * Makes the table, which goes with the transaction, and copies `rows` (`createBinaryRows`) into it. When the server
 * refuses them, the client library tells nobody: whatever is sent next in the transaction fails. So whoever calls this
 * must send something next, as whoever wants the rows does.
 */
export async function copyIn(sql: Sql, { name, columns }: TemporaryTable, rows: Uint8Array): Promise<void> {
  // By the simple protocol: after a failed COPY of the extended one, the server would wait for a Sync.
  const writer = await sql
    .unsafe(
      `create temporary table ${name} (${columns}) with (toast_tuple_target = 8160) on commit drop; copy ${name} from stdin with (format binary)`,
    )
    .simple()
    .writable();
  // What befalls the connection befalls the next statement too, which is waited for.
  writer.on('error', () => {});
  await new Promise<void>((resolve, reject) => {
    writer.write(rows, (error) => (error ? reject(error) : resolve()));
  });
  writer.end();
}
