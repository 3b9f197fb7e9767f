/** What embeds for an embedding space that is not the configured one: another model of the same server, or the built-in. */
import type { EmbeddingProvider } from '../contracts/index.ts';
import { createBuiltinEmbeddings } from './builtin-embeddings.ts';
import { EMBEDDING_MODEL, type ProviderConfig, type ProviderDependencies } from './create-providers.ts';

export interface EmbeddingIdentity {
  provider: string;
  model: string;
  dimensions: number;
}

/** Undefined where this configuration names no server that could have the model. */
export async function openEmbeddings(
  { provider, model, dimensions }: EmbeddingIdentity,
  config: ProviderConfig,
  dependencies: ProviderDependencies,
): Promise<EmbeddingProvider | undefined> {
  if (provider === 'builtin') {
    const builtin = createBuiltinEmbeddings({ dimensions });
    return builtin.model === model ? builtin : undefined;
  }
  const baseUrl = config.embeddingBaseUrl ?? config.openaiBaseUrl;
  const own = config.embeddingApiKeys ?? [];
  const apiKeys = own.length > 0 ? own : config.openaiApiKeys;
  if (provider !== 'openai' || (baseUrl === undefined && apiKeys.length === 0)) return undefined;
  const { createOpenAiEmbeddings } = await import('./openai-embeddings.ts');
  // Prefixes were set for the configured model; another one's are known by its name.
  const prefixes = model === (config.embeddingModel ?? EMBEDDING_MODEL) ? config.embeddingPrefixes : undefined;
  return createOpenAiEmbeddings({ baseUrl, apiKeys, ...dependencies, model, dimensions, prefixes });
}
