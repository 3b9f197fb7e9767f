/**
 * Resumable uploads. What arrives is cut into segments; each is staged, promoted to a blob of its own and recorded in one
 * step, so that a cut connection, a dead process or another node costs at most one segment. Nothing of an upload is in
 * this process: any node that sees the same database and blob store goes on with it.
 *
 * The last segment is not recorded by itself. All parts are put together with it, and the same transaction that accepts
 * the document finishes the session. Refused for now (a full queue), the session stays one segment short, so that a client
 * that asks where to go on sends that segment again and by that tries again; refused for good, the session has failed.
 */
import { createHash } from 'node:crypto';
import type { BlobStore, ResumableUpload, StagedBlob, UploadReceipt } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError, ERROR_KINDS, type ErrorKind } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import {
  appendPart,
  beginAppending,
  closeSession,
  deleteParts,
  deleteSession,
  failSession,
  finishSession,
  getSession,
  insertSession,
  listParts,
  type UploadPart,
  type UploadSession,
} from '../repositories/upload-sessions.ts';
import { uploadPartKey } from '../storage/blob-keys.ts';
import { toFilename } from '../storage/filename.ts';
import { type Segments, withSegments } from './segments.ts';
import { parseUploadFields } from './upload-fields.ts';
import type { Uploads } from './uploads.ts';

export const CHECKSUM_ALGORITHMS = ['sha1', 'sha256', 'sha512', 'md5'] as const;

export interface Checksum {
  algorithm: (typeof CHECKSUM_ALGORITHMS)[number];
  digest: Uint8Array;
}

export interface NewResumableUpload {
  /** Bytes of the whole file. */
  size: number;
  filename: string | undefined;
  /** The same as the fields of `POST /upload`. */
  fields: Record<string, string>;
  /** As it was sent; repeated in answers. */
  metadata: string;
}

export interface Appended {
  /** Where the bytes belong: must be how many are kept already. */
  offset: number;
  body: ReadableStream<Uint8Array> | null;
  /** With one, the bytes are kept all or not at all. */
  checksum: Checksum | undefined;
  signal: AbortSignal;
}

export type ResumableUploadState = ResumableUpload & { metadata: string };

export interface ResumableUploads {
  readonly maxBytes: number;
  create(upload: NewResumableUpload): Promise<ResumableUploadState>;
  /** `not_found` for somebody else's, and for one that has expired. */
  get(id: string): Promise<ResumableUploadState>;
  /** `conflict` where the offset is another, or another request has taken over. */
  append(id: string, appended: Appended): Promise<ResumableUploadState>;
  /** Forgets an upload and its bytes; a document that was made of it stays. */
  remove(id: string): Promise<void>;
}

export interface ResumableUploadsOptions {
  database: Database;
  blobs: BlobStore;
  uploads: Pick<Uploads, 'acceptStaged'>;
  clock: Clock;
  ids: Ids;
  maxUploadBytes: number;
  /** What a crash may lose of a request, in bytes. */
  segmentBytes?: number;
  /** How long an upload is kept after its last bytes. */
  keepMs?: number;
}

const SEGMENT_BYTES = 8 * 1024 * 1024;
const KEEP_MS = 24 * 3_600_000;
const MOST_OPEN = 100;
/** tus' own status for bytes that are not what the checksum says. */
const CHECKSUM_MISMATCH = 460;

const notFound = () => new AppError('not_found', 'There is no such upload.');
const takenOver = () => new AppError('conflict', 'Another request goes on with this upload.');

function toState(row: UploadSession): ResumableUploadState {
  const { received, error_kind, error_message, fields: _fields, created_at, expires_at, ...rest } = row;
  return {
    ...rest,
    offset: received,
    error: error_kind === null ? null : { code: error_kind, message: error_message ?? '' },
    created_at: created_at.toISOString(),
    expires_at: expires_at.toISOString(),
  };
}

/** What a failed upload is answered with from then on. */
export function failureOf({ error }: Pick<ResumableUpload, 'error'>): AppError {
  const kind = error && error.code in ERROR_KINDS ? (error.code as ErrorKind) : 'conflict';
  return new AppError(kind, error?.message || 'This upload was ended.');
}

/** Refused for good: no other try at the same bytes would pass. */
const isFinal = (error: unknown): error is AppError => error instanceof AppError && !error.retryable;

