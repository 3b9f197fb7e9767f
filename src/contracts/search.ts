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
}

export type SearchMode = 'hybrid' | 'vector' | 'text';

export interface SearchRequest {
  query: string;
  /** 1…100 */
  top_k: number;
  mode: SearchMode;
  filter: SearchFilter;
}

export interface SearchHit {
  chunk_id: string;
  document_id: string;
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
