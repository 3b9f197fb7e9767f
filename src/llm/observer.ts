/** What the providers tell metrics; every hook is optional. Keys are named by their place in the list, never by their text. */
export interface ProviderObserver {
  /** One HTTP request ended: `status` is the HTTP status, or `timeout`, `connection`, `malformed`, `aborted`. */
  request?(sample: { operation: 'chat' | 'embeddings'; key: string; status: string; ms: number }): void;
  tokens?(sample: { kind: 'prompt' | 'completion' | 'embedding'; model: string; count: number }): void;
}
