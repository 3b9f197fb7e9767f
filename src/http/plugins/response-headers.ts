/** Headers that every answer carries, unless its route chose its own: what names the request, and what limits a browser. */
import { Elysia } from 'elysia';
import { stateOf } from '../request-state.ts';

const DEFAULTS: ReadonlyArray<readonly [name: string, value: string]> = [
  ['x-content-type-options', 'nosniff'],
  ['referrer-policy', 'no-referrer'],
  ['x-frame-options', 'DENY'],
  // An answer of the API is data: opened as a page it may do nothing.
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
  ['cache-control', 'no-store'],
];

export const responseHeadersPlugin = new Elysia({ name: 'response-headers' }).wrap((handle, request) => async () => {
  const response = await handle(request);
  if (response instanceof Response) {
    const { requestId, traceparent } = stateOf(request);
    response.headers.set('x-request-id', requestId);
    response.headers.set('traceparent', traceparent);
    for (const [name, value] of DEFAULTS) if (!response.headers.has(name)) response.headers.set(name, value);
  }
  return response;
});
