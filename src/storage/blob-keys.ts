/**
 * The only place where blob keys are built. The tenant comes from the ambient scope, so no caller can name another
 * tenant's blob; outside a scope every function here throws.
 */
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';

/** The bytes as they were uploaded. */
export function originalKey(documentId: string): string {
  return `originals/${currentScope().tenantId}/${documentId}`;
}

/** The extracted text of one version of a document: what every offset counts in. */
export function textKey(documentId: string, version: number): string {
  return `texts/${currentScope().tenantId}/${documentId}/v${version}`;
}

/** A part of a resumable upload; each request that appends has a number of its own, so none overwrites another's. */
export function uploadPartKey(uploadId: string, part: { start: number; writer: number }): string {
  return `uploads/${currentScope().tenantId}/${uploadId}/${part.start}-${part.writer}`;
}

/** The file that was sent to a source. */
export function sourceFileKey(sourceId: string): string {
  return `sources/${currentScope().tenantId}/${sourceId}`;
}

/** Texts of all versions of a document. */
export const textsFolder = (documentId: string): string => `texts/${currentScope().tenantId}/${documentId}`;

/** Parts of a resumable upload. */
export const uploadFolder = (uploadId: string): string => `uploads/${currentScope().tenantId}/${uploadId}`;

/** Where blobs are: a new kind of them is a folder here, so that it goes with its tenant and into backups. */
export const BLOB_FOLDERS = ['originals', 'texts', 'uploads', 'sources'] as const;

/** All that is the tenant's. */
export const tenantFolders = (): string[] => BLOB_FOLDERS.map((folder) => `${folder}/${currentScope().tenantId}`);

const KEY = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)+$/;

/**
 * Throws `internal` unless every segment starts with a letter or digit and holds nothing but letters, digits, `.`, `_`
 * and `-`: such a key can climb out of no folder, hide no file and mean the same on disk and in S3.
 */
export function assertBlobKey(key: string): void {
  if (key.length > 512 || !KEY.test(key)) throw new AppError('internal', 'That is not the key of a blob.');
}
