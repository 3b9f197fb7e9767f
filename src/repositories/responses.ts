import type { Sql } from '../db/database.ts';

export interface ResponseRow<T> {
  turn_id: string;
  previous_turn_id: string | null;
  background: boolean;
  /** What its client said with the question. */
  request: T;
  created_at: Date;
}

export async function insertResponse<T extends object>(
  sql: Sql,
  { turn_id, previous_turn_id, background, request }: Omit<ResponseRow<T>, 'created_at'>,
): Promise<void> {
  await sql`
    insert into responses (turn_id, previous_turn_id, background, request)
    values (${turn_id}, ${previous_turn_id}, ${background}, ${sql.json(request as never)})`;
}

/** Undefined where the turn is not there, is somebody else's, or is no response. */
export async function getResponse<T>(sql: Sql, turnId: string): Promise<ResponseRow<T> | undefined> {
  const [row] = await sql<ResponseRow<T>[]>`
    select turn_id, previous_turn_id, background, request, created_at from responses
    where tenant_id = current_setting('app.tenant_id')::uuid and turn_id = ${turnId}`;
  return row;
}
