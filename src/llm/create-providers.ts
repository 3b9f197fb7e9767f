/** Picks the providers that the configuration names. What is not configured is built in and needs no network. */
import type { ChatProvider, EmbeddingProvider } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import { createBuiltinChat } from './builtin-chat.ts';
import { createBuiltinEmbeddings } from './builtin-embeddings.ts';
import type { ProviderObserver } from './observer.ts';

export interface ProviderConfig {
  openaiBaseUrl?: string | undefined;
  openaiApiKeys: readonly string[];
  embeddingBaseUrl?: string | undefined;
  embeddingApiKeys?: readonly string[] | undefined;
  chatModel?: string | undefined;
  embeddingModel?: string | undefined;
  embeddingDimensions?: number | undefined;
  embeddingPrefixes?: { readonly query?: string | undefined; readonly document?: string | undefined } | undefined;
}

export interface ProviderDependencies {
  clock: Clock;
  logger: Logger;
  observer?: ProviderObserver;
}

export interface Providers {
  readonly chat: ChatProvider;
  readonly embeddings: EmbeddingProvider;
  /** Settles `embeddings.dimensions` where only the server's first answer can tell. Fails with `provider_unavailable`. */
  prepare(signal: AbortSignal): Promise<void>;
}

export const CHAT_MODEL = 'gpt-4o-mini';
export const EMBEDDING_MODEL = 'text-embedding-3-small';

/** The OpenAI drivers are loaded only where they are used: the package takes 70 ms and 20 MB. */
export async function createProviders(config: ProviderConfig, dependencies: ProviderDependencies): Promise<Providers> {
  const chatServer = server(config.openaiBaseUrl, config.openaiApiKeys);
  const embeddingServer = server(config.embeddingBaseUrl, config.embeddingApiKeys ?? []) ?? chatServer;
  const chat = chatServer
    ? (await import('./openai-chat.ts')).createOpenAiChat({
        ...chatServer,
        ...dependencies,
        model: config.chatModel ?? CHAT_MODEL,
      })
    : createBuiltinChat();
  if (!embeddingServer) {
    const dimensions = config.embeddingDimensions;
    return {
      chat,
      embeddings: createBuiltinEmbeddings(dimensions === undefined ? {} : { dimensions }),
      prepare: async () => undefined,
    };
  }
  const embeddings = (await import('./openai-embeddings.ts')).createOpenAiEmbeddings({
    baseUrl: embeddingServer.baseUrl ?? config.openaiBaseUrl,
    apiKeys: embeddingServer.apiKeys.length > 0 ? embeddingServer.apiKeys : config.openaiApiKeys,
    ...dependencies,
    model: config.embeddingModel ?? EMBEDDING_MODEL,
    dimensions: config.embeddingDimensions,
    prefixes: config.embeddingPrefixes,
  });
  return { chat, embeddings, prepare: (signal) => embeddings.prepare(signal) };
}

/** A server is configured by its address, or by keys alone (then it is OpenAI's). */
function server(
  baseUrl: string | undefined,
  apiKeys: readonly string[],
): { baseUrl: string | undefined; apiKeys: readonly string[] } | undefined {
  return baseUrl || apiKeys.length > 0 ? { baseUrl, apiKeys } : undefined;
}
