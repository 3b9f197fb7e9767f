/**
 * Vector search over the tenant's own chunks, by one of three ways that all answer with the same rows:
 *
 * - `exact`: every vector is looked at.
 * - `bits`: the codes (one bit a dimension) are scanned by Hamming distance, and the nearest are looked at again by their
 *   vectors.
 * - `indexed`: the same with a graph over the codes, in a shard that holds this tenant's rows and nobody else's.
 *
 * Codes are made by a job (`services/vector-tiers.ts`); documents whose codes are not where the statement looks are
 * searched exactly and united with the rest in the same statement, hence in the same snapshot, so a move in between is
 * never seen by halves. Which way is in force is read before, and each is right whatever the job has done meanwhile.
 *
 * Space, shard and candidates are written into the statements as numbers: the planner then knows the partition and how
 * few rows come of it, and a statement that was planned for one tenant is never used for another's shard. The shards of others are not named, so no index of theirs
 * could be chosen; in shard 0 all indexes begin with the tenant.
 */
import type { SearchFilter } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { whereDocument } from './document-filter.ts';

export interface Scored {
  id: string;
  score: number;
}

export interface VectorQuery {
  spaceId: number;
  /** Text form of the halfvec, unit length. */
  embedding: string;
  limit: number;
  filter: SearchFilter;
}

/** How a tenant's vectors are searched. */
export interface Tier {
  tier: 'exact' | 'bits' | 'indexed';
  /** The tenant's own shard of codes; null: none. */
  shard: number | null;
  /** Codes that are looked at again by their vectors. */
  candidates: number;
  dimensions: number;
}

/** A filter that leaves so few chunks is answered exactly whatever the tier: fewer rows than the codes' candidates' cost. */
const EXACT_WHEN_FILTERED_TO = 2_000;
/** A graph is walked for a filter that leaves at least this share of the tenant's chunks; else the codes are scanned. */
const WALK_WHEN_FILTERED_TO = 0.3;
const MAX_EF_SEARCH = 1_000;
/** Documents whose chunks are counted to see whether a tenant is a small one. */
const SOME_DOCUMENTS = 50;

export const hasFilter = ({ document_ids, source_type, metadata, stores }: SearchFilter) =>
  document_ids !== undefined || source_type !== undefined || metadata !== undefined || stores !== undefined;

/** A number in the statement's own text. */
function literal(sql: Sql, value: number) {
  if (!Number.isInteger(value)) throw new RangeError(`${value} is not a whole number.`);
  return sql.unsafe(String(value));
}

/** An array, so that it is made once and looked up by the indexes, which all have the document after the tenant. */
const matching = (sql: Sql, filter: SearchFilter, documentId: string) =>
  hasFilter(filter)
    ? sql`and ${sql.unsafe(documentId)} = any(array(select d.id from documents d
        where d.tenant_id = current_setting('app.tenant_id')::uuid and ${whereDocument(sql, filter)}))`
    : sql``;

/**
 * Keeps the planner to the indexes that these statements are made for. A plan is made once and used for every tenant: what
 * is right for the small one that came first (reading all of everybody's rows, or all of its own into a hash) would be
 * kept for the large one. Compiling takes longer than running, and so does planning anew.
 */
const settings = (sql: Sql) => sql`
  set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
  set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true),
  set_config('plan_cache_mode', 'force_generic_plan', true)`;

interface TierRow {
  tier: Tier['tier'] | null;
  shard: number | null;
  candidates: number | null;
  dimensions: number;
  chunks: number | null;
  /** Of the tenant in the space; where it has many documents, of some of them. */
  some: number;
  matching: number | null;
}

/** Reads the tier; what comes after in the transaction is planned as `settings` says. */
function readTier(sql: Sql, { spaceId, filter }: Pick<VectorQuery, 'spaceId' | 'filter'>) {
  return sql<TierRow[]>`
    select ${settings(sql)}, t.tier, t.shard, t.candidates,
      t.chunks, e.dimensions,
      coalesce((select sum(chunks)::int from (select s.chunks from document_spaces s
        where s.tenant_id = current_setting('app.tenant_id')::uuid and s.space_id = ${spaceId} limit ${SOME_DOCUMENTS}) s), 0) as some,
      ${
        hasFilter(filter)
          ? sql`(select coalesce(sum(s.chunks), 0)::int from document_spaces s
              where s.tenant_id = current_setting('app.tenant_id')::uuid and s.space_id = ${spaceId}
                ${matching(sql, filter, 's.document_id')})`
          : sql`null`
      } as matching
    from embedding_spaces e
    left join vector_tiers t on t.tenant_id = current_setting('app.tenant_id')::uuid and t.space_id = e.id
    where e.id = ${spaceId}`;
}

function lookAtAll(sql: Sql, { spaceId, embedding, limit, filter }: VectorQuery, unlessTiered: boolean) {
  const space = literal(sql, spaceId);
  return sql<Scored[]>`
    select id, -distance as score from (
      select v.chunk_id as id, v.embedding <#> ${embedding}::halfvec as distance
      from chunk_vectors v
      join document_spaces s on s.tenant_id = v.tenant_id and s.document_id = v.document_id and s.space_id = v.space_id
        and s.version = v.version
      where v.tenant_id = current_setting('app.tenant_id')::uuid and v.space_id = ${space} and v.shard = 0
        and s.tenant_id = current_setting('app.tenant_id')::uuid and s.space_id = ${space}
        ${matching(sql, filter, 's.document_id')}
        ${
          unlessTiered
            ? sql`and not exists (select from vector_tiers t where t.tenant_id = current_setting('app.tenant_id')::uuid
                and t.space_id = ${space} and t.tier <> 'exact')`
            : sql``
        }
      order by distance, id limit ${literal(sql, limit)}) nearest`;
}

