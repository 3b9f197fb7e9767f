/** What a file system or a bucket says, in the words of the contract. */
import { AppError } from '../kernel/errors.ts';

const FULL_OR_READ_ONLY = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'EIO']);
const RETRY_AFTER_MS = 30_000;

/** `unavailable` for a store that cannot be written right now, `not_found` for a blob that is gone; else unchanged. */
export function toStorageError(error: unknown): unknown {
  const code = codeOf(error);
  if (code === 'ENOENT' || code === 'NoSuchKey') return blobNotFound(error);
  if (code !== undefined && FULL_OR_READ_ONLY.has(code)) return storeUnavailable(error);
  return error;
}

export function storeUnavailable(cause: unknown): AppError {
  return new AppError('unavailable', 'The document store cannot be written right now.', {
    cause,
    retryAfterMs: RETRY_AFTER_MS,
  });
}

export function blobNotFound(cause?: unknown): AppError {
  return new AppError('not_found', 'There are no such bytes in the document store.', { cause });
}

/** The `code` of a system or S3 error. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
