/** Everything below `/v1`: OpenAI's API over the same services as `/api/v1`. */
import { Elysia } from 'elysia';
import type { Clock } from '../../kernel/clock.ts';
import type { ApiServices } from '../ports.ts';
import { createOpenAiCompletions } from './chat-completions.ts';
import { createOpenAiEmbeddings } from './embeddings.ts';
import { createOpenAiFiles } from './files.ts';
import { createOpenAiModels } from './models.ts';
import { createOpenAiResponses } from './responses.ts';
import { createOpenAiVectorStoreFiles } from './vector-store-files.ts';
import { createOpenAiVectorStores } from './vector-stores.ts';

export function createOpenAiRoutes(services: ApiServices & { clock: Clock }) {
  return new Elysia({ name: 'openai', prefix: '/v1' })
    .use(createOpenAiModels(services))
    .use(createOpenAiEmbeddings(services))
    .use(createOpenAiCompletions(services))
    .use(createOpenAiResponses(services))
    .use(createOpenAiFiles(services))
    .use(createOpenAiVectorStores(services))
    .use(createOpenAiVectorStoreFiles(services));
}
