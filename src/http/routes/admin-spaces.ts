/** Embedding spaces: the operator makes and switches them, a tenant's owners and admins see their own part. */
import { Elysia } from 'elysia';
import { PageOf, SpaceFailure, SpaceResource } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { space, spaceFailure } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { PageQuery } from '../models/common.ts';
import { SpaceBody, SpaceParams } from '../models/spaces.ts';
import { administered, operators } from '../plugins/administered.ts';
import type { SpacesPort } from '../ports.ts';

const tag = 'administration';
const SpaceList = PageOf(SpaceResource);
const FailureList = PageOf(SpaceFailure);

export function createAdminSpacesRoutes({ spaces }: { spaces: SpacesPort }) {
  return new Elysia({ name: 'routes.admin-spaces' })
    .use(administered)
    .get('/admin/spaces', ({ reach, query }) => spaces.list(reach, query), {
      query: PageQuery,
      response: { 200: SpaceList },
      detail: describe({
        tag,
        summary: 'Embedding spaces, how far each is built, and what shadow reads saw',
        description: 'Counts are of the own tenant; with the operator’s token of all tenants.',
        answers: {
          200: {
            description: 'All spaces, oldest first',
            schema: SpaceList,
            example: { items: [space], next_cursor: null },
          },
        },
        errors: ['forbidden', 'invalid_request'],
      }),
    })
    .post(
      '/admin/spaces',
      async ({ body, set }) => {
        set.status = 201;
        return spaces.create(body);
      },
      {
        parse: jsonBody,
        body: SpaceBody,
        beforeHandle: operators,
        response: { 201: SpaceResource },
        detail: describe({
          tag,
          summary: 'Build a space beside the active one',
          description:
            'For another embedding model of the configured server, or other dimensions; or, with `pipeline: current`, for this release’s extractors and chunker: then every document is read again from its original and cut beside the chunks that searches see, and texts that come out the same are not embedded again. Documents that there are come in the background, new ones are written to both; the same identity again changes its options. 409 where the active space is of this pipeline and model already. With the operator’s token alone.',
          answers: { 201: { description: 'It is being built', schema: SpaceResource, example: space } },
          errors: [
            'malformed',
            'invalid_request',
            'payload_too_large',
            'unsupported_media_type',
            'not_found',
            'forbidden',
            'conflict',
            'provider_unavailable',
          ],
        }),
      },
    )
    .get('/admin/spaces/:id/failures', ({ params, reach, query }) => spaces.failures(Number(params.id), reach, query), {
      params: SpaceParams,
      query: PageQuery,
      response: { 200: FailureList },
      detail: describe({
        tag,
        summary: 'Documents that could not be cut anew for a space',
        description:
          'Of a space that was built with `pipeline: current`. They keep the chunks that they have, there too, and stop nobody else. Of the own tenant; with the operator’s token of all tenants.',
        answers: {
          200: {
            description: 'By tenant and document',
            schema: FailureList,
            example: { items: [spaceFailure], next_cursor: null },
          },
        },
        errors: ['forbidden', 'not_found', 'invalid_request'],
      }),
    })
    .post('/admin/spaces/:id/activate', ({ params }) => spaces.activate(Number(params.id)), {
      params: SpaceParams,
      parse: 'none',
      beforeHandle: operators,
      response: { 200: SpaceResource },
      detail: describe({
        tag,
        summary: 'Let searches ask this space',
        description:
          'At once and for everybody; 409 while documents are missing in it. The space before stays up to date for `observe_hours` (24 by default), then becomes read-only, and a week later its vectors go, with the chunks that only it showed. With the operator’s token alone.',
        answers: { 200: { description: 'Active', schema: SpaceResource, example: { ...space, state: 'active' } } },
        errors: ['not_found', 'forbidden', 'conflict'],
      }),
    })
    .post('/admin/spaces/:id/rollback', ({ params }) => spaces.rollback(Number(params.id)), {
      params: SpaceParams,
      parse: 'none',
      beforeHandle: operators,
      response: { 200: SpaceResource },
      detail: describe({
        tag,
        summary: 'Go back to the space that this one took over from',
        description: 'At once; possible while that one is in standby. With the operator’s token alone.',
        answers: {
          200: { description: 'In standby', schema: SpaceResource, example: { ...space, state: 'standby' } },
        },
        errors: ['not_found', 'forbidden', 'conflict'],
      }),
    })
    .post('/admin/spaces/:id/retire', ({ params }) => spaces.retire(Number(params.id)), {
      params: SpaceParams,
      parse: 'none',
      beforeHandle: operators,
      response: { 200: SpaceResource },
      detail: describe({
        tag,
        summary: 'Give a space up',
        description:
          'Its vectors are removed in the background; 409 for the active one. With the operator’s token alone.',
        answers: { 200: { description: 'Retired', schema: SpaceResource, example: { ...space, state: 'retired' } } },
        errors: ['not_found', 'forbidden', 'conflict'],
      }),
    });
}
