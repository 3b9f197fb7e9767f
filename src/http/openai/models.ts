/** `GET /v1/models`: what answers and what embeds. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import type { KnownModel, ModelCatalogue } from '../../services/model-catalogue.ts';
import { authenticated } from '../plugins/auth.ts';
import { describeOpenAi } from './documentation.ts';

/** Clients want a date; of most models none is known, and this is that of the API itself, in seconds. */
const CREATED = Date.UTC(2026, 10, 22) / 1_000;

const toModel = ({ id, owner }: KnownModel) => ({ id, object: 'model', created: CREATED, owned_by: owner });
const example = toModel({ id: 'gpt-4o-mini', owner: 'openai' });
/** Of any form: names of models have slashes and colons on some servers. */
const ModelParams = Type.Object({ model: Type.String({ minLength: 1, maxLength: 200 }) });

export function createOpenAiModels({ models }: { models: ModelCatalogue }) {
  return new Elysia({ name: 'openai.models' })
    .use(authenticated)
    .get('/models', async () => ({ object: 'list', data: (await models.list()).map(toModel) }), {
      detail: describeOpenAi({ summary: 'The models', example: { object: 'list', data: [example] } }),
    })
    .get('/models/:model', async ({ params }) => toModel(await models.get(params.model)), {
      params: ModelParams,
      detail: describeOpenAi({ summary: 'One model', example }),
    });
}
