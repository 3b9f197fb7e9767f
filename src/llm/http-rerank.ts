/**
 * A rerank server: `POST /rerank` as Cohere, Jina, vLLM and many others speak it. One attempt a key, each with a short time
 * limit: a search does without rather than wait. States of a key: it is asked in turn; whatever it refuses, the next one is
 * asked; who is silent to one is silent to all. States of the server: asked → after failures in a row `resting`, when
 * nobody waits for it → one search tries it, and decides.
 */
import type { Reranker } from '../contracts/index.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { AppError, messageOf } from '../kernel/errors.ts';

export interface HttpRerankOptions {
  /** With or without `/rerank` at its end. */
  url: string;
  /** Empty: a server that asks for none. */
  apiKeys: readonly string[];
  model: string;
  timeoutMs?: number;
  clock?: Pick<Clock, 'now'>;
}

const TIMEOUT_MS = 3_000;
const FAILURES_TO_REST = 3;
const REST_MS = 10_000;
/** A longer answer is none. */
const MAX_ANSWER_BYTES = 4_000_000;
/** A cross-encoder reads question and passage together, which is worth more than what found them; not all, for it errs too. */
const WEIGHT = 0.8;

interface Ranked {
  readonly index: number;
  readonly relevance_score: number;
}

function isRanked(value: unknown, count: number): value is Ranked {
  if (typeof value !== 'object' || value === null) return false;
  const { index, relevance_score: score } = value as Readonly<Record<string, unknown>>;
  return Number.isInteger(index) && Number(index) >= 0 && Number(index) < count && Number.isFinite(score);
}

/** Scores of the answer in [0, 1], in the order of the texts. Throws for an answer that leaves one out. */
function scoresOf(answer: unknown, count: number): number[] {
  const body = answer as { results?: unknown; data?: unknown } | null;
  const results = body?.results ?? body?.data;
  if (!Array.isArray(results) || !results.every((one): one is Ranked => isRanked(one, count))) {
    throw new Error('the rerank server sent no list of results');
  }
  const scores = new Map(results.map(({ index, relevance_score: score }) => [index, score]));
  if (scores.size !== count) throw new Error(`the rerank server scored ${scores.size} of ${count} texts`);
  const raw = Array.from({ length: count }, (_, index) => scores.get(index) ?? 0);
  // Some servers send logits: those are brought into [0, 1] by the logistic function, which keeps their order.
  return raw.some((score) => score < 0 || score > 1) ? raw.map((score) => 1 / (1 + Math.exp(-score))) : raw;
}

async function readBounded(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const block of response.body ?? []) {
    bytes += block.byteLength;
    if (bytes > MAX_ANSWER_BYTES) throw new Error('the rerank server answered with too much');
    text += decoder.decode(block, { stream: true });
  }
  return text + decoder.decode();
}

export function createHttpRerank({
  url,
  apiKeys,
  model,
  timeoutMs = TIMEOUT_MS,
  clock = systemClock,
}: HttpRerankOptions): Reranker {
  const bare = url.replace(/\/+$/, '');
  const address = bare.endsWith('/rerank') ? bare : `${bare}/rerank`;
  const keys = apiKeys.length > 0 ? apiKeys : [''];
  let turn = 0;
  let failures = 0;
  let restsUntil = 0;

  async function ask(key: string, query: string, texts: readonly string[], signal: AbortSignal): Promise<number[]> {
    const response = await fetch(address, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ model, query, documents: texts, top_n: texts.length, return_documents: false }),
      signal,
      redirect: 'error',
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`the rerank server answered ${response.status}`);
    }
    return scoresOf(JSON.parse(await readBounded(response)), texts.length);
  }

  async function askKeys(query: string, texts: readonly string[], signal?: AbortSignal): Promise<number[]> {
    let failure: unknown;
    for (let attempt = 0; attempt < keys.length; attempt += 1) {
      const key = keys[turn % keys.length] ?? '';
      turn += 1;
      const limit = AbortSignal.timeout(timeoutMs);
      try {
        return await ask(key, query, texts, signal ? AbortSignal.any([signal, limit]) : limit);
      } catch (error) {
        failure = error;
        if (signal?.aborted || limit.aborted) break;
      }
    }
    throw failure;
  }

  function unavailable(why: string, cause?: unknown): AppError {
    const retryAfterMs = Math.max(1_000, restsUntil - clock.now());
    return new AppError('provider_unavailable', `Reranking is not available: ${why}.`, { cause, retryAfterMs });
  }

  return {
    model,
    weight: WEIGHT,
    async rerank(query, texts, signal) {
      if (texts.length === 0) return [];
      if (clock.now() < restsUntil) throw unavailable('the server failed several times in a row');
      // Whoever comes while this one tries does without.
      if (failures >= FAILURES_TO_REST) restsUntil = clock.now() + REST_MS;
      try {
        const scores = await askKeys(query, texts, signal);
        failures = 0;
        restsUntil = 0;
        return scores;
      } catch (error) {
        if (signal?.aborted) {
          // It says nothing about the server: the next one may try.
          restsUntil = 0;
          throw error;
        }
        failures += 1;
        if (failures >= FAILURES_TO_REST) restsUntil = clock.now() + REST_MS;
        throw unavailable(messageOf(error), error);
      }
    },
  };
}