/** Every vector of the documents that are whole in the space. */
export async function exactChunks(sql: Sql, query: VectorQuery): Promise<Scored[]> {
  // In this order they are sent.
  const [, rows] = await Promise.all([sql`select ${settings(sql)}`, lookAtAll(sql, query, false)]);
  return rows;
}

/** The nearest codes of one shard, by the graph where `dimensions` is given (its index casts to them), else by a scan. */
function nearestCodes(
  sql: Sql,
  { spaceId, filter }: VectorQuery,
  { shard, candidates, dimensions }: { shard: number; candidates: number; dimensions?: number },
) {
  const code = dimensions === undefined ? sql`c.code` : sql`(c.code::bit(${literal(sql, dimensions)}))`;
  return sql`(
    select c.chunk_id from chunk_codes c
    where c.tenant_id = current_setting('app.tenant_id')::uuid and c.space_id = ${literal(sql, spaceId)}
      and c.shard = ${literal(sql, shard)} ${matching(sql, filter, 'c.document_id')}
    order by ${code} <~> (select code from q) limit ${literal(sql, candidates)})`;
}

/** By codes: those of shard 0 and of the tenant's own, and exactly what has none yet. */
export async function codedChunks(
  sql: Sql,
  query: VectorQuery,
  { tier, shard, candidates: measured, dimensions }: Tier,
): Promise<Scored[]> {
  const { spaceId, embedding, limit, filter } = query;
  const candidates = Math.max(measured, 2 * limit);
  const space = literal(sql, spaceId);
  const walks = tier === 'indexed' && shard !== null;
  const before = sql`
    select ${settings(sql)} ${
      walks
        ? sql`, set_config('hnsw.ef_search', ${String(Math.min(candidates, MAX_EF_SEARCH))}, true),
            set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.max_scan_tuples', '40000', true),
            set_config('enable_sort', 'off', true)`
        : sql``
    }`;
  const found = sql<Scored[]>`
    with given as materialized (select ${embedding}::halfvec as vector),
    q as materialized (select vector, binary_quantize(vector)::bit varying as code from given), coded as materialized (
      ${nearestCodes(sql, query, { shard: 0, candidates })}
      ${shard === null ? sql`` : sql`union ${nearestCodes(sql, query, { shard, candidates, ...(walks && { dimensions }) })}`}
    ), looked_at as (
      select v.chunk_id as id, v.embedding <#> (select vector from q) as distance
      from coded join chunk_vectors v on v.tenant_id = current_setting('app.tenant_id')::uuid
        and v.chunk_id = coded.chunk_id and v.space_id = ${space} and v.shard = 0
    ), tail as (
      select v.chunk_id as id, v.embedding <#> (select vector from q) as distance
      from document_spaces s
      join chunk_vectors v on v.tenant_id = s.tenant_id and v.document_id = s.document_id and v.version = s.version
        and v.space_id = ${space} and v.shard = 0
      where s.tenant_id = current_setting('app.tenant_id')::uuid and s.space_id = ${space}
        and (s.shard is null or (s.shard > 0 and s.shard <> ${literal(sql, shard ?? 0)}))
        and v.tenant_id = current_setting('app.tenant_id')::uuid ${matching(sql, filter, 's.document_id')}
      order by distance, id limit ${literal(sql, limit)}
    )
    select id, -distance as score from (select * from looked_at union all select * from tail) united
    order by distance, id limit ${literal(sql, limit)}`;
  // In this order they are sent.
  const [, rows] = await Promise.all([before, found]);
  return rows;
}

/**
 * The nearest chunks by cosine similarity (vectors are unit length, so by inner product), best first; scores are in
 * [-1, 1]. Takes one round trip for a tenant that is searched exactly, two for another. Where codes gave fewer rows than
 * were asked for, every vector is looked at: a filter, or rows that the caller may not see, can use candidates up. What it
 * sets for the planner lasts as long as the transaction: let it have one of its own.
 */
export async function nearestChunks(sql: Sql, query: VectorQuery): Promise<Scored[]> {
  return (await searchChunks(sql, query)).rows;
}

export interface SearchedChunks {
  rows: Scored[];
  /** So many vectors were searched, or more. */
  chunks: number;
  dimensions: number;
}

/** The same, and what was searched. */
export async function searchChunks(sql: Sql, query: VectorQuery): Promise<SearchedChunks> {
  const [tiers, exact] = await Promise.all([readTier(sql, query), lookAtAll(sql, query, true)]);
  const row = tiers[0];
  const about = { chunks: Math.max(row?.chunks ?? 0, row?.some ?? 0), dimensions: row?.dimensions ?? 0 };
  return { ...about, rows: await rowsBy(sql, query, row, exact) };
}

async function rowsBy(sql: Sql, query: VectorQuery, row: TierRow | undefined, exact: Scored[]): Promise<Scored[]> {
  // None at all is also what is seen where the tier changed between the two statements.
  if (!row?.tier || row.tier === 'exact') return exact.length > 0 ? exact : exactChunks(sql, query);
  const { shard, dimensions, candidates } = row;
  if (row.matching !== null && row.matching <= EXACT_WHEN_FILTERED_TO) return exactChunks(sql, query);
  const walks = row.matching === null || row.matching >= WALK_WHEN_FILTERED_TO * (row.chunks ?? 0);
  const tier = walks ? row.tier : 'bits';
  const rows = await codedChunks(sql, query, { tier, shard, dimensions, candidates: candidates ?? 0 });
  return rows.length < query.limit ? exactChunks(sql, query) : rows;
}
