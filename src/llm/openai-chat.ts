/**
 * Answers from any OpenAI-compatible server. A stream goes: opening (keys, retries, until the first words) → streaming →
 * complete, and only `finish_reason` completes it. From the first words on nothing is retried: the reader has seen them.
 */
import type { ChatCompletionChunk } from 'openai/resources/chat/completions';
import type { AnswerPart, AnswerRequest, ChatProvider } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { estimateTokens } from '../kernel/text/tokens.ts';
import { type AttemptOptions, type AttemptPolicy, answered, attempt, report } from './attempts.ts';
import { createKeyPool, type KeyLease } from './key-pool.ts';
import { factsOf } from './models.ts';
import type { ProviderObserver } from './observer.ts';
import { createDeadline, createOpenAiClients, type Deadline } from './openai-client.ts';
import { buildPrompt, type PromptMessage } from './prompt.ts';
import { classify, malformed, ProviderFailure, timedOut, toAppError } from './provider-failure.ts';
import { buildSummaryPrompt } from './summary-prompt.ts';

export interface OpenAiChatOptions {
  baseUrl?: string | undefined;
  apiKeys: readonly string[];
  /** What the keys are called in logs and metrics; default: each by its place. */
  keyLabel?: string;
  model: string;
  clock: Clock;
  logger: Logger;
  observer?: ProviderObserver;
  random?(): number;
  nonce?(): string;
  /** Prompt and answer together; default by model. */
  contextTokens?: number;
  /** From the request to the first chunk. */
  firstChunkTimeoutMs?: number;
  /** From one chunk to the next. */
  idleTimeoutMs?: number;
  /** From the first chunk to the last. Default 10 minutes. */
  wholeTimeoutMs?: number;
  policy?: Partial<AttemptPolicy>;
}

/** Room that the prompt leaves for the answer. */
const ANSWER_TOKENS = 2_048;
/** How long the usage may take once the answer is complete. */
const AFTER_FINISH_MS = 5_000;

interface Opened {
  readonly deadline: Deadline;
  readonly lease: KeyLease;
  readonly chunks: AsyncIterator<ChatCompletionChunk>;
  readonly progress: Progress;
  readonly first: string;
}

/** More than any model writes at once, in UTF-16 units: a server that repeats itself for ever must not fill our memory. */
const LONGEST_ANSWER = 1_000_000;

interface Progress {
  finish: string | null;
  /** Until when it has to be whole, in milliseconds since the epoch: each chunk may come in time, and the last one never. */
  readonly until: number;
  /** UTF-16 units so far. */
  length: number;
  promptTokens: number | undefined;
  completionTokens: number | undefined;
}

/**
 * The next chunk. After `finish_reason` only the usage may follow: a server that keeps the connection open or drops it
 * there has answered completely.
 */
async function next(
  deadline: Deadline,
  chunks: AsyncIterator<ChatCompletionChunk>,
  progress: Progress,
): Promise<IteratorResult<ChatCompletionChunk, undefined>> {
  try {
    const result = await deadline.race(chunks.next());
    deadline.signal.throwIfAborted();
    return result;
  } catch (error) {
    if (progress.finish !== null && !deadline.abandoned()) return { done: true, value: undefined };
    throw error;
  }
}

