/**
 * Chat with one key that a user brought. There is no falling back to the installation's keys: that would spend somebody
 * else's money without a word. A failure says whose key it was, and keeps no cause, since a server may repeat the key in it.
 */
import type { AnswerPart, ChatProvider } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import type { ProviderDependencies } from './create-providers.ts';
import { createOpenAiChat } from './openai-chat.ts';
import { ProviderFailure } from './provider-failure.ts';

export interface OwnKeyChatOptions extends ProviderDependencies {
  baseUrl: string | undefined;
  model: string;
  key: string;
}

/** Users' keys are one series of the metrics, beside the installation's by number. */
const LABEL = 'user';

export function createOwnKeyChat({ baseUrl, model, key, clock, logger, observer }: OwnKeyChatOptions): ChatProvider {
  // How much of an own key's allowance is used is no operator's alarm.
  const { limit: _limit, ...observed } = observer ?? {};
  const provider = createOpenAiChat({
    baseUrl,
    apiKeys: [key],
    keyLabel: LABEL,
    model,
    clock,
    logger,
    observer: observed,
  });
  return {
    ...provider,
    async *answer(request, signal): AsyncGenerator<AnswerPart> {
      try {
        yield* provider.answer(request, signal);
      } catch (error) {
        throw ofOwnKey(error);
      }
    },
    async summarise(request, signal) {
      try {
        return await provider.summarise(request, signal);
      } catch (error) {
        throw ofOwnKey(error);
      }
    },
  };
}

function ofOwnKey(error: unknown): unknown {
  if (!(error instanceof AppError)) return error;
  if (error.cause instanceof ProviderFailure && error.cause.kind === 'key_rejected') {
    // No wait and no other attempt helps: the user has to act.
    return new AppError(
      'conflict',
      'The model provider refuses your own API key. Replace it in your settings, or remove it to use the installation’s.',
    );
  }
  return new AppError(
    error.kind,
    `With your own API key: ${error.message}`,
    error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs },
  );
}
