/** Every answer about a resumable upload, a refusal too, says which version of tus is spoken. */
import { Elysia } from 'elysia';
import { stateOf } from '../request-state.ts';
import { TUS_PATH, TUS_VERSION } from '../tus-protocol.ts';

export const tusHeadersPlugin = new Elysia({ name: 'tus-headers' }).wrap((handle, request) => {
  if (!stateOf(request).path.startsWith(TUS_PATH)) return handle;
  return async () => {
    const response = await handle(request);
    if (response instanceof Response) {
      response.headers.set('tus-resumable', TUS_VERSION);
      if (response.status === 412) response.headers.set('tus-version', TUS_VERSION);
    }
    return response;
  };
});
