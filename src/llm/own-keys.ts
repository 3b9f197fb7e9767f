/**
 * Chat with keys that users brought. Each key has a pool, limits and a breaker of its own, kept by whose it is as well, so
 * that what one user's key meets is never felt by another. The driver is loaded with the first of them.
 */
import { createHash } from 'node:crypto';
import type { ChatProvider } from '../contracts/index.ts';
import { createLru } from '../kernel/lru.ts';
import { CHAT_MODEL, type ProviderConfig, type ProviderDependencies } from './create-providers.ts';

export interface OwnKeyChats {
  /** `owner` names whose key it is; the same two are answered by the same provider. */
  with(owner: string, key: string): Promise<ChatProvider>;
}

/** Providers kept, each with what it has learnt of its key. */
const MOST_KEPT = 1_000;

/** They ask the server that the installation is configured for, or OpenAI's where it is for none. */
export function createOwnKeyChats(
  config: Pick<ProviderConfig, 'openaiBaseUrl' | 'chatModel'>,
  dependencies: ProviderDependencies,
): OwnKeyChats {
  const kept = createLru<string, ChatProvider>(MOST_KEPT);
  return {
    async with(owner, key) {
      const { createOwnKeyChat } = await import('./own-key-chat.ts');
      const id = createHash('sha256').update(`${owner}\n${key}`).digest('base64');
      const known = kept.get(id);
      if (known) return known;
      const provider = createOwnKeyChat({
        baseUrl: config.openaiBaseUrl,
        model: config.chatModel ?? CHAT_MODEL,
        key,
        ...dependencies,
      });
      kept.set(id, provider);
      return provider;
    },
  };
}
