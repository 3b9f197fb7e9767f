/** Who is in the tenant. Rules beyond the table (`../access.ts`) are the service's: it knows who is meant. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { MemberResource, NewMember, PageOf } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { member, newMember } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { InviteBody, RoleBody } from '../models/members.ts';
import { addressOf } from '../origin.ts';
import { authenticated } from '../plugins/auth.ts';
import type { MembersPort } from '../ports.ts';
import { noContent } from '../responses.ts';

const tag = 'members';
const List = PageOf(MemberResource);
const bodyErrors = ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type'] as const;

export function createMemberRoutes({ members }: { members: MembersPort }) {
  return new Elysia({ name: 'routes.members' })
    .use(authenticated)
    .post(
      '/members',
      async ({ body, request, status }) => status(201, await members.invite(body, addressOf(request))),
      {
        parse: jsonBody,
        body: InviteBody,
        response: { 201: NewMember },
        detail: describe({
          tag,
          summary: 'Invite somebody',
          description:
            'For owners and admins; only an owner makes owners. Hand on `link`, or `invite` for `POST /auth/register`: it is good for one registration with this e-mail, for seven days, and is not shown again. Inviting the same e-mail again replaces it.',
          answers: { 201: { description: 'Invited', schema: NewMember, example: newMember } },
          errors: [...bodyErrors, 'conflict'],
        }),
      },
    )
    .get('/members', ({ query }) => members.list(query), {
      query: PageQuery,
      response: { 200: List },
      detail: describe({
        tag,
        summary: 'List members and invitations, oldest first',
        answers: { 200: { description: 'One page', schema: List, example: { items: [member], next_cursor: null } } },
        errors: ['invalid_request'],
      }),
    })
    .patch('/members/:id', ({ params, body }) => members.setRole(params.id, body.role), {
      params: IdParams,
      parse: jsonBody,
      body: RoleBody,
      response: { 200: MemberResource },
      detail: describe({
        tag,
        summary: 'Give a member another role',
        description:
          'It counts at once: sockets and event streams end, and come back with the new role. Admins cannot touch owners, and a tenant keeps an owner.',
        answers: {
          200: { description: 'As it is now', schema: MemberResource, example: { ...member, role: 'viewer' } },
        },
        errors: [...bodyErrors, 'not_found', 'conflict', 'unavailable'],
      }),
    })
    .delete('/members/:id', ({ params }) => noContent(members.remove(params.id)), {
      params: IdParams,
      parse: 'none',
      response: { 204: Type.Void() },
      detail: describe({
        tag,
        summary: 'Remove a member, withdraw an invitation, or leave',
        description:
          'Sessions, API keys, sockets and event streams of the member end at once. Tenant-visible documents stay; private ones stay for administrators to see by name and to delete. The same e-mail invited again is another user.',
        answers: { 204: { description: 'Removed' } },
        errors: ['not_found', 'conflict', 'unavailable'],
      }),
    });
}
