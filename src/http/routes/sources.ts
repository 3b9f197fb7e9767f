/** Documents that are pulled from elsewhere. Credentials go in, and never come out. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { NewSource, PageOf, SourceItemResource, SyncedSource } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { sourceItem, syncedSource } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { authenticated } from '../plugins/auth.ts';
import type { SourcesPort } from '../ports.ts';
import { noContent } from '../responses.ts';
import { streamOf } from '../small-body.ts';

const tag = 'sources';
const List = PageOf(SyncedSource);
const Items = PageOf(SourceItemResource);
/** An item's name, encoded. */
const MAX_CURSOR = 3_000;
const ItemsQuery = Type.Composite([
  Type.Omit(PageQuery, ['cursor']),
  Type.Object({
    cursor: Type.Optional(
      Type.String({ minLength: 1, maxLength: MAX_CURSOR, description: '`next_cursor` of the page before' }),
    ),
    failed: Type.Optional(
      Type.Unsafe<'true' | 'false'>({ type: 'string', enum: ['true', 'false'], description: 'Only those that failed' }),
    ),
  }),
]);

export function createSourceRoutes({ sources }: { sources: SourcesPort }) {
  return new Elysia({ name: 'routes.sources' })
    .use(authenticated)
    .post('/sources', async ({ body, principal, status }) => status(201, await sources.create(body, principal.role)), {
      parse: jsonBody,
      body: NewSource,
      response: { 201: SyncedSource },
      detail: describe({
        tag,
        summary: 'Pull documents from elsewhere',
        description: [
          'Beside the fields below, each kind has settings of its own:',
          '- `web`: `url`, `depth` (3), `max_pages` (500), `path_prefix`, `sitemap` (true). One site, as its robots.txt allows.',
          '- `mail`: `host`, `port` (993), `secure` (true), `user`, `password`, `mailboxes` (`["INBOX"]`) for IMAP; or `mbox_url`; or `mbox_file: true`.',
          '- `calendar`: `url` (http, https, webcal), or `file: true`.',
          '- `s3`: `bucket`, `prefix`, `region`, `endpoint`, `access_key_id`, `secret_access_key`.',
          '- `folder`: `path`, below what the operator allows; for owners and admins.',
          '',
          'Each item becomes a document (`source_id`, `source_item`). A changed item replaces its document when the new version is ready, a removed one takes its document along, and what has not changed is not fetched. Only hosts on the public internet are called.',
        ].join('\n'),
        answers: { 201: { description: 'Its first sync begins at once', schema: SyncedSource, example: syncedSource } },
        errors: [
          'malformed',
          'invalid_request',
          'payload_too_large',
          'unsupported_media_type',
          'forbidden',
          'conflict',
        ],
      }),
    })
    .get('/sources', ({ query }) => sources.list(query), {
      query: PageQuery,
      response: { 200: List },
      detail: describe({
        tag,
        summary: 'List sources, oldest first',
        answers: {
          200: { description: 'One page', schema: List, example: { items: [syncedSource], next_cursor: null } },
        },
        errors: ['invalid_request'],
      }),
    })
    .get('/sources/:id', ({ params }) => sources.get(params.id), {
      params: IdParams,
      response: { 200: SyncedSource },
      detail: describe({
        tag,
        summary: 'One source, and what its last sync did',
        answers: { 200: { description: 'The source', schema: SyncedSource, example: syncedSource } },
        errors: ['not_found'],
      }),
    })
    .get(
      '/sources/:id/items',
      ({ params, query: { failed, ...page } }) => sources.items(params.id, { ...page, failed: failed === 'true' }),
      {
        params: IdParams,
        query: ItemsQuery,
        response: { 200: Items },
        detail: describe({
          tag,
          summary: 'What the source has',
          description:
            'As of the last sync. An item with an `error` is tried again at the next one; its document, if there is one, stays as it was.',
          answers: {
            200: { description: 'One page', schema: Items, example: { items: [sourceItem], next_cursor: null } },
          },
          errors: ['not_found', 'invalid_request'],
        }),
      },
    )
    .post('/sources/:id/sync', async ({ params, status }) => status(202, await sources.sync(params.id)), {
      params: IdParams,
      parse: 'none',
      response: { 202: SyncedSource },
      detail: describe({
        tag,
        summary: 'Sync now',
        answers: { 202: { description: 'It will begin shortly', schema: SyncedSource, example: syncedSource } },
        errors: ['not_found', 'forbidden'],
      }),
    })
    .put(
      '/sources/:id/file',
      async ({ params, request, principal, status }) =>
        status(202, await sources.putFile(params.id, { body: streamOf(request), signal: request.signal }, principal)),
      {
        params: IdParams,
        parse: 'none',
        response: { 202: SyncedSource },
        detail: describe({
          tag,
          summary: 'Send the file that the source is read from',
          description:
            'An mbox file or a calendar, as the body. It takes the place of an earlier one, and the source is synced.',
          requestBody: {
            content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
          },
          answers: { 202: { description: 'Kept', schema: SyncedSource, example: syncedSource } },
          errors: ['not_found', 'forbidden', 'conflict', 'payload_too_large', 'unavailable'],
        }),
      },
    )
    .delete('/sources/:id', ({ params, principal }) => noContent(sources.remove(params.id, principal)), {
      params: IdParams,
      parse: 'none',
      response: { 204: Type.Void() },
      detail: describe({
        tag,
        summary: 'Delete a source',
        description: 'With all documents that were pulled from it.',
        answers: { 204: { description: 'Deleted' } },
        errors: ['not_found', 'forbidden'],
      }),
    });
}
