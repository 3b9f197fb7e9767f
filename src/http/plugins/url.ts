/** Refuses an address that says NUL: it stands in no id and no text that could be stored or looked for. */
import { Elysia } from 'elysia';
import { AppError } from '../../kernel/errors.ts';

export const urlPlugin = new Elysia({ name: 'url' }).onRequest(({ request }) => {
  if (request.url.includes('%00')) throw new AppError('malformed', 'The address must not contain NUL.');
});
