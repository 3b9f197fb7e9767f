/** Hybrid search over the tenant's own documents: words and vectors, fused by normalised scores. */
import type {
  Degradation,
  Reranker,
  SearchFilter,
  SearchHit,
  SearchRequest,
  SearchResult,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError, type FieldError, messageOf } from '../kernel/errors.ts';
import { isUuid } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { getHits } from '../repositories/search.ts';
import { capPerDocument, diversify } from '../retrieval/diversity.ts';
import { fuse, vectorShare } from '../retrieval/fusion.ts';
import { createLexicalSearch } from './lexical-search.ts';
import { createResultCache, type Found } from './search-cache.ts';
import type { AskedSpace, Spaces } from './spaces.ts';
import type { VectorSearch } from './vector-search.ts';

export interface Search {
  search(
    request: SearchRequest,
    signal?: AbortSignal,
  ): Promise<{ results: SearchResult[]; took_ms: number; degraded?: Degradation[] }>;
  /** The same with each hit's headings, for answers. */
  hits(request: SearchRequest, signal?: AbortSignal): Promise<SearchHit[]>;
  /** Somebody was erased: nothing of anybody is kept in memory any more. */
  forget(): void;
}

export interface SearchOptions {
  database: Database;
  vectors: VectorSearch;
  spaces: Pick<Spaces, 'active'>;
  metrics: Metrics;
  clock: Clock;
  logger: Logger;
  /** `byDefault`: whether a request that does not say is reranked. */
  reranking: { reranker: Reranker; byDefault: boolean };
  /** For how long a hybrid search waits for its vectors. */
  vectorPatienceMs?: number;
}

/** Each list is this long before the two are joined: enough that a hit of one is not lost to the other's first page. */
const CANDIDATES = 100;
/** Where few documents have most of the hits, ever more are looked at until there are enough of others, up to this. */
const MOST_CANDIDATES = 2_700;
/** A round is looked at so often while documents change under it. */
const MOST_LOOKS = 3;
/** So many of the best are reranked, and chosen among for diversity. */
const RERANKED = 50;
const DIVERSIFIED = 100;
const MAX_FILTER_IDS = 1_000;
/** Letters and digits, or a picture: white space, punctuation and invisible characters are no question. */
const SAYS_SOMETHING = /[\p{L}\p{N}\p{So}]/u;
/** In milliseconds: for so long a hybrid search waits for its vectors, and so long nobody waits after that. */
const VECTOR_PATIENCE_MS = 10_000;
const VECTOR_REST_MS = 10_000;
const NO_VECTORS = { hits: [], weight: 0, wordless: 0 };
const NO_WORDS = { hits: [], met: 0 };

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

interface Candidates {
  found: SearchHit[];
  whole: boolean;
  hasVectors: boolean;
}

type Near = Awaited<ReturnType<VectorSearch['nearest']>>;

/** What is asked, and of which space: both halves of a search, and each of its rounds, ask the same. */
type Asked = SearchRequest & { space: AskedSpace };

