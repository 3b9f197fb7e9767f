/**
 * Reads one `multipart/form-data` upload as it arrives. The file goes straight from the socket to `onFile`; nothing is
 * collected but a few small fields, and a slow `onFile` slows the sender.
 *
 * A reading is open → finished or failed, once. On failure the request's body is given up, the file's stream fails with
 * the same error (so that `onFile` cleans up after itself), and a file that `onFile` had already returned is handed to
 * `discard`: whatever goes wrong, nothing stays behind.
 */
import type { Readable } from 'node:stream';
import { Busboy, type BusboyFileStream, type BusboyInstance } from '@fastify/busboy';
import { AppError } from '../kernel/errors.ts';
import { toFilename } from './filename.ts';
import { FILE_FIELD, FORM_LIMITS } from './form-limits.ts';
import { type Interrupt, withInterrupt } from './interrupt.ts';
import { type PlainForm, readPlainForm } from './plain-form.ts';

const { fields: MAX_FIELDS, fieldName: MAX_FIELD_NAME, fieldBytes: MAX_FIELD_BYTES } = FORM_LIMITS;
/** What boundaries, part headers and fields may take beside the file itself. */
const MAX_OVERHEAD_BYTES = MAX_FIELDS * (MAX_FIELD_BYTES + 4096);

export interface UploadedFile {
  /** A label as the sender gave it: last part of a path, no control characters; never a path to write to. */
  filename: string;
}

export interface ReadUploadOptions<T> {
  /** The most bytes the file may have; above: `payload_too_large`. */
  maxBytes: number;
  signal?: AbortSignal;
  /** Takes the file's bytes. Its rejection becomes the upload's. */
  onFile(stream: AsyncIterable<Uint8Array>, file: UploadedFile): Promise<T>;
  /** Undoes `onFile` when what follows the file turns out to be bad. */
  discard(file: T): Promise<void>;
}

export interface Upload<T> {
  fields: Record<string, string>;
  file: T;
  filename: string;
}

/**
 * Reads a form as it arrives, or one that is there as a whole, with the same outcome. Rejects with `malformed` (not multipart, cut off,
 * client gone), `invalid_request` (no file, several files, a field too many or too long), `payload_too_large`, or whatever
 * `onFile` rejected with.
 */
export async function readUpload<T>(
  body: ReadableStream<Uint8Array> | Uint8Array | null,
  contentType: string | null,
  options: ReadUploadOptions<T>,
): Promise<Upload<T>> {
  if (!(body instanceof Uint8Array)) return readStream(body, contentType, options);
  const form = readPlainForm(body, contentType ?? '', options.maxBytes);
  return form ? take(form, options) : readStream(streamOf(body), contentType, options);
}

const streamOf = (bytes: Uint8Array): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  });

