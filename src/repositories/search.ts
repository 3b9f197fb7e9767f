import type { SearchFilter } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { whereDocument } from './document-filter.ts';
import type { Scored } from './vectors.ts';

export interface LexicalQuery {
  terms: readonly { term: string; weight: number }[];
  /** Text form of a tsquery that any of the terms satisfies. */
  tsquery: string;
  /** BM25's term saturation and length normalisation. */
  bm25: { k1: number; b: number };
  limit: number;
  filter: SearchFilter;
}

export interface LexicalHits {
  hits: Scored[];
  /** Inverse document frequency of each term that occurs. */
  idf: ReadonlyMap<string, number>;
}

/**
 * Lexical search: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) over the tenant's own
 * statistics. Term frequencies are the positions in the tsvector; document frequencies are counted among the matches,
 * which are exactly the chunks that hold a term. Scores are positive and unbounded, best first.
 */
export async function lexicalChunks(
  sql: Sql,
  { terms, tsquery, bm25, limit, filter }: LexicalQuery,
): Promise<LexicalHits> {
  if (terms.length === 0) return { hits: [], idf: new Map() };
  const names = terms.map(({ term }) => term);
  const weights = terms.map(({ weight }) => weight);
  const rows = await sql<(Scored & { idf: Record<string, number> | null })[]>`
    with q as (select * from unnest(${names}::text[], ${weights}::float8[]) as q(term, weight)),
    live as not materialized (
      select c.id, c.terms, c.tsv from chunks c
      join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id and d.live_version = c.version
      where c.tenant_id = current_setting('app.tenant_id')::uuid and ${whereDocument(sql, filter)}
    ),
    totals as (select count(*)::float8 as n, greatest(coalesce(avg(terms), 1), 1)::float8 as average from live),
    matches as materialized (
      select live.id, live.terms, t.lexeme, coalesce(array_length(t.positions, 1), 1)::float8 as tf
      from live, unnest(live.tsv) as t
      where live.tsv @@ ${tsquery}::tsquery and t.lexeme = any(${names}::text[])
    ),
    idf as (
      select m.lexeme, q.weight, ln(1 + (totals.n - count(*) + 0.5) / (count(*) + 0.5)) as idf
      from matches m join q on q.term = m.lexeme cross join totals
      group by m.lexeme, q.weight, totals.n
    ),
    best as (
      select m.id, sum(idf.weight * idf.idf * m.tf * (${bm25.k1}::float8 + 1)
          / (m.tf + ${bm25.k1}::float8 * (1 - ${bm25.b}::float8 + ${bm25.b}::float8 * m.terms / totals.average))) as score
      from matches m join idf on idf.lexeme = m.lexeme cross join totals
      group by m.id order by score desc, m.id limit ${limit}
    )
    select id, score, case when row_number() over (order by score desc, id) = 1
      then (select jsonb_object_agg(lexeme, idf) from idf) end as idf
    from best order by score desc, id`;
  return {
    hits: rows.map(({ id, score }) => ({ id, score })),
    idf: new Map(Object.entries(rows[0]?.idf ?? {})),
  };
}

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