export function createSearch(options: SearchOptions): Search {
  const { database, vectors: vectorSearch, spaces, metrics, clock, logger, reranking } = options;
  const { vectorPatienceMs = VECTOR_PATIENCE_MS } = options;
  const lexical = createLexicalSearch({ metrics });
  const cache = createResultCache({ database, clock, metrics });

  let vectorsRestUntil = 0;

  /** What is near; of a hybrid search undefined where the question's vector cannot be had in time: words find without it. */
  async function near(request: Asked & { limit: number }, signal?: AbortSignal): Promise<Near | undefined> {
    if (request.mode === 'text') return NO_VECTORS;
    if (request.mode === 'vector') return vectorSearch.nearest(request, signal);
    if (clock.now() < vectorsRestUntil) return undefined;
    const patience = AbortSignal.timeout(vectorPatienceMs);
    try {
      return await vectorSearch.nearest(request, signal ? AbortSignal.any([signal, patience]) : patience);
    } catch (error) {
      if (signal?.aborted) throw error;
      const isAway = error instanceof AppError && error.kind === 'provider_unavailable';
      if (!isAway && !patience.aborted) throw error;
      if (patience.aborted) vectorsRestUntil = clock.now() + VECTOR_REST_MS;
      logger.warn({ err: error }, `searched by words alone: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** Everything that one round of looking finds, best first; `whole` where more candidates could not give more hits. */
  async function candidates(
    request: Asked,
    limit: number,
    signal?: AbortSignal,
    looksLeft = MOST_LOOKS - 1,
  ): Promise<Candidates> {
    const { mode, space, max_per_document: maxPerDocument = limit } = request;
    const [{ hits: words, met }, nearby] = await Promise.all([
      mode === 'vector'
        ? NO_WORDS
        : database.read((sql) => lexical.find(sql, { ...request, limit, maxPerDocument, cut: space.cut })),
      near({ ...request, limit }, signal),
    ]);
    const { hits: vectors, weight, wordless } = nearby ?? NO_VECTORS;
    const fitting = request.vector_weight ?? vectorShare({ weight, wordless }, met);
    const vectorWeight = mode === 'text' || !nearby ? 0 : mode === 'vector' ? 1 : fitting;
    const fused = fuse(words, vectors, { vectorWeight, method: request.fusion ?? 'convex' });
    const wanted = fused.map(({ id }) => id);
    const read = wanted.length > 0 ? await database.read((sql) => getHits(sql, wanted)) : [];
    // Deleted or replaced between the two reads: what took its place is found by another look.
    if (read.length < wanted.length && looksLeft > 0) return candidates(request, limit, signal, looksLeft - 1);
    const rows = new Map(read.map((row) => [row.chunk_id, row]));
    const cosines = new Map(vectors.map(({ id, score }) => [id, Math.min(1, Math.max(0, score))]));
    const found = fused.flatMap((hit): SearchHit[] => {
      const row = rows.get(hit.id);
      // Deleted between the two reads: it is not found from that moment.
      if (!row) return [];
      const { ordinal: _ordinal, ...shown } = row;
      const scores = { vector: cosines.get(hit.id) ?? null, text: hit.text, rerank: null };
      return [{ ...shown, score: Math.min(1, hit.score), scores }];
    });
    return { found, whole: words.length < limit && vectors.length < limit, hasVectors: nearby !== undefined };
  }

  /** Enough candidates that so many are left of them once no document has more than its share. */
  async function enough(request: Asked, signal?: AbortSignal): Promise<{ hits: SearchHit[]; degraded: Degradation[] }> {
    const { top_k: topK, max_per_document: most } = request;
    for (let limit = Math.max(CANDIDATES, topK); ; limit = Math.min(MOST_CANDIDATES, limit * 3)) {
      const { found, whole, hasVectors } = await candidates(request, limit, signal);
      const degraded: Degradation[] = hasVectors ? [] : ['vector'];
      if (most === undefined) return { hits: found, degraded };
      const hits = capPerDocument(found, most);
      if (hits.length >= topK || whole || limit >= MOST_CANDIDATES) return { hits, degraded };
    }
  }

  /** A second opinion on the best; without it where it cannot be had, which is told. */
  async function reranked(
    hits: readonly SearchHit[],
    { query, rerank }: SearchRequest,
    signal?: AbortSignal,
  ): Promise<{ hits: readonly SearchHit[]; degraded: Degradation[] }> {
    const { reranker, byDefault } = reranking;
    if (!(rerank ?? byDefault) || hits.length < 2) return { hits, degraded: [] };
    const looked = hits.slice(0, RERANKED);
    try {
      const scores = await reranker.rerank(
        query,
        looked.map(({ headings, text }) => [...headings, text].join('\n')),
        signal,
      );
      return { hits: [...blend(looked, scores, reranker.weight), ...hits.slice(RERANKED)], degraded: [] };
    } catch (error) {
      if (signal?.aborted) throw error;
      metrics.rerankFailures.inc();
      logger.warn({ err: error, model: reranker.model }, `not reranked: ${messageOf(error)}`);
      return { hits, degraded: ['rerank'] };
    }
  }

  async function answer(request: SearchRequest, signal?: AbortSignal): Promise<Found> {
    assertFilter(request.filter);
    // A model has a vector for nothing too, which is near to anything.
    if (!SAYS_SOMETHING.test(request.query)) return { found: [], degraded: [] };
    const stop = metrics.searchLatencyMs.startTimer({ mode: request.mode });
    const asked = { ...request, space: await spaces.active() };
    // What is put into a store or taken out of it changes no document, so no kept answer would know of it.
    const found = request.filter.stores
      ? await make(asked, signal)
      : await cache.through(asked, () => make(asked, signal));
    stop();
    return found;
  }

  async function make(request: Asked, signal?: AbortSignal): Promise<Found> {
    const read = await enough(request, signal);
    const { hits, degraded } = await reranked(read.hits, request, signal);
    const { diversity = 0, min_score: least = 0, top_k: topK } = request;
    const good = least > 0 ? hits.filter(({ score }) => score >= least) : hits;
    const found = diversify(diversity > 0 ? good.slice(0, Math.max(DIVERSIFIED, topK)) : good, diversity, topK);
    return { found, degraded: [...read.degraded, ...degraded] };
  }

  return {
    hits: async (request, signal) => [...(await answer(request, signal)).found],
    forget() {
      lexical.forget();
      cache.forget();
    },

    async search(request, signal) {
      const started = performance.now();
      const { found, degraded } = await answer(request, signal);
      const results = found.map(({ headings: _headings, ...result }) => result);
      const took = Math.round((performance.now() - started) * 100) / 100;
      return { results, took_ms: took, ...(degraded.length > 0 && { degraded: [...degraded] }) };
    },
  };
}

/** What was looked at with its new scores, best first; the lowest keeps its place above what was not looked at. */
function blend(hits: readonly SearchHit[], scores: readonly number[], weight: number): SearchHit[] {
  const floor = Math.min(...hits.map(({ score }) => score));
  const best = Math.max(...scores);
  return hits
    .map((hit, at) => {
      const rerank = scores[at] ?? 0;
      const mixed = (1 - weight) * hit.score + weight * (best > 0 ? rerank / best : 0);
      return { ...hit, score: floor + (1 - floor) * Math.min(1, mixed), scores: { ...hit.scores, rerank } };
    })
    .sort((a, b) => b.score - a.score || (a.chunk_id < b.chunk_id ? -1 : 1));
}