async function take<T>(form: PlainForm, { signal, onFile, discard }: ReadUploadOptions<T>): Promise<Upload<T>> {
  const filename = toFilename(form.filename);
  return withInterrupt(signal, cutOff, async (interrupt) => {
    if (interrupt.failed) throw cutOff(signal?.reason);
    const taken = Promise.resolve(onFile(once(form.file), { filename }));
    try {
      return { fields: form.fields, file: await interrupt.guard(taken), filename };
    } catch (error) {
      await taken.then(discard, () => {});
      throw error;
    }
  });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

async function readStream<T>(
  body: ReadableStream<Uint8Array> | null,
  contentType: string | null,
  { maxBytes, signal, onFile, discard }: ReadUploadOptions<T>,
): Promise<Upload<T>> {
  const parser = createParser(contentType, maxBytes);
  if (!body) throw cutOff();

  return withInterrupt(signal, cutOff, (interrupt) => {
    const parts = collectParts(parser, interrupt, { maxBytes, onFile, discard });
    return parts.finish(() => pump(body, parser, interrupt, maxBytes));
  });
}

/** Listens to the parser: small fields are kept, the file is handed on, and anything else is a failure. */
function collectParts<T>(
  parser: BusboyInstance,
  interrupt: Interrupt,
  { maxBytes, onFile, discard }: ReadUploadOptions<T>,
) {
  const fields = new Map<string, string>();
  let upload: { filename: string; stream: Readable; taken: Promise<T> } | undefined;

  // Busboy's types promise names that a hostile sender can leave out.
  parser.on('file', (name: string | undefined, file: BusboyFileStream, rawFilename: string | undefined) => {
    if (name !== FILE_FIELD) {
      file.on('error', () => {});
      file.resume();
      return interrupt.fail(invalid(name ?? '', `A file is expected in the part named "${FILE_FIELD}" only.`));
    }
    // A browser's empty file input: a part with an empty name and no bytes.
    if (rawFilename === '') return void file.on('error', () => {}).resume();
    file.on('limit', () => interrupt.fail(tooLarge(maxBytes)));
    const filename = toFilename(rawFilename);
    const taken = Promise.resolve(onFile(file, { filename }));
    let broken = false;
    file.on('error', () => {
      broken = true;
    });
    taken.then(
      // Had `onFile` stopped early, the rest would block the fields behind it.
      () => (broken ? interrupt.fail(cutOff()) : file.resume()),
      // The stream's own error reaches us through `onFile`, which may have a better reason of its own.
      (error) => interrupt.fail(broken && !(error instanceof AppError) ? cutOff(error) : error),
    );
    upload = { filename, stream: file, taken };
  });
  parser.on('filesLimit', () => interrupt.fail(invalid(FILE_FIELD, 'Send exactly one file.')));
  parser.on('field', (name: string | undefined, value: string, nameTruncated: boolean, valueTruncated: boolean) => {
    if (!name || nameTruncated || name.length > MAX_FIELD_NAME) {
      return interrupt.fail(
        invalid((name ?? '').slice(0, MAX_FIELD_NAME), 'Every part needs a name of normal length.'),
      );
    }
    if (valueTruncated) return interrupt.fail(invalid(name, `Longer than the ${MAX_FIELD_BYTES} bytes allowed.`));
    fields.set(name, value);
  });
  parser.on('fieldsLimit', () => interrupt.fail(invalid('', `More than ${MAX_FIELDS} fields.`)));
  parser.on('partsLimit', () => interrupt.fail(invalid('', 'Too many parts.')));
  parser.on('error', (error) => interrupt.fail(cutOff(error)));

  return {
    async finish(read: () => Promise<void>): Promise<Upload<T>> {
      try {
        await read();
        if (!upload) throw invalid(FILE_FIELD, 'A file is needed.');
        const file = await interrupt.guard(upload.taken);
        return { fields: Object.fromEntries(fields), file, filename: upload.filename };
      } catch (error) {
        interrupt.fail(error);
        upload?.stream.destroy(error instanceof Error ? error : cutOff(error));
        parser.destroy();
        await upload?.taken.then(discard, () => {});
        throw error;
      }
    },
  };
}

/** Feeds the body to the parser, piece by piece, until both are through. */
async function pump(
  body: ReadableStream<Uint8Array>,
  parser: BusboyInstance,
  interrupt: Interrupt,
  maxBytes: number,
): Promise<void> {
  const finished = new Promise<void>((resolve) => parser.once('finish', () => resolve()));
  const reader = body.getReader();
  try {
    let received = 0;
    while (true) {
      const { done, value } = await interrupt.guard(reader.read().catch((error) => Promise.reject(cutOff(error))));
      if (done) break;
      received += value.length;
      if (received > maxBytes + MAX_OVERHEAD_BYTES) throw tooLarge(maxBytes);
      await interrupt.guard(write(parser, value));
    }
    parser.end();
    await interrupt.guard(finished);
  } catch (error) {
    // Asked for, not waited for: the sender may hang.
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

function createParser(contentType: string | null, maxBytes: number): BusboyInstance {
  if (!/^multipart\/form-data\s*;/i.test(contentType ?? '')) throw notMultipart();
  try {
    return new Busboy({
      headers: { 'content-type': contentType ?? '' },
      // An unnamed file (`curl -F file=<notes.txt`) is a file by the part's name.
      isPartAFile: (name, type, filename) =>
        name === FILE_FIELD || filename !== undefined || type === 'application/octet-stream',
      limits: {
        files: 1,
        fields: MAX_FIELDS,
        parts: MAX_FIELDS + 2,
        fieldSize: MAX_FIELD_BYTES,
        fieldNameSize: MAX_FIELD_NAME,
        // Busboy cuts at the limit: a file of exactly `maxBytes` must still pass.
        fileSize: maxBytes + 1,
        headerPairs: 32,
        headerSize: 16 * 1024,
      },
    });
  } catch (error) {
    throw notMultipart(error);
  }
}

/** Resolves when the parser wants more. */
function write(parser: BusboyInstance, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    parser.write(chunk, (error) => (error ? reject(cutOff(error)) : resolve()));
  });
}

function cutOff(cause?: unknown): AppError {
  return new AppError('malformed', 'The upload ended before it was complete.', { cause });
}

function tooLarge(maxBytes: number): AppError {
  return new AppError('payload_too_large', `The file is larger than the ${maxBytes} bytes allowed.`);
}

function notMultipart(cause?: unknown): AppError {
  return new AppError('malformed', 'Send the file as multipart/form-data with a boundary.', { cause });
}

function invalid(path: string, message: string): AppError {
  return new AppError('invalid_request', message, { errors: [{ path, message }] });
}
