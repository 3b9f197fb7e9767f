/** Embedding spaces: the operator makes and switches them, a tenant's owners and admins see their own part. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { SpaceResource } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { space } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { SpaceBody, SpaceParams } from '../models/spaces.ts';
import { administered, operators } from '../plugins/administered.ts';
import type { SpacesPort } from '../ports.ts';

const tag = 'administration';
const SpaceList = Type.Object({ items: Type.Array(SpaceResource) });

export function createAdminSpacesRoutes({ spaces }: { spaces: SpacesPort }) {
  return new Elysia({ name: 'routes.admin-spaces' })
    .use(administered)
    .get('/admin/spaces', ({ reach }) => spaces.list(reach), {
      response: { 200: SpaceList },
      detail: describe({
        tag,
        summary: 'Embedding spaces, how far each is built, and what shadow reads saw',
        description: 'Counts are of the own tenant; with the operator’s token of all tenants.',
        answers: { 200: { description: 'All spaces, oldest first', schema: SpaceList, example: { items: [space] } } },
        errors: ['forbidden'],
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
            'For another embedding model of the configured server, or other dimensions. Documents that there are come in the background, new ones are written to both; the same identity again changes its options. With the operator’s token alone.',
          answers: { 201: { description: 'It is being built', schema: SpaceResource, example: space } },
          errors: [
            'malformed',
            'invalid_request',
            'payload_too_large',
            'unsupported_media_type',
            'not_found',
            'forbidden',
            'provider_unavailable',
          ],
        }),
      },
    )
    .post('/admin/spaces/:id/activate', ({ params }) => spaces.activate(Number(params.id)), {
      params: SpaceParams,
      parse: 'none',
      beforeHandle: operators,
      response: { 200: SpaceResource },
      detail: describe({
        tag,
        summary: 'Let searches ask this space',
        description:
          'At once and for everybody; 409 while documents are missing in it. The space before stays up to date for `observe_hours`. With the operator’s token alone.',
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
