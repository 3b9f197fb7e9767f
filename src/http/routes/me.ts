import { Elysia } from 'elysia';
import { Me } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { me } from '../examples.ts';
import { authenticated } from '../plugins/auth.ts';
import type { IdentityPort } from '../ports.ts';

export function createMeRoutes({ identity }: { identity: IdentityPort }) {
  return new Elysia({ name: 'routes.me' }).use(authenticated).get('/me', () => identity.me(), {
    response: { 200: Me },
    detail: describe({
      tag: 'auth',
      summary: 'Who am I',
      answers: { 200: { description: 'The own profile', schema: Me, example: me } },
    }),
  });
}
