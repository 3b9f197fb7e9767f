/** Writing segments of the text index (`sql/0070_lexical_segments.sql`): what waits for one, and one transaction's steps. */
import type { Sql } from '../db/database.ts';

export interface Audience {
  tenantId: string;
  /** The owner of private documents; `null`: what all of the tenant may see. */
  privateTo: string | null;
  /** Whose texts: each cut has an index of its own (`sql/0150_pipeline_versions.sql`). */
  cut: number;
}

export interface Waiting extends Audience {
  /** Chunks that are in no segment. */
  loose: number;
}

/** Audiences with at least so many chunks in no segment, or with a segment of whose chunks half are gone. As `dreamhub_system`. */
export async function listWaiting(sql: Sql, least: number): Promise<Waiting[]> {
  return sql<Waiting[]>`
    with counted as (
      select tenant_id, private_to, cut, segment_id, sum(chunks)::int as chunks from lexical_documents
      group by tenant_id, private_to, cut, segment_id
    )
    select tenant_id as "tenantId", private_to as "privateTo", cut, sum(loose)::int as loose from (
      select tenant_id, private_to, cut, chunks as loose from counted where segment_id is null and chunks >= ${least}
      union all
      select s.tenant_id, s.private_to, s.cut, 0 from lexical_segments s
      left join counted c on c.tenant_id = s.tenant_id and c.segment_id = s.id
      where coalesce(c.chunks, 0) < s.chunks / 2
    ) waiting group by tenant_id, private_to, cut order by loose desc`;
}

/** True where nobody else is at the audience; holds it until the transaction ends. */
export async function lockAudience(sql: Sql, { tenantId, privateTo, cut }: Audience): Promise<boolean> {
  const [row] = await sql<{ held: boolean }[]>`
    select pg_try_advisory_xact_lock(hashtextextended(${`lexical ${tenantId} ${privateTo} ${cut}`}, 0)) as held`;
  return row?.held ?? false;
}

type Part = Omit<Audience, 'tenantId'>;

const ofAudience = (sql: Sql, { privateTo, cut }: Part) => sql`
  tenant_id = current_setting('app.tenant_id')::uuid and cut = ${cut} and private_to is not distinct from ${privateTo}::uuid`;

export interface SegmentSize {
  id: string;
  /** When it was written. */
  written: number;
  /** Chunks that are still live. */
  live: number;
}

/** An audience's segments by what is left of them, smallest first. */
export async function segmentSizes(sql: Sql, part: Part): Promise<SegmentSize[]> {
  return sql<SegmentSize[]>`
    select s.id, s.chunks as written, coalesce(sum(l.chunks), 0)::int as live
    from (select * from lexical_segments where ${ofAudience(sql, part)}) s
    left join lexical_documents l on l.tenant_id = s.tenant_id and l.segment_id = s.id
    group by s.id, s.chunks order by live, s.id`;
}

/** Removes segments; their documents are in none then. */
export async function dropSegments(sql: Sql, ids: readonly string[]): Promise<void> {
  await sql`
    delete from lexical_segments
    where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${[...ids]}::uuid[])`;
}

/**
 * Writes one segment of the documents that are in none, by id, as many as make up to `most` chunks (one at least); returns
 * its chunks, 0 where there is nothing to write. A document that changes meanwhile is waited for by its publisher.
 */
export async function writeSegment(
  sql: Sql,
  { id, most, ...part }: Part & { id: string; most: number },
): Promise<number> {
  // Taken by their rows: who publishes one of them anew in this moment waits, and takes it out again.
  const picked = await sql<{ id: string }[]>`
    with locked as (
      select document_id, chunks from lexical_documents
      where ${ofAudience(sql, part)} and segment_id is null and chunks > 0
      order by document_id limit ${most} for update skip locked
    )
    select document_id as id from (
      select document_id, chunks, sum(chunks) over (order by document_id) as running from locked
    ) counted where running <= ${most} or running = chunks`;
  if (picked.length === 0) return 0;
  const documents = picked.map((row) => row.id);
  const members = sql`
    select c.id, c.terms, c.tsv, dense_rank() over (order by c.document_id)::int - 1 as document,
      row_number() over (order by c.document_id, c.ordinal)::int - 1 as number
    from lexical_documents l
    join chunks c on c.tenant_id = l.tenant_id and c.document_id = l.document_id and c.version = l.version
    where l.tenant_id = current_setting('app.tenant_id')::uuid and l.cut = ${part.cut}
      and l.document_id = any(${documents}::uuid[])`;
  const [written] = await sql<{ chunks: number }[]>`
    insert into lexical_segments (id, private_to, cut, chunks, documents, length, members)
    select ${id}::uuid, ${part.privateTo}::uuid, ${part.cut}::int, count(*), max(document) + 1, sum(terms),
      string_agg(uuid_send(id) || int4send(document) || float4send(terms), ''::bytea order by number)
    from (${members}) m having count(*) > 0
    returning chunks`;
  if (!written) return 0;
  // Sorting a row for each word of each chunk would take as long as all the rest. The members come in order instead, and
  // groups are made by hashing, which keeps the order of what comes in.
  await sql`set local enable_sort = off`;
  await sql`
    insert into lexical_postings (segment_id, private_to, term, df, postings)
    select ${id}::uuid, ${part.privateTo}::uuid, lexeme collate "C", count(*),
      string_agg(int4send(number * 256 + least(255, coalesce(array_length(positions, 1), 1))), ''::bytea)
    from (select * from (${members}) all_members order by number) m, unnest(m.tsv) group by lexeme collate "C"`;
  await sql`
    update lexical_documents set segment_id = ${id}
    where tenant_id = current_setting('app.tenant_id')::uuid and cut = ${part.cut}
      and document_id = any(${documents}::uuid[])`;
  return written.chunks;
}
