import type { Sql } from '../db/database.ts';

/**
 * Chunks `c` of a version that some cut shows: a search that began before a switch of spaces still reads what it found.
 * Which cut is asked, those decide who find chunks.
 */
const isShown = (sql: Sql, c: string) => sql`exists (
  select from lexical_documents l
  where l.tenant_id = ${sql.unsafe(c)}.tenant_id and l.document_id = ${sql.unsafe(c)}.document_id
    and l.version = ${sql.unsafe(c)}.version)`;

export interface HitRow {
  chunk_id: string;
  document_id: string;
  /** In whose text the offsets count. */
  version: number;
  title: string;
  page: number | null;
  start: number;
  end: number;
  text: string;
  headings: string[];
  ordinal: number;
}

/** Those of these chunks that are still there, in no order. */
export async function getHits(sql: Sql, ids: readonly string[]): Promise<HitRow[]> {
  return sql<HitRow[]>`
    select c.id as chunk_id, c.document_id, c.version, d.title, c.page, c.start_offset as start, c.end_offset as "end",
      c.text, c.headings, c.ordinal
    from chunks c
    join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id
    where c.tenant_id = current_setting('app.tenant_id')::uuid and c.id = any(${[...ids]}::uuid[])
      and ${isShown(sql, 'c')}`;
}

/** The chunks before and behind these in their documents, with the id that each is next to. */
export async function getNeighbours(sql: Sql, ids: readonly string[]): Promise<(HitRow & { of: string })[]> {
  return sql<(HitRow & { of: string })[]>`
    select o.id as of, c.id as chunk_id, c.document_id, c.version, d.title, c.page, c.start_offset as start,
      c.end_offset as "end", c.text, c.headings, c.ordinal
    from chunks o
    join documents d on d.tenant_id = o.tenant_id and d.id = o.document_id
    join chunks c on c.tenant_id = o.tenant_id and c.document_id = o.document_id and c.version = o.version
      and c.ordinal in (o.ordinal - 1, o.ordinal + 1)
    where o.tenant_id = current_setting('app.tenant_id')::uuid and o.id = any(${[...ids]}::uuid[])
      and ${isShown(sql, 'o')}
    order by o.id, c.ordinal`;
}
