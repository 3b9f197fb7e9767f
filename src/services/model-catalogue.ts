/** Which models answer and embed here, by the names that requests may give them. */
import type { ChatProvider } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import type { Spaces } from './spaces.ts';

export interface KnownModel {
  id: string;
  /** The driver, e.g. `builtin`, `openai`. */
  owner: string;
}

export interface ModelCatalogue {
  /** The one that answers, then the one of the active embedding space. */
  list(): Promise<KnownModel[]>;
  /** Throws `not_found`. */
  get(id: string): Promise<KnownModel>;
  /** The model that answers where a request names this one: any other server's models are its own to know. */
  answering(requested: string): string;
}

export interface ModelCatalogueOptions {
  chat: Pick<ChatProvider, 'provider' | 'model'>;
  spaces: Pick<Spaces, 'current'>;
}

export function createModelCatalogue({ chat, spaces }: ModelCatalogueOptions): ModelCatalogue {
  async function list(): Promise<KnownModel[]> {
    const { embeddings } = await spaces.current();
    const models = [chat, embeddings].map(({ model, provider }) => ({ id: model, owner: provider }));
    return models.filter(({ id }, at) => models.findIndex((other) => other.id === id) === at);
  }
  return {
    list,
    async get(id) {
      const found = (await list()).find((model) => model.id === id);
      if (!found) throw new AppError('not_found', 'There is no such model.', { errors: [] });
      return found;
    },
    answering: (requested) => (chat.provider === 'builtin' ? chat.model : requested),
  };
}
