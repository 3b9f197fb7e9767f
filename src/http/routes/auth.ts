/** Accounts and sessions. All but logout are open: they are where credentials come from. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { Session } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { session } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { LoginBody, RefreshBody, RegisterBody } from '../models/auth.ts';
import { originOf } from '../origin.ts';
import { authenticated } from '../plugins/auth.ts';
import type { IdentityPort } from '../ports.ts';
import { noContent } from '../responses.ts';

const tag = 'auth';
const bodyErrors = ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type'] as const;

export function createAuthRoutes({ identity }: { identity: IdentityPort }) {
  return new Elysia({ name: 'routes.auth' })
    .post(
      '/auth/register',
      async ({ body, request, server, status }) =>
        status(201, await identity.register(body, originOf(request, server))),
      {
        parse: jsonBody,
        body: RegisterBody,
        response: { 201: Session },
        detail: describe({
          tag,
          open: true,
          summary: 'Make a tenant and its owner, or join one',
          description:
            'A new tenant; its first user is the owner. An existing one is joined with an `invite` of `POST /members`, for the tenant and e-mail that it was made for. Where registration is closed, nobody registers, invited or not.',
          answers: { 201: { description: 'Registered and logged in', schema: Session, example: session } },
          errors: [...bodyErrors, 'forbidden', 'conflict', 'rate_limited'],
        }),
      },
    )
    .post('/auth/login', ({ body, request, server }) => identity.login(body, originOf(request, server)), {
      parse: jsonBody,
      body: LoginBody,
      response: { 200: Session },
      detail: describe({
        tag,
        open: true,
        summary: 'Log in',
        description: '`tenant` is needed where e-mail and password fit several tenants; 409 says so.',
        answers: { 200: { description: 'Logged in', schema: Session, example: session } },
        errors: [...bodyErrors, 'unauthenticated', 'conflict', 'rate_limited'],
      }),
    })
    .post(
      '/auth/refresh',
      ({ body, request, server }) => identity.refresh(body.refresh_token, originOf(request, server)),
      {
        parse: jsonBody,
        body: RefreshBody,
        response: { 200: Session },
        detail: describe({
          tag,
          open: true,
          summary: 'Trade a refresh token for new tokens',
          description:
            'Each refresh token is good for one use. Using one again ends the session, and so do two uses at once.',
          answers: { 200: { description: 'New tokens', schema: Session, example: session } },
          errors: [...bodyErrors, 'unauthenticated'],
        }),
      },
    )
    .use(authenticated)
    .post('/auth/logout', ({ principal }) => noContent(identity.logout(principal)), {
      parse: 'none',
      response: { 204: Type.Void() },
      detail: describe({
        tag,
        summary: 'Log out',
        description: 'Ends the session of the access token: its refresh tokens, its access tokens and its sockets.',
        answers: { 204: { description: 'Logged out' } },
        errors: ['unavailable'],
      }),
    });
}
