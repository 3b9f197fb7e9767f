/** What people may ask for of their own data: that it goes, and to take it along. Who may read a report when nobody is left: `plugins/auth.ts`. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { ErasureResource, PageOf } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { doneErasure, erasure } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { ErasureBody, ExportBody } from '../models/privacy.ts';
import { administered } from '../plugins/administered.ts';
import { authenticated } from '../plugins/auth.ts';
import type { ErasuresPort, ExportsPort } from '../ports.ts';
import { attachmentDisposition } from '../responses.ts';

const tag = 'privacy';
const List = PageOf(ErasureResource);

export function createPrivacyRoutes({ erasures, exports }: { erasures: ErasuresPort; exports: ExportsPort }) {
  const own = new Elysia({ name: 'routes.privacy' })
    .use(authenticated)
    .post(
      '/privacy/erasure',
      async ({ body, principal, status }) => status(202, await erasures.order(body, principal)),
      {
        parse: jsonBody,
        body: ErasureBody,
        response: { 202: ErasureResource },
        detail: describe({
          tag,
          summary: 'Erase the own account, or the whole tenant',
          description:
            'At once nobody logs in any more, every session, key and socket ends, and the names are free; the data goes in the background, in practice within seconds, within 72 hours at the latest. `user`: the account with its private documents, conversations and settings; documents that the tenant sees stay, under its longest-standing owner. `tenant`: everything of everybody, for owners, who say its name in `confirm`. The last owner makes another one first; with its only member a tenant goes too.',
          answers: { 202: { description: 'Ordered', schema: ErasureResource, example: erasure } },
          errors: [
            'malformed',
            'invalid_request',
            'payload_too_large',
            'unsupported_media_type',
            'conflict',
            'unavailable',
          ],
        }),
      },
    )
    .get('/privacy/erasure/:id', ({ params }) => erasures.get(params.id), {
      params: IdParams,
      response: { 200: ErasureResource },
      detail: describe({
        tag,
        summary: 'How an erasure goes',
        description:
          'For who ordered it, with the access token that it was ordered with: it is good for this until it expires. Afterwards the operator has the report, which names nobody.',
        answers: { 200: { description: 'The report', schema: ErasureResource, example: doneErasure } },
        errors: ['not_found'],
      }),
    })
    .post(
      '/privacy/export',
      async ({ body, principal, request }) =>
        new Response(await exports.start({ scope: body.scope ?? 'user' }, principal, request.signal), {
          headers: {
            'content-type': 'application/zip',
            'content-disposition': attachmentDisposition('dreamhub-export.zip'),
            'cache-control': 'no-store',
            'x-content-type-options': 'nosniff',
          },
        }),
      {
        parse: jsonBody,
        body: ExportBody,
        detail: describe({
          tag,
          summary: 'Take the own data along, or the tenant’s',
          description:
            'A ZIP that is made while it is read: documents as they were uploaded, their extracted texts and metadata, conversations with their sources, settings and everything else that is the user’s, as JSON, with a README. `tenant`, for owners: all that the tenant sees; what others keep private is never in it. One at a time.',
          answers: {
            200: {
              description: 'The ZIP',
              schema: Type.String({ format: 'binary' }),
              contentType: 'application/zip',
            },
          },
          errors: ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type', 'rate_limited'],
        }),
      },
    );
  const overseen = new Elysia({ name: 'routes.admin-erasures' })
    .use(administered)
    .get('/admin/erasures', ({ reach, query }) => erasures.list(reach, query), {
      query: PageQuery,
      response: { 200: List },
      detail: describe({
        tag,
        summary: 'Erasures, newest first',
        description:
          'Of all tenants with the operator’s token; of the own one while they name it, an hour after their end.',
        answers: {
          200: { description: 'One page', schema: List, example: { items: [doneErasure], next_cursor: null } },
        },
        errors: ['invalid_request'],
      }),
    })
    .get('/admin/erasures/:id', ({ reach, params }) => erasures.find(reach, params.id), {
      params: IdParams,
      response: { 200: ErasureResource },
      detail: describe({
        tag,
        summary: 'One erasure',
        answers: { 200: { description: 'The report', schema: ErasureResource, example: doneErasure } },
        errors: ['not_found'],
      }),
    });
  return new Elysia({ name: 'routes.privacy-all' }).use(own).use(overseen);
}
