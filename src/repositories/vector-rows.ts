/** Where a tenant's vectors lie on disk, and bringing them together: in the scope of whoever may see them. */
import type { Sql } from '../db/database.ts';
import type { Batch } from './vector-codes.ts';

export interface Spread {
  rows: number;
  /** Pages that hold at least one of them. */
  pages: number;
  /** Pages that they would fill alone. */
  least: number;
}

const PAGE_BYTES = 8_192;
const PAGE_HEAD_BYTES = 24;
const ITEM_BYTES = 4;

/** Of the ambient scope's vectors in the space. */
export async function measureSpread(sql: Sql, spaceId: number): Promise<Spread> {
  const [row] = await sql<{ rows: number; pages: number; bytes: number }[]>`
    select count(*)::int as rows, count(distinct (v.ctid::text::point)[0])::int as pages,
      coalesce(avg(pg_column_size(v)), 0)::float8 as bytes
    from chunk_vectors v
    where v.tenant_id = current_setting('app.tenant_id')::uuid and v.space_id = ${spaceId} and v.shard = 0`;
  const { rows = 0, pages = 0, bytes = 0 } = row ?? {};
  const perPage = Math.max(1, Math.floor((PAGE_BYTES - PAGE_HEAD_BYTES) / (bytes + ITEM_BYTES)));
  return { rows, pages, least: Math.ceil(rows / perPage) };
}

/**
 * Writes the vectors of some documents anew, in their order, behind what is there; `after` is the document to go on from.
 * Documents that are being published or deleted are passed over, and wait for nobody else than this.
 */
export async function rewriteVectors(
  sql: Sql,
  spaceId: number,
  { after, documents }: { after: string | undefined; documents: number },
): Promise<Batch & { last: string | undefined }> {
  const ids = await sql<{ id: string }[]>`
    select s.document_id as id from document_spaces s
    where s.tenant_id = current_setting('app.tenant_id')::uuid and s.space_id = ${spaceId}
      ${after === undefined ? sql`` : sql`and s.document_id > ${after}`}
    order by s.document_id limit ${documents}`;
  const last = ids.at(-1)?.id;
  if (last === undefined) return { documents: 0, chunks: 0, last };
  const rows = await sql`
    with locked as materialized (
      select d.id from documents d
      where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = any(${ids.map(({ id }) => id)}::uuid[])
      order by d.id for share skip locked
    ), taken as (
      delete from chunk_vectors v using locked
      where v.tenant_id = current_setting('app.tenant_id')::uuid and v.document_id = locked.id and v.space_id = ${spaceId}
        and v.shard = 0
      returning v.*
    )
    insert into chunk_vectors select * from taken order by document_id, chunk_id returning 1`;
  return { documents: ids.length, chunks: rows.length, last };
}
