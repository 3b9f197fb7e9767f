/** Ports of the model providers. `llm/` has the drivers: OpenAI-compatible and the built-in offline one. */
export interface EmbedOptions {
  signal?: AbortSignal;
  /** Some models embed questions and passages differently. */
  purpose: 'document' | 'query';
}

export interface Embeddings {
  /** One unit-length vector a text, in order, each `dimensions` long. */
  vectors: Float32Array[];
  /** Tokens billed. */
  tokens: number;
  /** The provider did not say how many: we counted. */
  counted?: boolean;
}

export interface EmbeddingProvider {
  /** Names the driver and server, e.g. `builtin`, `openai`. Part of the embedding space's identity. */
  readonly provider: string;
  readonly model: string;
  readonly dimensions: number;
  /** The most texts of one `embed` call. */
  readonly maxBatch: number;
  /** Share of the vector score in hybrid search, 0…1; the rest is the text score's. Fits the embedder. */
  readonly vectorWeight: number;
  /** The same for a question whose words the index does not have; absent: the same. */
  readonly wordlessWeight?: number;
  /** Fails with `provider_unavailable` (with `retryAfterMs` where known) when no vector can be had now. */
  embed(texts: readonly string[], options: EmbedOptions): Promise<Embeddings>;
}

/** A retrieved passage as the answerer sees it; answers cite it as `[n]`. */
export interface Passage {
  n: number;
  title: string;
  page: number | null;
  headings: readonly string[];
  text: string;
  /** 0…1, higher is better. */
  score: number;
}

export interface HistoryMessage {
  role: 'user' | 'assistant';
  content: string;
}

/** What a user has noted. */
export interface Fact {
  /** As it was noted, and in words. */
  key: string;
  name: string;
  /** As JSON, and in words. */
  value: string;
  text: string;
}

export interface AnswerRequest {
  question: string;
  /** Earlier messages, oldest first, already cut to the token budget. */
  history: readonly HistoryMessage[];
  passages: readonly Passage[];
  model?: string;
  /** Instructions of the user's own, added to the built-in ones. */
  customPrompt?: string;
  /** A BCP 47 tag to answer in; absent: the question's language. */
  language?: string;
  /** What the user has noted, with the share of the question that each holds (0…1), the most first. */
  facts?: readonly (Fact & { share: number })[];
  /** What was said before `history`. */
  summary?: string;
}

export interface SummaryRequest {
  /** What was said before, summarised; null: nothing was. */
  earlier: string | null;
  /** What was said since, oldest first, cut to what the model can read. */
  messages: readonly HistoryMessage[];
  /** A BCP 47 tag to write in; absent: the conversation's language. */
  language?: string;
}

export interface Summary {
  text: string;
  /** Which model wrote it. */
  model: string;
  promptTokens: number;
  completionTokens: number;
  /** The provider did not say how many, so we counted. */
  counted: boolean;
}

export type AnswerPart =
  | { type: 'delta'; text: string }
  /** The answer says that the passages do not support one: it rests on no source. */
  | { type: 'unsupported' }
  /** `counted`: the provider did not say how many, so we counted. */
  | { type: 'usage'; promptTokens: number; completionTokens: number; cost: number; counted?: boolean };

export interface ChatProvider {
  readonly provider: string;
  readonly model: string;
  /** Tokens that question, history, passages and answer may take together. */
  readonly contextTokens: number;
  /**
   * Streams an answer. The iteration ends normally only when the provider said that the answer is complete; a cut or
   * hanging stream throws `provider_unavailable`. Aborting the signal ends the provider's request at once.
   */
  answer(request: AnswerRequest, signal: AbortSignal): AsyncIterable<AnswerPart>;
  /** The summary of all of a conversation so far, by this provider's own model; never an empty one. Fails as `answer` does. */
  summarise(request: SummaryRequest, signal: AbortSignal): Promise<Summary>;
  /** Tokens that a text takes in this model, near enough to budget with. */
  countTokens(text: string): number;
}
