/** Reading and deleting documents. */
import type {
  BlobStore,
  ChunkResource,
  DocumentResource,
  Page,
  PageRequest,
  TaskProgress,
} from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Control } from '../realtime/control.ts';
import { listChunks } from '../repositories/chunks.ts';
import { isTextKept } from '../repositories/document-texts.ts';
import {
  countChanges,
  type DeletedDocument,
  deleteDocument,
  getDocument,
  getLiveVersion,
  getOriginal,
  listDocuments,
  listFamily,
} from '../repositories/documents.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import { dischargeTasks, lockWithTasks } from '../repositories/tasks.ts';
import { originalKey, textKey } from '../storage/blob-keys.ts';
import type { Announcer } from './announcer.ts';
import { Overtaken, untilNotOvertaken } from './overtaken.ts';
import { idCursor, numberCursor, toPage } from './paging.ts';

export interface DocumentContent {
  stream: ReadableStream<Uint8Array>;
  filename: string;
  mediaType: string;
  /** Bytes. */
  size: number;
}

export interface Documents {
  list(
    query: PageRequest & { status?: string | undefined; source_type?: string | undefined; q?: string | undefined },
  ): Promise<Page<DocumentResource>>;
  get(id: string): Promise<DocumentResource>;
  /** The original bytes. */
  content(id: string): Promise<DocumentContent>;
  /**
   * The extracted text that offsets count in, in UTF-8; `conflict` while there is none yet. Without a version, of the one that
   * searches see; one that they no longer see is there for the answers that cite it, else `not_found`.
   */
  text(id: string, version?: number): Promise<ReadableStream<Uint8Array>>;
  chunks(id: string, page: PageRequest): Promise<Page<ChunkResource>>;
  /** Rows, vectors, blobs and any running task; nothing of it is found once this resolves. */
  remove(id: string): Promise<void>;
}

export interface DocumentsOptions {
  database: Database;
  blobs: BlobStore;
  announcer: Announcer;
  control: Pick<Control, 'publishCancel'>;
  logger: Logger;
}

/** A task that went with its document, as its readers are told. */
const cancelledTask = (taskId: string, documentId: string, attempt: number): TaskProgress => ({
  task_id: taskId,
  document_id: documentId,
  status: 'cancelled',
  stage: null,
  progress: 0,
  chunks_done: 0,
  chunks_total: null,
  attempt,
});

const notFound = () => new AppError('not_found', 'There is no such document.');
const notKept = (version: number) => new AppError('not_found', `The text of version ${version} is not kept.`);
const isNotFound = (error: unknown) => error instanceof AppError && error.kind === 'not_found';

export function createDocuments({ database, blobs, announcer, control, logger }: DocumentsOptions): Documents {
  /** Blobs go after the rows: a leftover blob harms nobody, a row without its blob would. */
  async function removeBlobs(id: string, { originals, last_version: last }: DeletedDocument): Promise<void> {
    const keys = [...originals.map(originalKey), ...Array.from({ length: last }, (_, index) => textKey(id, index + 1))];
    for (const key of keys) {
      try {
        await blobs.remove(key);
      } catch (error) {
        logger.error({ err: error, key }, `a deleted document's blob stays: ${messageOf(error)}`);
      }
    }
  }

  /** The rows of a document and of all that is inside of it, with whatever is done to them. */
  async function removeRows(sql: Sql, id: string) {
    const family = await listFamily(sql, id);
    if (family.length === 0) throw notFound();
    const unfinished = await lockWithTasks(sql, family);
    // What was being published while we waited may have brought documents that are inside of it.
    if (!unfinished || (await listFamily(sql, id)).length !== family.length) throw new Overtaken();
    const deleted = new Map<string, DeletedDocument>();
    // Children first: their rows would go with their parents', untold.
    for (const member of family.toReversed()) {
      const row = await deleteDocument(sql, member);
      if (!row) throw new Overtaken();
      deleted.set(member, row);
      await appendOutbox(sql, 'document.deleted', { document_id: member, title: row.title });
    }
    const bytes = unfinished.reduce((sum, task) => sum + task.size, 0);
    if (unfinished.length > 0) {
      await countChanges(sql);
      await dischargeTasks(sql, unfinished.length, bytes);
    }
    return { tasks: unfinished, deleted };
  }

  async function textOf(id: string, version: number): Promise<ReadableStream<Uint8Array>> {
    const isKept = await database.tenant((sql) => isTextKept(sql, id, version));
    if (isKept === undefined) throw notFound();
    if (!isKept) throw notKept(version);
    try {
      return await blobs.read(textKey(id, version));
    } catch (error) {
      throw isNotFound(error) ? notKept(version) : error;
    }
  }

  return {
    async list({ limit, cursor, ...query }) {
      const rows = await database.tenant((sql) =>
        listDocuments(sql, { ...query, limit: limit + 1, after: idCursor(cursor) }),
      );
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => row });
    },

    async get(id) {
      const document = await database.tenant((sql) => getDocument(sql, id));
      if (!document) throw notFound();
      return document;
    },

    async content(id) {
      for (let known: string | undefined; ; ) {
        const file = await database.tenant((sql) => getOriginal(sql, id));
        if (!file) throw notFound();
        if (file.status === 'quarantined') {
          throw new AppError('malware_detected', 'The document is quarantined: its content is not kept.');
        }
        const { original, filename, media_type: mediaType, size } = file;
        try {
          return { stream: await blobs.read(originalKey(original)), filename, mediaType, size };
        } catch (error) {
          // A newer version was published in between, and the bytes of this one are gone.
          if (original === known || !isNotFound(error)) throw error;
          known = original;
        }
      }
    },

    async text(id, version) {
      if (version !== undefined) return textOf(id, version);
      for (let known: number | undefined; ; ) {
        const row = await database.tenant((sql) => getLiveVersion(sql, id));
        if (!row) throw notFound();
        const { live_version: version } = row;
        if (version === null) throw new AppError('conflict', 'The document has no text yet.');
        try {
          return await blobs.read(textKey(id, version));
        } catch (error) {
          // A newer version was published in between, and the text of this one is gone.
          if (version === known || !isNotFound(error)) throw error;
          known = version;
        }
      }
    },

    async chunks(id, { limit, cursor }) {
      const after = numberCursor(cursor, -1);
      const shown = () => database.tenant((sql) => getLiveVersion(sql, id));
      let rows: ChunkResource[] = [];
      for (let row = await shown(); ; ) {
        if (!row) throw notFound();
        const { live_version: version } = row;
        if (version === null) break;
        rows = await database.tenant((sql) =>
          listChunks(sql, { documentId: id, version }, { limit: limit + 1, after }),
        );
        if (rows.length > 0) break;
        // Its chunks are gone where a newer version was published in between.
        row = await shown();
        if (row?.live_version === version) break;
      }
      return toPage(rows, limit, { cursor: (row) => String(row.ordinal), item: (row) => row });
    },

    async remove(id) {
      const { tasks, deleted } = await untilNotOvertaken(() => database.tenant((sql) => removeRows(sql, id)));
      for (const task of tasks) {
        await control.publishCancel('task', task.id);
        await announcer.log(
          `task:${task.id}`,
          task.attempt,
          'task.cancelled',
          cancelledTask(task.id, task.document_id, task.attempt),
        );
      }
      for (const [member, row] of deleted) {
        await removeBlobs(member, row);
        await announcer.hint('user', 'document.deleted', { document_id: member, task_id: null, title: row.title });
      }
    },
  };
}
