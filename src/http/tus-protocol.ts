/** Headers of tus 1.0.0, https://tus.io/protocols/resumable-upload: read, checked and written in one place. */
import { AppError } from '../kernel/errors.ts';
import { CHECKSUM_ALGORITHMS, type Checksum, failureOf, type ResumableUploadState } from '../services/tus.ts';

export const TUS_PATH = '/api/v1/uploads/tus';
export const TUS_VERSION = '1.0.0';
const EXTENSIONS = 'creation,creation-with-upload,termination,expiration,checksum';
const OFFSET_TYPE = 'application/offset+octet-stream';
const MAX_METADATA = 64 * 1024;

const malformed = (detail: string) => new AppError('malformed', detail);

/** A client of another version is told which one is spoken here; one that says nothing is taken at its word. */
export function assertVersion({ headers }: Request): void {
  const version = headers.get('tus-resumable');
  if (version !== null && version !== TUS_VERSION) {
    throw new AppError('malformed', `Tus ${TUS_VERSION} is spoken here.`, { status: 412 });
  }
}

/** A header that must be a whole number of bytes. */
function bytesIn({ headers }: Request, name: string): number {
  const value = headers.get(name) ?? '';
  const bytes = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(bytes)) throw malformed(`${name} must be a whole number of bytes.`);
  return bytes;
}

export function lengthOf(request: Request): number {
  if (request.headers.has('upload-defer-length')) throw malformed('The length of an upload is needed at its start.');
  if (request.headers.has('upload-concat')) throw malformed('Uploads are not put together here.');
  return bytesIn(request, 'Upload-Length');
}

function textOf(base64: string): string {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) throw malformed('Upload-Metadata: a value is not Base64.');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'));
  } catch (cause) {
    throw new AppError('malformed', 'Upload-Metadata: a value is not UTF-8.', { cause });
  }
}

/** `key base64,key base64`; a key alone has no value. */
export function metadataOf({ headers }: Request): { raw: string; values: Record<string, string> } {
  const raw = headers.get('upload-metadata') ?? '';
  if (raw.length > MAX_METADATA) throw malformed('Upload-Metadata is too long.');
  const values = new Map<string, string>();
  for (const pair of raw.split(',').map((part) => part.trim())) {
    if (pair === '') continue;
    const [key = '', value = '', ...more] = pair.split(' ');
    if (!/^[\x21-\x2b\x2d-\x7e]{1,100}$/.test(key) || more.length > 0 || values.has(key)) {
      throw malformed('Upload-Metadata: pairs of a key and a Base64 value, separated by commas, are needed.');
    }
    const text = textOf(value);
    if (text.includes('\0')) throw malformed('Upload-Metadata: NUL stands in no text that could be stored.');
    values.set(key, text);
  }
  return { raw, values: Object.fromEntries(values) };
}

function checksumOf({ headers }: Request): Checksum | undefined {
  const header = headers.get('upload-checksum');
  if (header === null) return undefined;
  const [name = '', digest = '', ...more] = header.trim().split(' ');
  const algorithm = CHECKSUM_ALGORITHMS.find((known) => known === name.toLowerCase());
  if (!algorithm || digest === '' || more.length > 0) {
    throw malformed(`Upload-Checksum: one of ${CHECKSUM_ALGORITHMS.join(', ')} and a Base64 value are needed.`);
  }
  return { algorithm, digest: Buffer.from(digest, 'base64') };
}

/** The bytes of a request, to be appended at `offset` of an upload of so many bytes. */
export function bytesOf(request: Request, { offset, size }: { offset: number; size: number }) {
  if (request.headers.get('content-type') !== OFFSET_TYPE) {
    throw new AppError('unsupported_media_type', `Bytes are sent as ${OFFSET_TYPE}.`);
  }
  if (Number(request.headers.get('content-length') ?? 0) > size - offset) {
    throw new AppError('payload_too_large', 'These are more bytes than the upload was announced with.');
  }
  return { offset, body: request.body, checksum: checksumOf(request), signal: request.signal };
}

export const offsetOf = (request: Request): number => bytesIn(request, 'Upload-Offset');

export const sendsBytes = ({ headers }: Request): boolean => headers.get('content-type') === OFFSET_TYPE;

/** What an upload has become, in headers; `DreamHub-…` are ours and come with the last byte. */
export function uploadHeaders(upload: ResumableUploadState): Record<string, string> {
  return {
    'upload-offset': String(upload.offset),
    'upload-expires': new Date(upload.expires_at).toUTCString(),
    ...(upload.document_id !== null && { 'dreamhub-document-id': upload.document_id }),
    ...(upload.task_id !== null && { 'dreamhub-task-id': upload.task_id }),
    ...(upload.duplicate !== null && { 'dreamhub-duplicate': String(upload.duplicate) }),
  };
}

/** Answers to HEAD. Throws what a failed upload failed with. */
export function stateResponse(upload: ResumableUploadState): Response {
  if (upload.status === 'failed') throw failureOf(upload);
  return new Response(null, {
    headers: {
      ...uploadHeaders(upload),
      'upload-length': String(upload.size),
      ...(upload.metadata !== '' && { 'upload-metadata': upload.metadata }),
    },
  });
}

export function capabilities(maxBytes: number): Response {
  return new Response(null, {
    status: 204,
    headers: {
      'tus-version': TUS_VERSION,
      'tus-extension': EXTENSIONS,
      'tus-max-size': String(maxBytes),
      'tus-checksum-algorithm': CHECKSUM_ALGORITHMS.join(','),
    },
  });
}
