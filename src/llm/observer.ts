/** What the providers tell metrics; every hook is optional. Keys are named by their place in the list, never by their text. */
export interface ProviderObserver {
  /** One HTTP request ended: `status` is the HTTP status, or `timeout`, `connection`, `malformed`, `aborted`. */
  request?(sample: { operation: 'chat' | 'embeddings'; key: string; status: string; ms: number }): void;
  /** An answer told how much of a key's allowance of requests or tokens, whichever is scarcer, is used: 0…100. */
  limit?(sample: { operation: 'chat' | 'embeddings'; key: string; usedPct: number }): void;
  /** A request is kept back for so long because the key's allowance is used up. */
  waited?(sample: { operation: 'chat' | 'embeddings'; key: string; kind: 'requests' | 'tokens'; ms: number }): void;
  tokens?(sample: { kind: 'prompt' | 'completion' | 'embedding'; model: string; count: number }): void;
}
