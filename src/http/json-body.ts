/**
 * The parser of every route that takes JSON: `{ parse: jsonBody }`. Reads at most `MAX_JSON_BYTES`, whatever the headers
 * promised. It is given route by route because a parser of a whole instance would lock the upload's stream.
 */
import { AppError } from '../kernel/errors.ts';
import { isNestedDeeper, MAX_NESTING } from '../kernel/nesting.ts';
import { isStorable } from '../kernel/text/storable.ts';
import { MAX_JSON_BYTES } from './plugins/body-limit.ts';

/** Escapes that may stand for a NUL or half a surrogate pair: neither can be stored as text. */
const SUSPICIOUS = /\\u(0000|d[89a-f])/i;

/** Throws `payload_too_large` past `most` bytes, whatever was promised. */
export async function readAtMost(body: ReadableStream<Uint8Array>, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > most) throw new AppError('payload_too_large', `At most ${most} bytes are accepted here.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

function parse(bytes: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    // The cause would quote the body.
    throw new AppError('malformed', 'The request body is not valid JSON.');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const errors = [{ path: '', message: 'Expected object' }];
    throw new AppError('invalid_request', 'The request body must be a JSON object.', { errors });
  }
  // A validator's report would be indented level by level: a small body could keep the process busy for seconds.
  if (isNestedDeeper(value, MAX_NESTING)) {
    throw new AppError('invalid_request', `The request body is nested deeper than ${MAX_NESTING} levels.`);
  }
  if (SUSPICIOUS.test(text) && !isStorable(value)) {
    throw new AppError('invalid_request', 'Text must not contain NUL or half a surrogate pair.');
  }
  return value;
}

/**
 * Always an object: Elysia would take anything else for one that has none of its properties. No body at all counts as
 * `{}`, so that what is missing is said field by field.
 */
export async function jsonBody({ request }: { request: Request }, contentType: string): Promise<unknown> {
  if (request.body === null) return {};
  if (!/^application\/(json|[\w.-]+\+json)\s*$/i.test(contentType)) {
    throw new AppError('unsupported_media_type', 'The body must be application/json.');
  }
  const bytes = await readAtMost(request.body, MAX_JSON_BYTES);
  return bytes.byteLength === 0 ? {} : parse(bytes);
}
