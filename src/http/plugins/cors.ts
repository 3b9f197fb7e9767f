/**
 * Lets pages of the configured origins call the API. Our own pages need none of this, and a foreign origin gets no header,
 * so that its browser keeps the answer from it. No cookies are used, so credentials are never allowed.
 */
import { Elysia } from 'elysia';

const METHODS = 'GET, POST, PUT, PATCH, DELETE';
const REQUEST_HEADERS =
  'authorization, content-type, accept, idempotency-key, if-match, last-event-id, traceparent, x-request-id, tus-resumable, upload-length, upload-offset, upload-metadata, upload-checksum, x-http-method-override';
const RESPONSE_HEADERS =
  'content-disposition, retry-after, traceparent, x-request-id, location, tus-resumable, tus-version, tus-extension, tus-max-size, tus-checksum-algorithm, upload-length, upload-offset, upload-metadata, upload-expires, idempotency-replayed, dreamhub-document-id, dreamhub-task-id, dreamhub-duplicate';
const PREFLIGHT_SECONDS = '600';

export function corsPlugin({ allowedOrigins }: { allowedOrigins: readonly string[] }) {
  const allowed = new Set(allowedOrigins);

  function preflight(request: Request): Response | undefined {
    if (request.method !== 'OPTIONS' || !request.headers.has('access-control-request-method')) return undefined;
    return new Response(null, {
      status: 204,
      headers: {
        'access-control-allow-methods': METHODS,
        'access-control-allow-headers': REQUEST_HEADERS,
        'access-control-max-age': PREFLIGHT_SECONDS,
      },
    });
  }

  return new Elysia({ name: 'cors' }).wrap((handle, request) => {
    const origin = request.headers.get('origin');
    if (origin === null || !allowed.has(origin)) return handle;
    return async () => {
      const response = preflight(request) ?? (await handle(request));
      // An upgraded socket has no response.
      if (response instanceof Response) {
        response.headers.set('access-control-allow-origin', origin);
        response.headers.set('access-control-expose-headers', RESPONSE_HEADERS);
        response.headers.append('vary', 'origin');
      }
      return response;
    };
  });
}
