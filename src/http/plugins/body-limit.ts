/**
 * Bounds what a request may send. By `Content-Length` before anything is read; a body that does not say its length is
 * counted where it is read (`json-body.ts`, and the upload's own reader). The server's own limit must lie above both,
 * because its 413 has no body.
 */
import { Elysia } from 'elysia';
import { AppError } from '../../kernel/errors.ts';
import { stateOf } from '../request-state.ts';
import { TUS_PATH } from '../tus-protocol.ts';

export const MAX_JSON_BYTES = 1_048_576;
/** Boundaries and the other fields of a multipart upload, beside the file itself. */
const MULTIPART_OVERHEAD_BYTES = 1_048_576;

const UPLOAD_PATH = '/api/v1/upload';
/** Of OpenAI's API. */
const FILES_PATH = '/v1/files';
const SOURCE_FILE = /^\/api\/v1\/sources\/[^/]+\/file$/;

/** Whether a whole file is sent to this path, in one request: it is read as the stream that it is. */
export const takesFile = (path: string): boolean =>
  path === UPLOAD_PATH || path === FILES_PATH || SOURCE_FILE.test(path);

export function bodyLimitPlugin({ maxUploadBytes }: { maxUploadBytes: number }) {
  return new Elysia({ name: 'body-limit' }).onRequest(({ request }) => {
    const length = Number(request.headers.get('content-length') ?? 0);
    if (length <= MAX_JSON_BYTES) return;
    const path = stateOf(request).path.replace(/\/$/, '');
    const isUpload = takesFile(path) || path.startsWith(TUS_PATH);
    const most = isUpload ? maxUploadBytes : MAX_JSON_BYTES;
    if (length > (isUpload ? most + MULTIPART_OVERHEAD_BYTES : most)) {
      throw new AppError('payload_too_large', `At most ${most} bytes are accepted here.`);
    }
  });
}
