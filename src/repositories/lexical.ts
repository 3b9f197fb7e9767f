/**
 * What text search reads: a tenant's segments with their postings, and the chunks that are in no segment yet. Which of what
 * it finds there is may be shown, documents and chunks decide (`liveChunks`).
 */
import type { SearchFilter } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { tsqueryText } from '../kernel/text/tsvector.ts';
import { whereDocument } from './document-filter.ts';

export interface SegmentRow {
  id: string;
  chunks: number;
  documents: number;
  /** Sum of the chunks' lengths in words. */
  length: number;
}

export interface LooseRow {
  id: string;
  documentId: string;
  /** It holds at least one of the terms. */
  holds: boolean;
  /** In words. */
  length: number;
}

export interface PostingsRow {
  segmentId: string;
  term: string;
  df: number;
  /** `null`: the term is so common beside the others that its postings are not worth reading. */
  postings: Uint8Array | null;
}

export interface LexicalIndex {
  /** The segments that the scope may see. */
  segments: SegmentRow[];
  /** Live chunks that are in no segment, by document and order. */
  loose: LooseRow[];
  postings: PostingsRow[];
}

interface IndexRow {
  kind: 'segment' | 'loose' | 'postings';
  id: string;
  other: string | null;
  n: number;
  m: number;
  length: number | null;
  bytes: Uint8Array | null;
}

/**
 * The index as far as these terms need it, in one statement and so in one snapshot: a document that moves into a segment
 * meanwhile is seen on one side exactly. The rarest terms' postings are read first, until `budget` of them are had; of the
 * rest only how many there are. The `atLeast` rarest terms are read whatever they have.
 */
export async function readIndex(
  sql: Sql,
  { terms, budget, atLeast, cut }: { terms: readonly string[]; budget: number; atLeast: number; cut: number },
): Promise<LexicalIndex> {
  const rows = await sql<IndexRow[]>`
    with segments as materialized (
      select id, chunks, documents, length from lexical_segments
      where tenant_id = current_setting('app.tenant_id')::uuid and cut = ${cut}
    ), found as materialized (
      select segment_id, term, df from lexical_postings
      where tenant_id = current_setting('app.tenant_id')::uuid and term = any(${[...terms]}::text[])
        and segment_id in (select id from segments)
    ), totals as (
      select term, sum(sum(df)) over (order by sum(df), term) as running, row_number() over (order by sum(df), term) as place
      from found group by term
    )
    select 'segment' as kind, id, null as other, chunks as n, documents as m, length, null::bytea as bytes from segments
    union all
    select 'postings', f.segment_id, f.term, f.df, 0, null, case when t.running <= ${budget} or t.place <= ${atLeast}
      then (select p.postings from lexical_postings p where p.tenant_id = current_setting('app.tenant_id')::uuid
            and p.term = f.term and p.segment_id = f.segment_id) end
    from found f join totals t on t.term = f.term
    union all
    (select 'loose', c.id, c.document_id::text, c.ordinal, (c.tsv @@ ${tsqueryText(terms)}::tsquery)::int, c.terms, null
     from lexical_documents l
     join chunks c on c.tenant_id = l.tenant_id and c.document_id = l.document_id and c.version = l.version
     where l.tenant_id = current_setting('app.tenant_id')::uuid and l.cut = ${cut} and l.segment_id is null
     order by c.document_id, c.ordinal)`;
  const index: LexicalIndex = { segments: [], loose: [], postings: [] };
  for (const { kind, id, other, n, m, length, bytes } of rows) {
    if (kind === 'segment') index.segments.push({ id, chunks: n, documents: m, length: length ?? 0 });
    else if (kind === 'loose') index.loose.push({ id, documentId: other ?? '', holds: m > 0, length: length ?? 0 });
    else index.postings.push({ segmentId: id, term: other ?? '', df: n, postings: bytes });
  }
  return index;
}

/** The members of segments: 24 bytes a chunk, as `sql/0070_lexical_segments.sql` says. What was merged away is missing. */
export async function readMembers(sql: Sql, ids: readonly string[]): Promise<{ id: string; members: Uint8Array }[]> {
  return sql<{ id: string; members: Uint8Array }[]>`
    select id, members from lexical_segments
    where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${[...ids]}::uuid[])`;
}

/** Of these chunks those that may be found in a cut now, under the filter. */
export async function liveChunks(
  sql: Sql,
  ids: readonly string[],
  { filter, cut }: { filter: SearchFilter; cut: number },
): Promise<{ id: string; documentId: string }[]> {
  return sql<{ id: string; documentId: string }[]>`
    select c.id, c.document_id as "documentId" from chunks c
    join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id
    join lexical_documents l on l.tenant_id = c.tenant_id and l.document_id = c.document_id and l.cut = ${cut}
      and l.version = c.version
    where c.tenant_id = current_setting('app.tenant_id')::uuid and c.id = any(${[...ids]}::uuid[])
      and ${whereDocument(sql, filter)}`;
}

export interface ForwardRow {
  id: string;
  /** Text form. */
  tsv: string;
  /** The beginning of the chunk. */
  text: string;
}

/** The terms of chunks, and how their texts begin. */
export async function readForward(sql: Sql, ids: readonly string[]): Promise<ForwardRow[]> {
  return sql<ForwardRow[]>`
    select id, tsv::text as tsv, left(text, 1500) as text from chunks
    where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${[...ids]}::uuid[])`;
}
