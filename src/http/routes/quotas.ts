import { Elysia } from 'elysia';
import { Quotas } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { quotas as example } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { QuotaChangeBody } from '../models/administration.ts';
import { authenticated } from '../plugins/auth.ts';
import type { QuotasPort } from '../ports.ts';

const tag = 'administration';
const answers = { 200: { description: 'The limits in force, and what bounds them', schema: Quotas, example } };

export function createQuotaRoutes({ quotas }: { quotas: QuotasPort }) {
  return new Elysia({ name: 'routes.quotas' })
    .use(authenticated)
    .get('/quotas', () => quotas.get(), {
      response: { 200: Quotas },
      detail: describe({ tag, summary: 'What the tenant may take', answers, errors: ['forbidden'] }),
    })
    .put('/quotas', ({ body }) => quotas.set(body), {
      parse: jsonBody,
      body: QuotaChangeBody,
      response: { 200: Quotas },
      detail: describe({
        tag,
        summary: 'Limit what the tenant may take',
        description:
          'Up to its ceilings. What is absent stays as it is, null sets it back. Counts from the next upload and the next hand-out on.',
        answers,
        errors: ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type', 'forbidden'],
      }),
    });
}
