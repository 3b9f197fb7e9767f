/** Hybrid search over the tenant's own documents: words and vectors, fused by normalised scores. */
import type { SearchFilter, SearchHit, SearchRequest, SearchResult } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { AppError, type FieldError } from '../kernel/errors.ts';
import { isUuid } from '../kernel/ids.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { getHits } from '../repositories/search.ts';
import type { Scored } from '../repositories/vectors.ts';
import { fuse } from '../retrieval/fusion.ts';
import { createLexicalSearch } from './lexical-search.ts';
import type { VectorSearch } from './vector-search.ts';

export interface Search {
  search(request: SearchRequest, signal?: AbortSignal): Promise<{ results: SearchResult[]; took_ms: number }>;
  /** The same with each hit's headings, for answers. */
  hits(request: SearchRequest, signal?: AbortSignal): Promise<SearchHit[]>;
}

export interface SearchOptions {
  database: Database;
  vectors: VectorSearch;
  metrics: Metrics;
}

/** Each list is this long before the two are joined: enough that a hit of one is not lost to the other's first page. */
const CANDIDATES = 100;
const MAX_FILTER_IDS = 1_000;
const NO_VECTORS = { hits: [], weight: 0 };

/** Throws `invalid_request` for a filter that no query could be made of; metadata conditions are checked with the query. */
export function assertFilter(filter: SearchFilter): void {
  const errors: FieldError[] = [];
  const { document_ids: ids, source_type: sourceType } = filter;
  if (
    ids !== undefined &&
    !(Array.isArray(ids) && ids.length <= MAX_FILTER_IDS && ids.every((id) => typeof id === 'string' && isUuid(id)))
  ) {
    errors.push({ path: 'filter/document_ids', message: `an array of up to ${MAX_FILTER_IDS} ids is needed` });
  }
  if (sourceType !== undefined && typeof sourceType !== 'string') {
    errors.push({ path: 'filter/source_type', message: 'a string is needed' });
  }
  if (errors.length > 0) throw new AppError('invalid_request', 'The filter is not valid.', { errors });
}

export function createSearch({ database, vectors: vectorSearch, metrics }: SearchOptions): Search {
  const lexical = createLexicalSearch({ metrics });

  const byWords = (request: SearchRequest, limit: number): Promise<Scored[]> =>
    database.tenant((sql) => lexical.find(sql, { ...request, limit, maxPerDocument: limit }));

  async function hits(request: SearchRequest, signal?: AbortSignal): Promise<SearchHit[]> {
    assertFilter(request.filter);
    const stop = metrics.searchLatencyMs.startTimer({ mode: request.mode });
    const limit = Math.max(CANDIDATES, request.top_k);
    const [words, { hits: vectors, weight }] = await Promise.all([
      request.mode === 'vector' ? [] : byWords(request, limit),
      request.mode === 'text' ? NO_VECTORS : vectorSearch.nearest({ ...request, limit }, signal),
    ]);
    const vectorWeight = request.mode === 'text' ? 0 : request.mode === 'vector' ? 1 : weight;
    const fused = fuse(words, vectors, { vectorWeight }).slice(0, request.top_k);
    const wanted = fused.map(({ id }) => id);
    const rows = new Map(
      (wanted.length > 0 ? await database.tenant((sql) => getHits(sql, wanted)) : []).map((row) => [row.chunk_id, row]),
    );
    const cosines = new Map(vectors.map(({ id, score }) => [id, Math.min(1, Math.max(0, score))]));
    const found = fused.flatMap((hit): SearchHit[] => {
      const row = rows.get(hit.id);
      // Deleted between the two reads: it is not found from that moment.
      if (!row) return [];
      const { ordinal: _ordinal, ...shown } = row;
      const scores = { vector: cosines.get(hit.id) ?? null, text: hit.text, rerank: null };
      return [{ ...shown, score: hit.score, scores }];
    });
    stop();
    return found;
  }

  return {
    hits,
    async search(request, signal) {
      const started = performance.now();
      const found = await hits(request, signal);
      const results = found.map(({ headings: _headings, ...result }) => result);
      return { results, took_ms: Math.round((performance.now() - started) * 100) / 100 };
    },
  };
}
