/**
 * Files inside of a document (a mail's attachments) become documents of their own. Their bytes are kept before the document
 * is published, under names that each attempt makes alike, and the publishing transaction accepts them: they are there if and
 * only if it is. Their tasks are counted, but not refused: that would undo what has been paid for already.
 *
 * A child is its parent, its name and its bytes: unchanged it stays as it is, changed it is another one. They go with their parent.
 */
import { createHash } from 'node:crypto';
import type { BlobStore, EmbeddedFile, Visibility } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { sniffFile } from '../ingest/sniff.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import { traceparentOf } from '../kernel/trace.ts';
import type { Feeder } from '../queue/feeder.ts';
import { countAncestors, type DocumentWork, listChildren } from '../repositories/documents.ts';
import { acceptUpload } from '../repositories/documents-accept.ts';
import { originalKey } from '../storage/blob-keys.ts';
import { toFilename } from '../storage/filename.ts';
import type { Announcer } from './announcer.ts';
import type { Documents } from './documents.ts';
import type { MalwareGate } from './malware.ts';

/** A file whose bytes are kept under the id of the document that it may become. */
export interface Child {
  id: string;
  taskId: string;
  item: string;
  filename: string;
  mediaType: string;
  size: number;
  sha256: string;
}

export interface Refused {
  filename: string;
  /** For the person who reads the task's log. */
  reason: string;
}

export interface EmbeddedFiles {
  /** Keeps the bytes of what can become a document, and says why the rest cannot. */
  keep(
    parent: DocumentWork,
    files: readonly EmbeddedFile[],
    signal: AbortSignal,
  ): Promise<{ children: Child[]; refused: Refused[] }>;
  /** Removes the children that an earlier version of the parent had and this one has not. */
  removeOthers(parent: DocumentWork, children: readonly Child[]): Promise<void>;
  /** In the transaction that publishes the parent; returns those that are new. */
  accept(sql: Sql, parent: DocumentWork, children: readonly Child[]): Promise<Child[]>;
  /** After that transaction. */
  announce(parent: DocumentWork, accepted: readonly Child[]): Promise<void>;
  /** Forgets the bytes of a parent that is gone. */
  forget(children: readonly Child[]): Promise<void>;
}

export interface EmbeddedFilesOptions {
  database: Database;
  blobs: BlobStore;
  documents: Pick<Documents, 'remove'>;
  malware: MalwareGate | undefined;
  feeder: Pick<Feeder, 'nudge'>;
  announcer: Announcer;
  ids: Ids;
  maxUploadBytes: number;
}

const SOURCE_TYPE = 'attachment';
const PRIORITY = 5;
const MOST_FILES = 200;
/** A mail in a mail in a mail… */
const MOST_DEEP = 5;
const MAX_NAME_CHARS = 255;

/** The parent's place in time, so that lists show it beside its parent, and the rest of what makes it itself. */
function idOf(parentId: string, item: string): string {
  const hash = createHash('sha256').update(`${parentId}\n${item}`).digest('hex');
  const variant = '89ab'[Number.parseInt(hash[3] ?? '0', 16) % 4];
  return `${parentId.slice(0, 14)}7${hash.slice(0, 3)}-${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`;
}

export function createEmbeddedFiles(options: EmbeddedFilesOptions): EmbeddedFiles {
  const { database, blobs, documents, malware, feeder, announcer, ids, maxUploadBytes } = options;

  const visibilityOf = ({ private_to }: DocumentWork): Visibility => (private_to === null ? 'tenant' : 'private');

  async function keepOne(parent: DocumentWork, file: EmbeddedFile, signal: AbortSignal): Promise<Child> {
    const filename = toFilename(file.name);
    const { mediaType } = await sniffFile(file.path, filename);
    const staged = await blobs.stage(Bun.file(file.path).stream(), { maxBytes: maxUploadBytes, signal });
    try {
      await malware?.assertClean(staged, {
        title: filename,
        filename,
        mediaType,
        sourceType: SOURCE_TYPE,
        visibility: visibilityOf(parent),
      });
      const { size, sha256 } = staged;
      const item = `${filename.slice(0, MAX_NAME_CHARS).toWellFormed()} ${sha256.slice(0, 16)}`;
      const id = idOf(parent.id, item);
      await blobs.promote(staged, originalKey(id));
      return { id, taskId: ids.uuid(), item, filename, mediaType, size, sha256 };
    } catch (error) {
      await blobs.discard(staged);
      throw error;
    }
  }

  return {
    async keep(parent, files, signal) {
      const children = new Map<string, Child>();
      const refused: Refused[] = [];
      const refuse = (filename: string, reason: string) => refused.push({ filename, reason });
      if (files.length === 0) return { children: [], refused };
      const depth = await database.tenant((sql) => countAncestors(sql, parent.id));
      for (const [index, file] of files.entries()) {
        signal.throwIfAborted();
        const filename = toFilename(file.name);
        if (depth >= MOST_DEEP) refuse(filename, 'It is nested too deeply.');
        else if (index >= MOST_FILES) refuse(filename, `At most ${MOST_FILES} files of a document are taken in.`);
        else if (file.size === 0) refuse(filename, 'It is empty.');
        else {
          try {
            const child = await keepOne(parent, file, signal);
            children.set(child.id, child);
          } catch (error) {
            if (!(error instanceof AppError) || error.retryable) throw error;
            refuse(filename, error.message);
          }
        }
      }
      return { children: [...children.values()], refused };
    },

    async removeOthers(parent, children) {
      const kept = new Set(children.map(({ id }) => id));
      for (const id of await database.tenant((sql) => listChildren(sql, parent.id))) {
        if (kept.has(id)) continue;
        await documents.remove(id).catch((error: unknown) => {
          if (!(error instanceof AppError && error.kind === 'not_found')) throw error;
        });
      }
    },

    async accept(sql, parent, children) {
      const accepted: Child[] = [];
      for (const child of children) {
        const { document } = await acceptUpload(sql, {
          documentId: child.id,
          taskId: child.taskId,
          title: child.filename.slice(0, 500),
          filename: child.filename,
          mediaType: child.mediaType,
          size: child.size,
          sha256: child.sha256,
          sourceType: SOURCE_TYPE,
          origin: { item: child.item, sourceId: null, parentId: parent.id },
          visibility: visibilityOf(parent),
          metadata: {},
          priority: PRIORITY,
          chunking: null,
          traceparent: traceparentOf(currentScope()),
          limits: null,
        });
        if (document) accepted.push(child);
      }
      return accepted;
    },

    async announce(parent, accepted) {
      const audience = parent.private_to === null ? 'tenant' : 'user';
      const progress = { status: 'queued', stage: null, progress: 0, chunks_done: 0, chunks_total: null, attempt: 0 };
      for (const { id, taskId, filename } of accepted) {
        const names = { document_id: id, task_id: taskId };
        await announcer.hint('user', 'document.uploaded', { ...names, title: filename });
        await announcer.log(`task:${taskId}`, 0, 'task.queued', { ...names, ...progress }, audience);
      }
      if (accepted.length > 0) feeder.nudge('ingest', currentScope().tenantId, 'accepted');
    },

    async forget(children) {
      for (const { id } of children) await blobs.remove(originalKey(id));
    },
  };
}
