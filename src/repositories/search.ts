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
