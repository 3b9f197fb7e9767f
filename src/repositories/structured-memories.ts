/** A user's facts by key: rows of the ambient user. */
import type { StructuredMemory } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

type Row = Omit<StructuredMemory, 'created_at' | 'updated_at'> & { created_at: Date; updated_at: Date };

const columns = (sql: Sql) => sql`key, value, version, created_at, updated_at`;
const own = (sql: Sql) =>
  sql`tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid`;

const toResource = (row: Row): StructuredMemory => ({
  ...row,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
});

export interface MemoryValue {
  key: string;
  /** JSON's null as well, which `sql.json` would make none. */
  value: unknown;
  /** Of the value as JSON. */
  bytes: number;
}

/** How many there are and their bytes, without that of one key. */
export async function measureMemories(sql: Sql, but: string): Promise<{ count: number; bytes: number }> {
  const [row] = await sql<{ count: number; bytes: number }[]>`
    select count(*)::int as count, coalesce(sum(bytes), 0)::int as bytes from structured_memories
    where ${own(sql)} and key <> ${but}`;
  return row ?? { count: 0, bytes: 0 };
}

/** Undefined where there is one of this key. */
export async function insertMemory(
  sql: Sql,
  { key, value, bytes }: MemoryValue,
): Promise<StructuredMemory | undefined> {
  const [row] = await sql<Row[]>`
    insert into structured_memories (key, value, bytes) values (${key}, ${JSON.stringify(value)}::text::jsonb, ${bytes})
    on conflict do nothing returning ${columns(sql)}`;
  return row && toResource(row);
}

/** Undefined where there is none. */
export async function updateMemory(
  sql: Sql,
  { key, value, bytes }: MemoryValue,
): Promise<StructuredMemory | undefined> {
  const [row] = await sql<Row[]>`
    update structured_memories set value = ${JSON.stringify(value)}::text::jsonb, bytes = ${bytes}, version = version + 1,
      updated_at = now()
    where ${own(sql)} and key = ${key} returning ${columns(sql)}`;
  return row && toResource(row);
}

/** Undefined where there is none. `locked`: it stays so until the transaction ends. */
export async function getMemory(
  sql: Sql,
  key: string,
  { locked }: { locked: boolean } = { locked: false },
): Promise<StructuredMemory | undefined> {
  const [row] = await sql<Row[]>`
    select ${columns(sql)} from structured_memories where ${own(sql)} and key = ${key} ${locked ? sql`for update` : sql``}`;
  return row && toResource(row);
}

/** By key. */
export async function listMemories(
  sql: Sql,
  page: { limit: number; after?: string | undefined },
): Promise<StructuredMemory[]> {
  const rows = await sql<Row[]>`
    select ${columns(sql)} from structured_memories
    where ${own(sql)} ${page.after === undefined ? sql`` : sql`and key > ${page.after}`}
    order by key limit ${page.limit}`;
  return rows.map(toResource);
}

/** All of them, what was changed last first. */
export async function readMemories(sql: Sql): Promise<{ key: string; value: unknown }[]> {
  return sql<{ key: string; value: unknown }[]>`
    select key, value from structured_memories where ${own(sql)} order by updated_at desc, key`;
}

/** False where there was none. */
export async function deleteMemory(sql: Sql, key: string): Promise<boolean> {
  const rows = await sql`delete from structured_memories where ${own(sql)} and key = ${key} returning 1`;
  return rows.length > 0;
}
