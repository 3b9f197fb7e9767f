/** One HTTP call: the bearer token, one renewal on 401, problem documents as `ClientError`. */
import { ClientError, errorOfAnswer } from './errors.ts';
import type { Session } from './session.ts';

/** `fetch` without the extras that Bun and browsers hang on it. */
export type Fetch = (input: string, init?: RequestInit) => Promise<Response>;

export type QueryValue = string | number | boolean | undefined;

export interface CallOptions {
  query?: Record<string, QueryValue>;
  /** Sent as JSON. */
  body?: unknown;
  /** Sent as it is, instead of `body`. */
  form?: FormData;
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  /** `false` for the calls that need no session. */
  authenticated?: boolean;
}

export interface Http {
  /** The answer of a call that succeeded. */
  call(method: string, path: string, options?: CallOptions): Promise<Response>;
  json<T>(method: string, path: string, options?: CallOptions): Promise<T>;
  /** Absolute address of a path of the API. */
  url(path: string, query?: Record<string, QueryValue>): string;
}

export interface HttpOptions {
  /** Where the server is, without `/api/v1`; '' in a page that it served. */
  baseUrl: string;
  fetch: Fetch;
  session(): Session;
}

export function createHttp({ baseUrl, fetch, session }: HttpOptions): Http {
  const root = `${baseUrl.replace(/\/+$/, '')}/api/v1`;

  function url(path: string, query: Record<string, QueryValue> = {}): string {
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
    const text = search.toString();
    return `${root}${path}${text && `?${text}`}`;
  }

  async function once(
    method: string,
    path: string,
    options: CallOptions,
    token: string | undefined,
  ): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json', ...options.headers };
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (options.body !== undefined) headers['content-type'] = 'application/json';
    const init: RequestInit = { method, headers };
    if (options.signal) init.signal = options.signal;
    if (options.form) init.body = options.form;
    else if (options.body !== undefined) init.body = JSON.stringify(options.body);
    try {
      return await fetch(url(path, options.query), init);
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason;
      throw new ClientError('network', 'The server cannot be reached.', { cause: error });
    }
  }

  async function call(method: string, path: string, options: CallOptions = {}): Promise<Response> {
    const open = options.authenticated === false;
    const token = open ? undefined : await session().token();
    let response = await once(method, path, options, token);
    if (response.status === 401 && token !== undefined) {
      await response.body?.cancel();
      response = await once(method, path, options, await session().renew(token));
    }
    if (response.ok) return response;
    throw errorOfAnswer(response.status, await response.text(), response.headers.get('retry-after'));
  }

  return {
    url,
    call,
    async json<T>(method: string, path: string, options?: CallOptions): Promise<T> {
      const response = await call(method, path, options);
      try {
        return (await response.json()) as T;
      } catch (error) {
        throw new ClientError('invalid_response', 'The server did not answer in JSON.', {
          status: response.status,
          cause: error,
        });
      }
    },
  };
}
