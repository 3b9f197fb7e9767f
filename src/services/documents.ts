/** Reading and deleting documents. */
import type {
  BlobStore,
  ChunkResource,
  DocumentResource,
  Page,
  PageRequest,
  TaskProgress,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Control } from '../realtime/control.ts';
import { listChunks } from '../repositories/chunks.ts';
import { deleteDocument, getDocument, getLiveVersion, listDocuments } from '../repositories/documents.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import { dischargeTasks, unfinishedTasks } from '../repositories/tasks.ts';
import { originalKey, textKey } from '../storage/blob-keys.ts';
import type { Announcer } from './announcer.ts';
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
  /** The extracted text that every offset counts in; `conflict` while there is none yet. */
  text(id: string): Promise<string>;
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

export function createDocuments({ database, blobs, announcer, control, logger }: DocumentsOptions): Documents {
  /** Blobs go after the rows: a leftover blob harms nobody, a row without its blob would. */
  async function removeBlobs(id: string, lastVersion: number): Promise<void> {
    const keys = [originalKey(id), ...Array.from({ length: lastVersion }, (_, index) => textKey(id, index + 1))];
    for (const key of keys) {
      try {
        await blobs.remove(key);
      } catch (error) {
        logger.error({ err: error, key }, `a deleted document's blob stays: ${messageOf(error)}`);
      }
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
      const document = await database.tenant((sql) => getDocument(sql, id));
      if (!document) throw notFound();
      return {
        stream: await blobs.read(originalKey(id)),
        filename: document.filename,
        mediaType: document.media_type,
        size: document.size,
      };
    },

    async text(id) {
      const row = await database.tenant((sql) => getLiveVersion(sql, id));
      if (!row) throw notFound();
      if (row.live_version === null) throw new AppError('conflict', 'The document has no text yet.');
      return new Response(await blobs.read(textKey(id, row.live_version))).text();
    },

    async chunks(id, { limit, cursor }) {
      const rows = await database.tenant(async (sql) => {
        if (!(await getLiveVersion(sql, id))) throw notFound();
        return listChunks(sql, id, { limit: limit + 1, after: numberCursor(cursor, -1) });
      });
      return toPage(rows, limit, { cursor: (row) => String(row.ordinal), item: (row) => row });
    },

    async remove(id) {
      const { tasks, deleted } = await database.tenant(async (sql) => {
        // Locks in the order in which an attempt takes them: tasks, document, counter.
        const unfinished = await unfinishedTasks(sql, id);
        const row = await deleteDocument(sql, id);
        if (!row) throw notFound();
        const bytes = unfinished.reduce((sum, task) => sum + task.size, 0);
        if (unfinished.length > 0) await dischargeTasks(sql, unfinished.length, bytes);
        await appendOutbox(sql, 'document.deleted', { document_id: id, title: row.title });
        return { tasks: unfinished, deleted: row };
      });
      for (const task of tasks) {
        await control.publishCancel('task', task.id);
        await announcer.log(
          `task:${task.id}`,
          task.attempt,
          'task.cancelled',
          cancelledTask(task.id, id, task.attempt),
        );
      }
      await removeBlobs(id, deleted.last_version);
      await announcer.hint('user', 'document.deleted', { document_id: id, task_id: null, title: deleted.title });
    },
  };
}
