/** Port of a second opinion on what a search found. `llm/` has the drivers: a `/rerank` server and the built-in one. */
export interface Reranker {
  readonly model: string;
  /** Share of its score in the final one, 0…1; the rest is the search's. */
  readonly weight: number;
  /** A score in [0, 1] for each text, in order, higher is better. Fails with `provider_unavailable`. */
  rerank(query: string, texts: readonly string[], signal?: AbortSignal): Promise<number[]>;
}