export function createResumableUploads(options: ResumableUploadsOptions): ResumableUploads {
  const { database, blobs, uploads, clock, ids, maxUploadBytes } = options;
  const { segmentBytes = SEGMENT_BYTES, keepMs = KEEP_MS } = options;
  const expiry = () => new Date(clock.now() + keepMs);

  async function load(id: string): Promise<UploadSession> {
    const row = await database.tenant((sql) => getSession(sql, id, new Date(clock.now())));
    if (!row) throw notFound();
    return row;
  }

  async function removeBlobs(id: string, parts: readonly UploadPart[]): Promise<void> {
    for (const part of parts) await blobs.remove(uploadPartKey(id, part));
  }

  async function* concatenated(id: string, parts: readonly UploadPart[], last: StagedBlob): AsyncGenerator<Uint8Array> {
    for (const part of parts) yield* await blobs.read(uploadPartKey(id, part));
    yield* await blobs.read(last.stagingKey);
  }

  /** The whole file, staged once more; `last` is gone afterwards. */
  async function putTogether(session: UploadSession, parts: readonly UploadPart[], last: StagedBlob) {
    if (parts.length === 0) return last;
    try {
      const whole = await blobs.stage(concatenated(session.id, parts, last), { maxBytes: session.size });
      if (whole.size === session.size) return whole;
      await blobs.discard(whole);
      throw new Error(`the parts of upload ${session.id} are ${whole.size} bytes instead of ${session.size}`);
    } finally {
      await blobs.discard(last);
    }
  }

  async function finish(session: UploadSession, writer: number, last: StagedBlob): Promise<void> {
    const { id, filename, fields } = session;
    const parts = await database.tenant((sql) => listParts(sql, id));
    const staged = await putTogether(session, parts, last);
    try {
      await uploads.acceptStaged({
        staged,
        filename,
        fields,
        async within(sql, receipt: UploadReceipt) {
          if (!(await finishSession(sql, id, writer, receipt))) throw takenOver();
        },
      });
    } catch (error) {
      if (!isFinal(error) || error.kind === 'conflict') throw error;
      await database.tenant((sql) => failSession(sql, id, writer, { code: error.kind, message: error.message }));
      await forgetParts(id, parts);
      throw error;
    }
    await forgetParts(id, parts);
  }

  async function forgetParts(id: string, parts: readonly UploadPart[]): Promise<void> {
    await removeBlobs(id, parts);
    await database.tenant((sql) => deleteParts(sql, id));
  }

  async function record(id: string, part: UploadPart, staged: StagedBlob): Promise<void> {
    const key = uploadPartKey(id, part);
    await blobs.promote(staged, key);
    const kept = await database.tenant((sql) => appendPart(sql, id, part, expiry()));
    if (kept) return;
    await blobs.remove(key);
    throw takenOver();
  }

  /** All bytes of one request that has a checksum. */
  async function takeVerified(segments: Segments, most: number, { algorithm, digest }: Checksum): Promise<StagedBlob> {
    const hash = createHash(algorithm);
    async function* hashed() {
      for await (const chunk of segments.take(most)) {
        hash.update(chunk);
        yield chunk;
      }
    }
    const staged = await blobs.stage(hashed(), { maxBytes: most });
    if (hash.digest().equals(digest)) return staged;
    await blobs.discard(staged);
    throw segments.brokenOff
      ? new AppError('malformed', 'The request ended before all of its bytes came: none are kept.')
      : new AppError('malformed', 'The bytes are not what the checksum says.', { status: CHECKSUM_MISMATCH });
  }

  /** Whoever sends more than was announced, without having said so, is not told that all is there: a file cut short is another. */
  async function assertOver(segments: Segments, last: StagedBlob): Promise<void> {
    for await (const _more of segments.take(1)) {
      await blobs.discard(last);
      throw new AppError('payload_too_large', 'These are more bytes than the upload was announced with.');
    }
  }

  async function appendSegments(session: UploadSession, writer: number, appended: Appended, segments: Segments) {
    const { checksum } = appended;
    let { received } = session;
    while (received < session.size) {
      const left = session.size - received;
      const staged = checksum
        ? await takeVerified(segments, left, checksum)
        : await blobs.stage(segments.take(Math.min(left, segmentBytes)), { maxBytes: segmentBytes });
      if (staged.size === 0) return blobs.discard(staged);
      if (staged.size === left) {
        await assertOver(segments, staged);
        return finish(session, writer, staged);
      }
      await record(session.id, { start: received, size: staged.size, writer }, staged);
      received += staged.size;
      if (checksum) return;
    }
  }

  async function append(id: string, appended: Appended): Promise<ResumableUploadState> {
    const session = await load(id);
    if (session.status === 'failed') throw failureOf(toState(session));
    if (session.received !== appended.offset) {
      throw new AppError('conflict', `${session.received} bytes are kept: go on there.`);
    }
    if (session.status === 'finished') return toState(session);
    const writer = await database.tenant((sql) =>
      beginAppending(sql, id, { offset: appended.offset, expiresAt: expiry() }),
    );
    if (writer === undefined) throw takenOver();
    const body = appended.body ?? new Blob([]).stream();
    await withSegments(body, appended.signal, (segments) => appendSegments(session, writer, appended, segments));
    return toState(await load(id));
  }

  return {
    maxBytes: maxUploadBytes,

    async create({ size, filename, fields, metadata }) {
      if (size > maxUploadBytes) {
        throw new AppError('payload_too_large', `The file is larger than the ${maxUploadBytes} bytes allowed.`);
      }
      if (size === 0) throw new AppError('invalid_request', 'An empty file has nothing to be read.');
      parseUploadFields(fields);
      const session = { id: ids.uuid(), size, filename: toFilename(filename), fields, metadata, expires_at: expiry() };
      const row = await database.tenant((sql) => insertSession(sql, session, MOST_OPEN));
      if (!row) {
        throw new AppError('rate_limited', `At most ${MOST_OPEN} uploads may be open at once: finish or end some.`);
      }
      return toState(row);
    },

    get: async (id) => toState(await load(id)),

    append,

    async remove(id) {
      const parts = await database.tenant((sql) => closeSession(sql, id));
      if (!parts) throw notFound();
      await removeBlobs(id, parts);
      await database.tenant((sql) => deleteSession(sql, id));
    },
  };
}
