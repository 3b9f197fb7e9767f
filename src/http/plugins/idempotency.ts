/**
 * `Idempotency-Key`: a mutating request that is sent again gets the answer of the first one and has no effect of its own. It
 * stands between credentials and handlers, so that a key is its user's, and looks at every such route alike.
 *
 * What is compared is method, path, query and the body's digest. JSON is small and is read before it is handed on; a file
 * is hashed as it streams through, so the same key is first claimed and the digest kept with the answer, and a repetition is
 * read to its end before it is answered. Resumable uploads are left out: their offsets make them repeatable by themselves.
 */
import { Elysia } from 'elysia';
import { AppError, toAppError } from '../../kernel/errors.ts';
import { type Admission, type Idempotency, otherRequest, sameBytes } from '../../services/idempotency.ts';
import { createBodyDigest } from '../body-digest.ts';
import { readAtMost } from '../json-body.ts';
import { isOpenAiPath, toOpenAiError } from '../openai/errors.ts';
import { stateOf, withBody } from '../request-state.ts';
import { TUS_PATH } from '../tus-protocol.ts';
import { MAX_JSON_BYTES, takesFile } from './body-limit.ts';

const MUTATING: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);
/** Printable ASCII, with or without the quotes that structured fields have. */
const KEY = /^(?:"([\x20-\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/;
const MAX_ANSWER_BYTES = 262_144;

export interface IdempotencyPluginOptions {
  idempotency: Idempotency;
  maxUploadBytes: number;
}

type Running = Extract<Admission, { type: 'run' }>['running'];
type Handle = (request: Request) => unknown;

export function idempotencyPlugin({ idempotency, maxUploadBytes }: IdempotencyPluginOptions) {
  async function ofUpload(key: string, request: Request, handle: Handle): Promise<unknown> {
    const digest = createBodyDigest(request.headers.get('content-type') ?? '');
    const admission = await idempotency.admit({ key, target: targetOf(request), bodyHash: null });
    if (admission.type === 'run') {
      stateOf(request).bodyTap = (piece) => digest.update(piece);
      return settle(
        admission.running,
        request,
        () => handle(request),
        () => digest.digest(),
      );
    }
    let left = maxUploadBytes + MAX_JSON_BYTES;
    for await (const piece of request.body ?? []) {
      left -= piece.byteLength;
      if (left < 0) throw otherRequest();
      digest.update(piece);
    }
    if (!sameBytes(digest.digest(), admission.bodyHash)) throw otherRequest();
    return repeat(admission);
  }

  async function ofAny(key: string, request: Request, handle: Handle): Promise<unknown> {
    const bytes = request.body === null ? new Uint8Array() : await readAtMost(request.body, MAX_JSON_BYTES);
    const digest = createBodyDigest(request.headers.get('content-type') ?? '');
    digest.update(bytes);
    const bodyHash = digest.digest();
    const admission = await idempotency.admit({ key, target: targetOf(request), bodyHash });
    if (admission.type === 'repeat') return repeat(admission);
    const again = withBody(request, bytes);
    return settle(
      admission.running,
      request,
      () => handle(again),
      () => bodyHash,
    );
  }

  return new Elysia({ name: 'idempotency' }).wrap((handle, request) => {
    const given = request.headers.get('idempotency-key');
    if (given === null || !MUTATING.has(request.method)) return handle;
    return async () => {
      const state = stateOf(request);
      const path = state.path.replace(/\/$/, '');
      if (!state.principal || state.refusal || !isCovered(path)) return handle(request);
      const isUpload = takesFile(path);
      // Too large to be read: what refuses that says so.
      const most = isUpload ? maxUploadBytes + MAX_JSON_BYTES : MAX_JSON_BYTES;
      if (Number(request.headers.get('content-length') ?? 0) > most) return handle(request);
      try {
        const match = KEY.exec(given);
        const named = match?.[1] ?? match?.[2];
        if (named === undefined) throw badKey();
        const { scopes, sessionId } = state.principal;
        // What an API key was answered is not for another one of the same user, which may be worth less.
        const key = scopes === undefined ? named : `${sessionId}\n${named}`;
        return await (isUpload ? ofUpload : ofAny)(key, request, handle);
      } catch (error) {
        // Rendered where every error is: the first hook throws it.
        state.refusal = toAppError(error);
        return handle(request);
      }
    };
  });
}

/** Resumable uploads have offsets. */
const isCovered = (path: string) => isOpenAiPath(path) || (path.startsWith('/api/v1/') && !path.startsWith(TUS_PATH));

function targetOf(request: Request): string {
  const { method, url } = request;
  const query = url.indexOf('?');
  return `${method} ${stateOf(request).path}${query < 0 ? '' : url.slice(query)}`;
}

/** Runs the request and keeps its answer, if it succeeded. */
async function settle(
  running: Running,
  request: Request,
  run: () => unknown,
  bodyHash: () => Uint8Array,
): Promise<unknown> {
  let response: unknown;
  try {
    response = await run();
  } catch (error) {
    await running.failed();
    throw error;
  }
  if (!(response instanceof Response) || response.status >= 400) {
    await running.failed();
    return response;
  }
  const headers = [...response.headers];
  if (/^text\/event-stream/i.test(response.headers.get('content-type') ?? '')) {
    await running.answered(bodyHash(), unrepeatable(request));
    return response;
  }
  const body = await response.bytes();
  const fits = body.byteLength <= MAX_ANSWER_BYTES;
  await running.answered(bodyHash(), fits ? { status: response.status, headers, body } : unrepeatable(request));
  return new Response(body.byteLength > 0 ? body : null, { status: response.status, headers });
}

function repeat({ answer: { status, headers, body } }: Extract<Admission, { type: 'repeat' }>): Response {
  const response = new Response(body.byteLength > 0 ? body : null, { status, headers });
  response.headers.set('idempotency-replayed', 'true');
  return response;
}

/** In place of an answer that cannot be kept: the request must not run again all the same. */
function unrepeatable(request: Request) {
  const detail = 'This request was carried out, and its answer cannot be repeated: read what it changed instead.';
  const { path, traceId } = stateOf(request);
  const said = isOpenAiPath(path)
    ? { error: toOpenAiError(new AppError('conflict', detail), traceId) }
    : { type: 'about:blank', title: 'Conflict', status: 409, code: 'conflict', detail, trace_id: traceId };
  const headers: [string, string][] = [
    ['content-type', isOpenAiPath(path) ? 'application/json' : 'application/problem+json'],
  ];
  return { status: 409, headers, body: Buffer.from(JSON.stringify(said)) };
}

const badKey = () =>
  new AppError('malformed', 'The Idempotency-Key must be 1 to 255 printable characters.', {
    errors: [{ path: 'Idempotency-Key', message: '1 to 255 printable ASCII characters' }],
  });
