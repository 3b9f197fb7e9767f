/** What a user sets for the own chats. */
import { Elysia } from 'elysia';
import { UserConfig } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { userConfig as example } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { UserConfigBody } from '../models/personal.ts';
import { authenticated } from '../plugins/auth.ts';
import type { UserSettingsPort } from '../ports.ts';

const tag = 'chat';
const answers = { 200: { description: 'As it is now; never with the key', schema: UserConfig, example } };

export function createUserConfigRoutes({ settings }: { settings: UserSettingsPort }) {
  return new Elysia({ name: 'routes.user-config' })
    .use(authenticated)
    .get('/users/me/config', () => settings.get(), {
      response: { 200: UserConfig },
      detail: describe({ tag, summary: 'My own settings', answers }),
    })
    .put('/users/me/config', ({ body }) => settings.set(body), {
      parse: jsonBody,
      body: UserConfigBody,
      response: { 200: UserConfig },
      detail: describe({
        tag,
        summary: 'Change my own settings',
        description:
          'What is absent stays as it is, null removes. Counts from the next answer on. An own `openai_api_key` is sealed and answers all of this user’s chats, at the server that the installation is configured for, or OpenAI’s where it is for none; documents go on being embedded with the installation’s keys. Where the provider refuses it, or its credit is used up, the turn fails and says so: the installation’s keys are not used instead. 409 where the installation has no secret to seal it with.',
        answers,
        errors: ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type', 'conflict'],
      }),
    });
}
