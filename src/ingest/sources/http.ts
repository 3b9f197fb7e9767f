/**
 * HTTP for sources. Each request resolves, checks and pins its host (`reach.ts`), each redirect anew; time and size are
 * bounded, and size is counted after decompression.
 */
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { pinned, type Reach } from './reach.ts';
import { SourceError, SourceUnavailable } from './source-error.ts';

export const USER_AGENT = 'DreamHub/1';

export interface HttpRequest {
  url: string;
  headers?: Record<string, string>;
  signal: AbortSignal;
  /** Throws for a redirect that may not be followed. */
  onRedirect?(url: URL): void;
}

export interface HttpAnswer {
  /** After redirects. */
  url: URL;
  status: number;
  /** Of a header; undefined where there is none. */
  header(name: string): string | undefined;
  /** The body, decompressed. Throws `SourceError` above `maxBytes`. To be read, or `discard` called. */
  body(maxBytes: number): AsyncIterable<Uint8Array>;
  discard(): void;
}

export interface SourceHttp {
  /** Throws `SourceError` for what may not be called, does not answer in time, or redirects without end. */
  get(request: HttpRequest): Promise<HttpAnswer>;
}

export interface SourceHttpOptions {
  reach: Reach;
  /** Until the answer begins, and the longest pause within it. */
  timeoutMs?: number;
  /** Waiting for the sender in all, before its pace counts. */
  patienceMs?: number;
  /** Certificates that are trusted beside the system's. */
  ca?: string;
}

const TIMEOUT_MS = 20_000;
/** Whoever sends a byte now and then holds a sync as well as one who sends nothing. */
const PATIENCE_MS = 120_000;
const MIN_BYTES_PER_SECOND = 4 * 1024;
const MOST_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

const tooLarge = (maxBytes: number) => new SourceError(`It is larger than the ${maxBytes} bytes allowed.`);

function decoded(response: IncomingMessage): Readable {
  const encoding = response.headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity' || encoding === '') return response;
  const decoder =
    encoding === 'gzip' || encoding === 'x-gzip'
      ? createGunzip()
      : encoding === 'deflate'
        ? createInflate()
        : encoding === 'br'
          ? createBrotliDecompress()
          : undefined;
  if (!decoder) throw new SourceError(`The answer is compressed in a way that is not known: ${encoding.slice(0, 50)}.`);
  response.on('error', (error) => decoder.destroy(error));
  return response.pipe(decoder);
}

export function createSourceHttp({
  reach,
  timeoutMs = TIMEOUT_MS,
  patienceMs = PATIENCE_MS,
  ca,
}: SourceHttpOptions): SourceHttp {
  async function send(url: URL, { headers, signal }: HttpRequest): Promise<IncomingMessage> {
    if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new SourceError('Only http and https are called.');
    if (url.username !== '' || url.password !== '') throw new SourceError('The address must not hold credentials.');
    const addresses = await reach.addressesOf(url.hostname);
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(
      url,
      {
        headers: { 'user-agent': USER_AGENT, 'accept-encoding': 'gzip, br', ...headers },
        // A connection of its own each time: one that is kept might lead to where the name no longer points.
        agent: false,
        lookup: pinned(addresses),
        signal,
        ...(ca !== undefined && { ca }),
      },
      resolve,
    );
    const late = () => request.destroy(new SourceError(`No answer within ${timeoutMs / 1_000} s.`));
    const timer = setTimeout(late, timeoutMs);
    request.on('error', (error) => {
      if (signal.aborted) return reject(signal.reason);
      reject(error instanceof SourceError ? error : new SourceError(`The request failed: ${error.message}`));
    });
    request.end();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Fails where the sender pauses for too long, or sends too much. */
  async function* bounded(
    response: IncomingMessage,
    maxBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const announced = Number(response.headers['content-length'] ?? 0);
    if (announced > maxBytes && response.headers['content-encoding'] === undefined) {
      response.destroy();
      throw tooLarge(maxBytes);
    }
    const stream = decoded(response);
    let timer = setTimeout(() => undefined, 0);
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stream.destroy(new SourceError('The answer stopped in the middle.')), timeoutMs);
    };
    let size = 0;
    let waited = 0;
    try {
      let since = performance.now();
      watch();
      for await (const chunk of stream as AsyncIterable<Uint8Array>) {
        // While the chunk is worked on nobody waits for the sender.
        clearTimeout(timer);
        waited += performance.now() - since;
        size += chunk.length;
        if (size > maxBytes) throw tooLarge(maxBytes);
        if (waited > patienceMs && size < (waited / 1_000) * MIN_BYTES_PER_SECOND) {
          throw new SourceError('The answer comes too slowly.');
        }
        yield chunk;
        since = performance.now();
        watch();
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof SourceError ? error : new SourceError('The answer broke off, or cannot be decompressed.');
    } finally {
      clearTimeout(timer);
      response.destroy();
    }
  }

  return {
    async get(request) {
      let url = new URL(request.url);
      for (let hops = 0; ; hops++) {
        const response = await send(url, request);
        const status = response.statusCode ?? 0;
        const { location } = response.headers;
        if (!REDIRECTS.has(status) || location === undefined) {
          return {
            url,
            status,
            header(name) {
              const value = response.headers[name];
              return Array.isArray(value) ? value.join(', ') : value;
            },
            body: (maxBytes) => bounded(response, maxBytes, request.signal),
            discard: () => void response.destroy(),
          };
        }
        response.destroy();
        if (hops >= MOST_REDIRECTS) throw new SourceError('It redirects too often.');
        if (!URL.canParse(location, url)) throw new SourceError('It redirects to what is no address.');
        url = new URL(location, url);
        request.onRedirect?.(url);
      }
    },
  };
}

/** A whole body, of at most so many bytes. */
export async function bytesOf(answer: HttpAnswer, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body(maxBytes)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Nobody is waited for longer than this, whatever they say. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000;

/** When a server that has no time now wants to be asked again: a `Retry-After` in seconds, or a date. */
export function retryAfterOf(
  { status, header }: Pick<HttpAnswer, 'status' | 'header'>,
  now: number,
): number | undefined {
  const said = status === 429 || status === 503 ? header('retry-after')?.trim() : undefined;
  if (said === undefined || said === '') return undefined;
  const ms = /^\d+$/.test(said) ? Number(said) * 1_000 : Date.parse(said) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}

/** What a server says of itself by a status that is no success. */
export function refusal(answer: HttpAnswer): SourceError {
  const { status, url } = answer;
  const retryAfterMs = retryAfterOf(answer, Date.now());
  return new SourceError(`${url.host} answered with the status ${status}.`, { retryAfterMs });
}

/** The same where nothing of the source can be read. */
export function unavailable(answer: HttpAnswer): SourceUnavailable {
  const { message, retryAfterMs } = refusal(answer);
  return new SourceUnavailable(message, { retryAfterMs });
}

/** What tells whether a thing has changed; null where the server does not say. */
export function validatorOf({ header }: HttpAnswer): string | null {
  return header('etag') ?? header('last-modified') ?? null;
}

/** Headers that ask for a thing only if it has changed. */
export function conditionOf(validator: string | null | undefined): Record<string, string> {
  if (validator === null || validator === undefined) return {};
  return /^(W\/)?"/.test(validator) ? { 'if-none-match': validator } : { 'if-modified-since': validator };
}
