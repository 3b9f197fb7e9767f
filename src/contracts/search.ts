/** What is asked of and answered by search, in the contract's own names. */
export type Operator = 'eq' | 'ne' | 'gt' | 'gte' | 'lt' | 'lte' | 'in' | 'nin';
export type FilterValue = string | number | boolean | null;
export type MetadataFilter =
  | { and: MetadataFilter[] }
  | { or: MetadataFilter[] }
  | { [field: string]: FilterValue | { [K in Operator]?: FilterValue | FilterValue[] } };

export interface SearchFilter {
  document_ids?: string[];
  source_type?: string;
  metadata?: MetadataFilter;
  /** In any of these vector stores; `attributes`: as they are in the store. */
  stores?: { ids: string[]; attributes?: MetadataFilter };
}

export type SearchMode = 'hybrid' | 'vector' | 'text';

export interface SearchRequest {
  query: string;
  /** 1…100 */
  top_k: number;
  mode: SearchMode;
  filter: SearchFilter;
  /** How words and vectors are joined: by normalised scores (`convex`, the default) or by reciprocal ranks. */
  fusion?: FusionMethod;
  /** Share of the vector score in a hybrid search, 0…1; by default what fits the embedding model and the question (`vectorShare`). */
  vector_weight?: number;
  /** Whether a reranker looks at the best hits; by default where a server for it is configured. */
  rerank?: boolean;
  /** 0 (the best, however alike) … 1 (as different as can be). */
  diversity?: number;
  /** The most hits of one document; by default all. */
  max_per_document?: number;
  /** Hits below this score are left out, 0…1. */
  min_score?: number;
}

export const FUSION_METHODS = ['convex', 'rrf'] as const;
export type FusionMethod = (typeof FUSION_METHODS)[number];

/** What an answer had to do without, so that nobody takes it for the best that could be had. */
export const DEGRADATIONS = ['vector', 'rerank'] as const;
export type Degradation = (typeof DEGRADATIONS)[number];

export interface SearchHit {
  chunk_id: string;
  document_id: string;
  /** The version of the document in whose text `start` and `end` count. */
  version: number;
  title: string;
  page: number | null;
  start: number;
  end: number;
  text: string;
  headings: string[];
  /** Orders results within one answer, 1 = best, in [0, 1]. */
  score: number;
  scores: { vector: number | null; text: number | null; rerank: number | null };
}