export function createOpenAiChat(options: OpenAiChatOptions): ChatProvider {
  const {
    model,
    clock,
    logger,
    observer = {},
    random = Math.random,
    nonce = () => crypto.randomUUID().replaceAll('-', '').slice(0, 12),
  } = options;
  const { firstChunkTimeoutMs = 90_000, idleTimeoutMs = 30_000, wholeTimeoutMs = 600_000 } = options;
  const policy: AttemptPolicy = { attempts: 3, baseMs: 300, maxWaitMs: 4_000, ...options.policy };
  const pool = createKeyPool({ keys: options.apiKeys, clock, label: options.keyLabel });
  const clientOf = createOpenAiClients({ baseUrl: options.baseUrl });
  const contextTokens = options.contextTokens ?? factsOf(model).contextTokens;

  /** One request, up to its first words; a stream that ends before them is complete or a failure like any other. */
  async function open(lease: KeyLease, used: string, messages: PromptMessage[], signal: AbortSignal): Promise<Opened> {
    const deadline = createDeadline(clock, signal, firstChunkTimeoutMs);
    try {
      const { data, response } = await deadline.race(
        clientOf(lease.key)
          .chat.completions.create(
            { model: used, messages, stream: true, stream_options: { include_usage: true } },
            { signal: deadline.signal },
          )
          .withResponse(),
      );
      answered({ observer, operation: 'chat' }, lease, response.headers);
      const type = response.headers.get('content-type') ?? '';
      if (/text\/html|application\/json/i.test(type))
        throw malformed(`no stream but ${type.split(';')[0] ?? 'something else'}`);
      const opened = {
        deadline,
        lease,
        chunks: data[Symbol.asyncIterator](),
        progress: {
          finish: null,
          until: clock.now() + wholeTimeoutMs,
          length: 0,
          promptTokens: undefined,
          completionTokens: undefined,
        },
      };
      deadline.extend(firstChunkTimeoutMs);
      return { ...opened, first: (await nextText(opened)) ?? '' };
    } catch (error) {
      const reason = deadline.signal.aborted ? deadline.signal.reason : error;
      deadline.end();
      throw reason;
    }
  }

  /** The next words, or `undefined` once the provider has said that it is done and the stream ended. */
  async function nextText({ deadline, chunks, progress }: Omit<Opened, 'first'>): Promise<string | undefined> {
    for (;;) {
      const { done, value } = await next(deadline, chunks, progress);
      deadline.extend(progress.finish === null ? idleTimeoutMs : AFTER_FINISH_MS);
      if (done) {
        if (progress.finish === null) throw malformed('an answer that was cut off');
        if (progress.finish === 'content_filter') {
          throw new ProviderFailure('bad_request', "The model provider's content filter stopped the answer.", {
            status: '200',
          });
        }
        return undefined;
      }
      if (value.usage) {
        progress.promptTokens = value.usage.prompt_tokens;
        progress.completionTokens = value.usage.completion_tokens;
      }
      const choice = value.choices?.[0];
      if (choice?.finish_reason) {
        progress.finish = choice.finish_reason;
        deadline.extend(AFTER_FINISH_MS);
      }
      if (progress.finish === null && clock.now() > progress.until) throw timedOut();
      const text = choice?.delta?.content || choice?.delta?.refusal;
      if (!text) continue;
      progress.length += text.length;
      if (progress.length > LONGEST_ANSWER) throw malformed('an answer without end');
      return text;
    }
  }

  /** What the model writes after these messages, and at last what that took. */
  async function* complete(
    messages: PromptMessage[],
    used: string,
    signal: AbortSignal,
  ): AsyncGenerator<Exclude<AnswerPart, { type: 'unsupported' }>> {
    const facts = factsOf(used);
    const tokens = messages.reduce((sum, { content }) => sum + estimateTokens(content), 0);
    const need = { model: used, tokens };
    const attempts: AttemptOptions = {
      pool,
      clock,
      random,
      logger,
      observer,
      operation: 'chat',
      need,
      policy,
      signal,
    };
    const opened = await attempt(attempts, (lease) => open(lease, used, messages, signal));
    const started = clock.now();
    let answer = '';
    try {
      for (let text: string | undefined = opened.first; text; text = await nextText(opened)) {
        answer += text;
        yield { type: 'delta', text };
        signal.throwIfAborted();
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const failure = classify(opened.deadline.signal.aborted ? opened.deadline.signal.reason : error, clock.now());
      report(attempts, opened.lease, failure, clock.now() - started);
      throw toAppError(failure);
    } finally {
      opened.deadline.end();
    }
    const promptTokens = opened.progress.promptTokens ?? tokens;
    const completionTokens = opened.progress.completionTokens ?? estimateTokens(answer);
    observer.tokens?.({ kind: 'prompt', model: used, count: promptTokens });
    observer.tokens?.({ kind: 'completion', model: used, count: completionTokens });
    const cost = facts.cost(promptTokens, completionTokens);
    const isSaid = opened.progress.promptTokens !== undefined;
    yield { type: 'usage', promptTokens, completionTokens, cost, ...(!isSaid && { counted: true }) };
  }

  return {
    provider: 'openai',
    model,
    contextTokens,
    countTokens: estimateTokens,
    async *answer(request: AnswerRequest, signal: AbortSignal): AsyncGenerator<AnswerPart> {
      const used = request.model ?? model;
      const context = used === model ? contextTokens : factsOf(used).contextTokens;
      const messages = buildPrompt(request, {
        budgetTokens: context - Math.min(ANSWER_TOKENS, context / 4),
        countTokens: estimateTokens,
        nonce,
      });
      yield* complete(messages, used, signal);
    },
    async summarise(request, signal) {
      const summary = { text: '', model, promptTokens: 0, completionTokens: 0, counted: false };
      for await (const part of complete(buildSummaryPrompt(request, nonce), model, signal)) {
        if (part.type === 'delta') summary.text += part.text;
        else Object.assign(summary, countsOf(part));
      }
      summary.text = summary.text.trim();
      if (summary.text === '') throw new AppError('provider_unavailable', 'The model gave no summary.');
      return summary;
    },
  };
}

const countsOf = ({ promptTokens, completionTokens, counted = false }: Extract<AnswerPart, { type: 'usage' }>) => ({
  promptTokens,
  completionTokens,
  counted,
});
