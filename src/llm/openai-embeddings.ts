/** Embeddings from any OpenAI-compatible server, checked before anybody stores them. */
import type { EmbeddingProvider, Embeddings, EmbedOptions } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { truncate } from '../kernel/text/normalise.ts';
import { estimateTokens } from '../kernel/text/tokens.ts';
import { away } from '../kernel/turns.ts';
import { type AttemptPolicy, answered, attempt } from './attempts.ts';
import { createKeyPool, type KeyLease } from './key-pool.ts';
import type { ProviderObserver } from './observer.ts';
import { createDeadline, createOpenAiClients } from './openai-client.ts';
import { malformed, ProviderFailure } from './provider-failure.ts';

export interface OpenAiEmbeddingOptions {
  baseUrl?: string | undefined;
  apiKeys: readonly string[];
  model: string;
  /** Asked of the server, and demanded of its answers; absent: what the model is known for, else its first answer decides. */
  dimensions?: number | undefined;
  /** What stands before a text, so that the model knows what it is for; absent: what the model's name is known to want. */
  prefixes?: EmbeddingPrefixes | undefined;
  clock: Clock;
  logger: Logger;
  observer?: ProviderObserver;
  random?(): number;
  timeoutMs?: number;
  policy?: Partial<AttemptPolicy>;
}

type EmbeddingPrefixes = { readonly [purpose in EmbedOptions['purpose']]?: string | undefined };

export interface OpenAiEmbeddings extends EmbeddingProvider {
  /** Settles `dimensions` (0 until then, where neither configuration nor the model's name tells) by embedding one word. */
  prepare(signal: AbortSignal): Promise<void>;
}

const KNOWN_DIMENSIONS: Readonly<Record<string, number>> = {
  'text-embedding-3-small': 1536,
  'text-embedding-3-large': 3072,
  'text-embedding-ada-002': 1536,
};
/**
 * Measured with multilingual-e5-small (nDCG@10 of text, vector, hybrid): XQuAD en 0.985, 0.975, 0.986, zh 0.980, 0.939, 0.979;
 * abstracts 0.572, 0.583, 0.617; Chinese descriptions 0.938, 0.900, 0.958; turns of talks 0.439, 0.449, 0.507; functions by
 * what they do 0.571, 0.786, 0.778. One weight for all questions falls below text in Chinese from 0.6 on and needs 0.65 for
 * functions.
 */
const VECTOR_WEIGHT = 0.4;
const WORDLESS_WEIGHT = 0.8;
/** OpenAI's limit; a longer text is cut, which a chunk never is. */
const MAX_INPUT_TOKENS = 8_000;
/** OpenAI's limit of one request is 300,000, by its own count; a batch of the longest chunks would have half a million. */
const MAX_REQUEST_TOKENS = 200_000;
const MAX_BATCH = 128;
const TOO_LARGE = '413';

export function createOpenAiEmbeddings(options: OpenAiEmbeddingOptions): OpenAiEmbeddings {
  const { model, clock, logger, observer = {}, random = Math.random, timeoutMs = 60_000 } = options;
  const policy: AttemptPolicy = { attempts: 3, baseMs: 500, maxWaitMs: 3_000, ...options.policy };
  const pool = createKeyPool({ keys: options.apiKeys, clock });
  const clientOf = createOpenAiClients({ baseUrl: options.baseUrl });
  let dimensions = options.dimensions ?? KNOWN_DIMENSIONS[model] ?? 0;
  /** Texts of one request: fewer once the server has said that so many are too many. */
  let most = MAX_BATCH;

  async function request(lease: KeyLease, input: string[], estimate: number, signal: AbortSignal): Promise<Embeddings> {
    const deadline = createDeadline(clock, signal, timeoutMs);
    try {
      const { data, response } = await deadline.race(
        clientOf(lease.key)
          .embeddings.create(
            { model, input, encoding_format: 'base64', ...(options.dimensions && { dimensions: options.dimensions }) },
            { signal: deadline.signal },
          )
          .withResponse(),
      );
      answered({ observer, operation: 'embeddings' }, lease, response.headers);
      const { vectors, tokens } = read(data, input.length);
      assertDimensions(vectors, dimensions);
      dimensions = vectors[0]?.length ?? dimensions;
      return { vectors, tokens: tokens ?? estimate, counted: tokens === undefined };
    } finally {
      deadline.end();
    }
  }

  function ask(input: string[], tokens: number, signal: AbortSignal): Promise<Embeddings> {
    const need = { model, tokens };
    return attempt({ pool, clock, random, logger, observer, operation: 'embeddings', need, policy, signal }, (lease) =>
      request(lease, input, tokens, signal),
    );
  }

  /** The first texts from a place on that one request may have, and their tokens. */
  function nextRequest(input: readonly string[], from: number): { part: string[]; tokens: number } {
    const part: string[] = [];
    let tokens = 0;
    for (const text of input.slice(from, from + most)) {
      const own = estimateTokens(text);
      if (part.length > 0 && tokens + own > MAX_REQUEST_TOKENS) break;
      part.push(text);
      tokens += own;
    }
    return { part, tokens };
  }

  /** By one request, or by several one after the other where one would be too large. */
  async function askAll(input: readonly string[], signal: AbortSignal): Promise<Embeddings> {
    const vectors: Float32Array[] = [];
    let tokens = 0;
    while (vectors.length < input.length) {
      const next = nextRequest(input, vectors.length);
      try {
        const answer = await ask(next.part, next.tokens, signal);
        vectors.push(...answer.vectors);
        tokens += answer.tokens;
      } catch (error) {
        if (next.part.length === 1 || !isTooLarge(error)) throw error;
        most = Math.min(most, Math.ceil(next.part.length / 2));
        logger.warn({ texts: next.part.length, most }, 'the provider takes fewer texts at once');
      }
    }
    return { vectors, tokens };
  }

  const provider: OpenAiEmbeddings = {
    provider: 'openai',
    model,
    get dimensions() {
      return dimensions;
    },
    get maxBatch() {
      return most;
    },
    vectorWeight: VECTOR_WEIGHT,
    wordlessWeight: WORDLESS_WEIGHT,
    async embed(texts, { signal = new AbortController().signal, purpose }) {
      if (texts.length === 0) return { vectors: [], tokens: 0 };
      if (texts.length > MAX_BATCH)
        throw new AppError('internal', `At most ${MAX_BATCH} texts are embedded in one call.`);
      const input = texts.map((text) => prepareInput(text, options.prefixes?.[purpose] ?? prefixFor(model, purpose)));
      const result = await away(() => askAll(input, signal));
      observer.tokens?.({ kind: 'embedding', model, count: result.tokens });
      return result;
    },
    async prepare(signal) {
      if (dimensions === 0) await provider.embed(['dimensions'], { purpose: 'query', signal });
    },
  };
  return provider;
}

