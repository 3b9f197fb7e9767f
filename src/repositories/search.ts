import type { Sql } from '../db/database.ts';

export interface HitRow {
  chunk_id: string;
  document_id: string;
  title: string;
  page: number | null;
  start: number;
  end: number;
  text: string;
  headings: string[];
  ordinal: number;
}

/** The live chunks of these ids, in no order. */
export async function getHits(sql: Sql, ids: readonly string[]): Promise<HitRow[]> {
  return sql<HitRow[]>`
    select c.id as chunk_id, c.document_id, d.title, c.page, c.start_offset as start, c.end_offset as "end", c.text,
      c.headings, c.ordinal
    from chunks c
    join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id and d.live_version = c.version
    where c.tenant_id = current_setting('app.tenant_id')::uuid and c.id = any(${[...ids]}::uuid[])`;
}

/** The chunks before and behind these in their documents, with the id that each is next to. */
export async function getNeighbours(sql: Sql, ids: readonly string[]): Promise<(HitRow & { of: string })[]> {
  return sql<(HitRow & { of: string })[]>`
    select o.id as of, c.id as chunk_id, c.document_id, d.title, c.page, c.start_offset as start, c.end_offset as "end",
      c.text, c.headings, c.ordinal
    from chunks o
    join documents d on d.tenant_id = o.tenant_id and d.id = o.document_id and d.live_version = o.version
    join chunks c on c.tenant_id = o.tenant_id and c.document_id = o.document_id and c.version = o.version
      and c.ordinal in (o.ordinal - 1, o.ordinal + 1)
    where o.tenant_id = current_setting('app.tenant_id')::uuid and o.id = any(${[...ids]}::uuid[])
    order by o.id, c.ordinal`;
}
