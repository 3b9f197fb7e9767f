/**
 * What is known of a request from its first moment on, kept beside it: plugins write it, handlers and the error renderer
 * read it. It is keyed by the `Request` itself, so no decorator or context type has to carry it.
 */
import type { Principal } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import { continueTrace, type TraceContext } from './trace-context.ts';

export interface RequestState extends TraceContext {
  /** Without the query. */
  path: string;
  /** The caller's own name for the request, else the trace id. */
  requestId: string;
  principal?: Principal;
  /** The operator is calling, who is in no tenant and so has no principal. Only ever true under `/api/v1/admin`. */
  operator?: boolean;
  /** Sees the bytes of an upload on their way (`small-body.ts`). */
  bodyTap?: (piece: Uint8Array) => void;
  /** Why the request is refused before its route is looked for: its credentials, as a rule. */
  refusal?: AppError;
}

/** In place of a host that nobody named. */
const NO_HOST = 'http://localhost';

const states = new WeakMap<Request, RequestState>();

/** Bun gives a request whose `Host` is missing or no host an address that begins with its path. */
function pathOf({ url }: Request): string {
  return URL.canParse(url) ? new URL(url).pathname : (url.split('?', 1)[0] ?? '');
}

const REQUEST_ID = /^[\w.:-]{1,128}$/;

export function stateOf(request: Request): RequestState {
  let state = states.get(request);
  if (!state) {
    const trace = continueTrace(request.headers.get('traceparent'));
    const requestId = request.headers.get('x-request-id');
    state = {
      ...trace,
      path: pathOf(request),
      requestId: requestId !== null && REQUEST_ID.test(requestId) ? requestId : trace.traceId,
    };
    states.set(request, state);
  }
  return state;
}

/**
 * The same request with a body that was read already: all that is known of it is known of this one. Bun's router leaves the
 * parts of an address in the request, and a copy has none of its own.
 */
export function withBody(request: Request, body: Uint8Array<ArrayBuffer>): Request {
  const { url, method, headers, signal } = request;
  const copy = new Request(URL.canParse(url) ? url : new URL(url, NO_HOST), {
    method,
    headers,
    signal,
    ...(body.byteLength > 0 && { body }),
  });
  if ('params' in request) Object.defineProperty(copy, 'params', { value: request.params });
  states.set(copy, stateOf(request));
  return copy;
}

/** Who is calling. Throws `unauthenticated` where nobody has proven it, so a handler cannot forget to ask. */
export function principalOf(request: Request): Principal {
  const { principal, refusal } = stateOf(request);
  if (!principal) throw refusal ?? new AppError('unauthenticated', 'Credentials are needed here.');
  return principal;
}