const isTooLarge = (error: unknown) =>
  error instanceof AppError && error.cause instanceof ProviderFailure && error.cause.status === TOO_LARGE;

/** Servers refuse empty input and half a surrogate pair, and some models want to be told what a text is for. */
function prepareInput(text: string, prefix: string): string {
  // No unit counts for more than a token, so a short text need not be counted.
  const isLong = text.length > MAX_INPUT_TOKENS && estimateTokens(text) > MAX_INPUT_TOKENS;
  const fitting = isLong ? truncate(text, MAX_INPUT_TOKENS) : text;
  return prefix + (fitting.trim() === '' ? '-' : fitting.toWellFormed());
}

/** As their model cards say: E5 and Nomic mark both sides, the English BGE and mxbai the question only. */
function prefixFor(model: string, purpose: EmbedOptions['purpose']): string {
  const query = purpose === 'query';
  if (/\be5-|(?:^|[/-])e5(?:-|$)/i.test(model) && !/instruct/i.test(model)) return query ? 'query: ' : 'passage: ';
  if (/nomic-embed-text/i.test(model)) return query ? 'search_query: ' : 'search_document: ';
  if (query && /bge-(?:small|base|large)-en|mxbai-embed-large/i.test(model)) {
    return 'Represent this sentence for searching relevant passages: ';
  }
  return '';
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** Vectors in the order of the input, of unit length. Throws `ProviderFailure` for anything that does not add up. */
function read(response: unknown, count: number): { vectors: Float32Array[]; tokens: number | undefined } {
  if (!isRecord(response) || !Array.isArray(response['data']))
    throw malformed('no embeddings but something else (a web page?)');
  const data: unknown[] = response['data'];
  if (data.length !== count) throw malformed(`${data.length} embeddings for ${count} texts`);
  const vectors = new Array<Float32Array | undefined>(count).fill(undefined);
  for (const [position, item] of data.entries()) {
    if (!isRecord(item)) throw malformed('an embedding that is none');
    const index = typeof item['index'] === 'number' ? item['index'] : position;
    if (!Number.isInteger(index) || index < 0 || index >= count || vectors[index])
      throw malformed('embeddings in no order');
    vectors[index] = unitLength(decode(item['embedding']));
  }
  const usage = response['usage'];
  const tokens = isRecord(usage) ? (usage['total_tokens'] ?? usage['prompt_tokens']) : undefined;
  return {
    vectors: vectors.filter((vector) => vector !== undefined),
    tokens: typeof tokens === 'number' ? tokens : undefined,
  };
}

/** Base64 of little-endian float32, or plain numbers from servers that ignore `encoding_format`. */
function decode(embedding: unknown): Float32Array {
  if (typeof embedding === 'string') {
    // A copy, because a small Buffer need not begin where floats may; not by `from`, which goes byte by byte.
    const bytes = new Uint8Array(Buffer.from(embedding, 'base64'));
    if (bytes.length === 0 || bytes.length % 4 !== 0) throw malformed('an embedding of broken base64');
    return new Float32Array(bytes.buffer, 0, bytes.length / 4);
  }
  if (Array.isArray(embedding) && embedding.length > 0 && embedding.every((value) => typeof value === 'number')) {
    return Float32Array.from(embedding);
  }
  throw malformed('an embedding that is none');
}

/** Changes the vector itself: a call for each number takes ten times as long. */
function unitLength(vector: Float32Array): Float32Array {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += (vector[i] ?? 0) ** 2;
  const norm = Math.sqrt(sum);
  if (!Number.isFinite(norm) || norm === 0) throw malformed('an embedding without direction');
  for (let i = 0; i < vector.length; i++) vector[i] = (vector[i] ?? 0) / norm;
  return vector;
}

function assertDimensions(vectors: readonly Float32Array[], expected: number): void {
  const wanted = expected || (vectors[0]?.length ?? 0);
  const other = vectors.find((vector) => vector.length !== wanted);
  if (!other) return;
  throw new ProviderFailure(
    'unusable',
    `The embedding model answers with ${other.length} dimensions instead of ${wanted}; set EMBEDDING_DIMENSIONS to what it has.`,
    { status: 'malformed' },
  );
}
