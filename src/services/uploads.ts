/**
 * Accepts uploads. The body streams to a staging place, its type is decided from its bytes, and one transaction commits
 * document, task and counter: a 202 means that all three are there and that the original is in the blob store.
 *
 * The counter is not looked at before the body is read: the same bytes again are answered with their document even
 * while the queue is full, and only the bytes tell.
 */
import type { BlobStore, StagedBlob, TaskStatus, UploadReceipt, Visibility } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { needsWholeFile, type Sniffed, sniffFile, sniffMediaType } from '../ingest/sniff.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { traceparentOf } from '../kernel/trace.ts';
import type { Turns } from '../kernel/turns.ts';
import { within } from '../kernel/within.ts';
import type { Feeder } from '../queue/feeder.ts';
import type { Control } from '../realtime/control.ts';
import type { QueueLimits } from '../repositories/admission.ts';
import { countChanges } from '../repositories/documents.ts';
import {
  acceptUpload,
  type DocumentOrigin,
  findIdentical,
  findItem,
  type ItemKey,
  type KnownDocument,
  lockItem,
} from '../repositories/documents-accept.ts';
import { type NewBytes, reviseDocument, startNewVersion } from '../repositories/documents-versions.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import {
  admitTask,
  dischargeTasks,
  insertTask,
  lockWithTasks,
  supersedeTasks,
  type UnfinishedTask,
} from '../repositories/tasks.ts';
import { originalKey } from '../storage/blob-keys.ts';
import { readUpload } from '../storage/multipart.ts';
import { refusalOf } from './admission.ts';
import type { Announcer } from './announcer.ts';
import type { MalwareGate } from './malware.ts';
import { Overtaken, untilNotOvertaken } from './overtaken.ts';
import { parseUploadFields, titleFrom, type UploadFields } from './upload-fields.ts';

export interface Uploads {
  /** `created` is false where the document was there already. */
  accept(request: {
    body: ReadableStream<Uint8Array> | Uint8Array | null;
    contentType: string;
    signal: AbortSignal;
    adapt?: StagedUpload['adapt'];
  }): Promise<{ receipt: UploadReceipt; created: boolean }>;
  /** The same for bytes that came by another way. They are promoted or discarded, however this ends. */
  acceptStaged(upload: StagedUpload): Promise<{ receipt: UploadReceipt; created: boolean }>;
}

export interface StagedUpload {
  staged: StagedBlob;
  filename: string;
  /** A form's fields, checked here. */
  fields: Record<string, string>;
  /** Makes our fields of a form that has others; what it throws refuses the upload. */
  adapt?: ((fields: Record<string, string>) => Record<string, string>) | undefined;
  /** Of a source or a parent; default: what the fields say. */
  origin?: DocumentOrigin;
  /** Runs in the accepting transaction: what must be there if the document is, and only then. */
  within?(sql: Sql, receipt: UploadReceipt): Promise<void>;
}

/**
 * Whoever subscribes with the answer in hand finds the task's log from its first event on; a Redis that is down holds the
 * answer back no longer than this. In milliseconds.
 */
const TOLD_WITHIN_MS = 100;

export interface UploadsOptions {
  database: Database;
  blobs: BlobStore;
  feeder: Pick<Feeder, 'nudge'>;
  /** Those of this process, where it works, too: others make room for what was uploaded. */
  turns?: Pick<Turns, 'expect'> | undefined;
  announcer: Announcer;
  control: Pick<Control, 'publishCancel'>;
  clock: Clock;
  ids: Ids;
  metrics: Metrics;
  maxUploadBytes: number;
  limits: QueueLimits;
  /** Undefined: no scanner is configured. */
  malware: MalwareGate | undefined;
}

/** What a transaction decided about bytes. */
interface Decision {
  receipt: UploadReceipt;
  /** They are the document's own from now on. */
  kept: boolean;
  /** Name of the blob that they replaced, if nobody sees that one. */
  unseen?: string | null;
  /** Tasks whose work they made pointless. */
  superseded?: readonly { id: string; attempt: number }[];
}

/** What became of a document whose last task did not make it searchable. */
const RETRIED: ReadonlySet<string> = new Set<TaskStatus>(['failed', 'dead', 'cancelled']);

export function createUploads(options: UploadsOptions): Uploads {
  const { database, blobs, feeder, announcer, control, ids, metrics } = options;

  /** Containers say at their end what they hold, and text is told by its first bytes. */
  async function sniff(staged: StagedBlob, filename: string): Promise<Sniffed> {
    if (!needsWholeFile(staged.head)) return sniffMediaType(staged.head, filename);
    const file = await blobs.asFile(staged.stagingKey);
    try {
      return await sniffFile(file.path, filename);
    } finally {
      await file.release();
    }
  }

  /** The same bytes are there: their document, or another try at it where the last one failed. */
  async function again(sql: Sql, known: KnownDocument, fields: UploadFields): Promise<UploadReceipt> {
    if (known.task_id !== null && !RETRIED.has(known.task_status ?? '')) {
      const status = (known.task_status ?? 'succeeded') as TaskStatus;
      return { document_id: known.id, task_id: known.task_id, status, duplicate: true };
    }
    if (!(await admitTask(sql, known.size, options.limits))) throw await refusalOf(sql, known.size, options.limits);
    const taskId = ids.uuid();
    const documentVersion = await startNewVersion(sql, known.id, taskId);
    if (documentVersion === undefined) throw new AppError('conflict', 'The document was deleted at this moment.');
    await insertTask(sql, {
      id: taskId,
      documentId: known.id,
      documentVersion,
      size: known.size,
      priority: fields.priority,
      chunking: fields.chunking,
      traceparent: traceparentOf(currentScope()),
    });
    await appendOutbox(sql, 'document.uploaded', {
      document_id: known.id,
      task_id: taskId,
      title: known.title,
      visibility: fields.visibility,
      size: known.size,
    });
    return { document_id: known.id, task_id: taskId, status: 'queued', duplicate: false };
  }

  /** New bytes of an item that is there: its next version, which takes the place of one that is still being built. */
  async function replace(
    sql: Sql,
    { id }: KnownDocument,
    superseded: readonly UnfinishedTask[],
    bytes: NewBytes,
    fields: UploadFields,
  ): Promise<Decision> {
    if (superseded.length > 0) {
      await supersedeTasks(
        sql,
        superseded.map((task) => task.id),
      );
    }
    const taskId = ids.uuid();
    const version = await startNewVersion(sql, id, taskId);
    if (version === undefined) throw new Overtaken();
    const unseen = await reviseDocument(sql, id, { ...bytes, version });
    await countChanges(sql);
    if (superseded.length > 0) {
      const freed = superseded.reduce((sum, task) => sum + task.size, 0);
      await dischargeTasks(sql, superseded.length, freed);
    }
    if (!(await admitTask(sql, bytes.size, options.limits))) throw await refusalOf(sql, bytes.size, options.limits);
    await insertTask(sql, {
      id: taskId,
      documentId: id,
      documentVersion: version,
      size: bytes.size,
      priority: fields.priority,
      chunking: fields.chunking,
      traceparent: traceparentOf(currentScope()),
    });
    await appendOutbox(sql, 'document.uploaded', {
      document_id: id,
      task_id: taskId,
      title: bytes.title,
      visibility: fields.visibility,
      size: bytes.size,
    });
    const receipt = { document_id: id, task_id: taskId, status: 'queued' as const, duplicate: false };
    return { receipt, kept: true, unseen, superseded };
  }

  async function decide(sql: Sql, bytes: NewBytes, fields: UploadFields, origin: DocumentOrigin): Promise<Decision> {
    const { visibility, sourceType } = fields;
    const key = { origin, sourceType, visibility };
    if (origin.item !== null) await lockItem(sql, key);
    const taskId = ids.uuid();
    const accepted = await acceptUpload(sql, {
      ...bytes,
      documentId: bytes.originalId,
      taskId,
      sourceType,
      origin,
      visibility,
      priority: fields.priority,
      chunking: fields.chunking,
      traceparent: traceparentOf(currentScope()),
      limits: options.limits,
    });
    if (accepted.document && !accepted.admitted) throw await refusalOf(sql, bytes.size, options.limits);
    if (accepted.document) {
      const receipt = { document_id: bytes.originalId, task_id: taskId, status: 'queued' as const, duplicate: false };
      return { receipt, kept: true };
    }
    if (origin.item !== null) return decideItem(sql, key, bytes, fields);
    const known = await findIdentical(sql, { sha256: bytes.sha256, sourceType, visibility });
    if (!known) throw new AppError('conflict', 'The same document was being deleted: send it again.');
    return { receipt: await again(sql, known, fields), kept: false };
  }

  /** The item is there, or was a moment ago. */
  async function decideItem(sql: Sql, key: ItemKey, bytes: NewBytes, fields: UploadFields): Promise<Decision> {
    const seen = await findItem(sql, key);
    const unfinished = seen && (await lockWithTasks(sql, [seen.id]));
    // As it is now that nobody else can change it.
    const known = unfinished && (await findItem(sql, key));
    if (!known || known.id !== seen.id) throw new Overtaken();
    if (known.sha256 !== bytes.sha256) return replace(sql, known, unfinished, bytes, fields);
    return { receipt: await again(sql, known, fields), kept: false };
  }

  /** After the commit: a leftover blob harms nobody, and whoever works in vain finds out at its next write. */
  async function settle({ unseen, superseded = [], receipt }: Decision, visibility: Visibility): Promise<void> {
    const audience = visibility === 'private' ? 'user' : 'tenant';
    for (const task of superseded) {
      await control.publishCancel('task', task.id);
      const progress = { stage: null, progress: 0, chunks_done: 0, chunks_total: null };
      const data = { ...progress, task_id: task.id, document_id: receipt.document_id, status: 'cancelled' as const };
      await announcer.log(
        `task:${task.id}`,
        task.attempt,
        'task.cancelled',
        { ...data, attempt: task.attempt },
        audience,
      );
    }
    if (unseen) await blobs.remove(originalKey(unseen));
  }

  async function acceptStaged({
    staged,
    filename,
    fields: raw,
    adapt = (fields) => fields,
    origin,
    within: alsoWrite,
  }: StagedUpload): Promise<{ receipt: UploadReceipt; created: boolean }> {
    const originalId = ids.uuid();
    let promoted = false;
    let kept = false;
    try {
      const fields = parseUploadFields(adapt(raw));
      const { metadata } = fields;
      const title = fields.title ?? titleFrom(filename);
      const { mediaType } = await sniff(staged, filename);
      const { sourceType, visibility } = fields;
      await options.malware?.assertClean(staged, { title, filename, mediaType, sourceType, visibility });
      await blobs.promote(staged, originalKey(originalId));
      promoted = true;
      const { size, sha256 } = staged;
      const bytes = { version: 1, originalId, title, filename, mediaType, size, sha256, metadata };
      const known = origin ?? { item: fields.item, sourceId: null, parentId: null };
      const decision = await untilNotOvertaken(() =>
        database.tenant(async (sql) => {
          const decided = await decide(sql, bytes, fields, known);
          await alsoWrite?.(sql, decided.receipt);
          return decided;
        }),
      );
      const { receipt } = decision;
      kept = decision.kept;
      await settle(decision, fields.visibility);
      const created = !receipt.duplicate;
      if (created) {
        await within(options.clock, TOLD_WITHIN_MS, announce(receipt, title, fields.visibility), () => undefined);
      }
      return { receipt, created };
    } catch (error) {
      if (error instanceof AppError && error.kind === 'queue_full') metrics.queueRefusals.inc();
      throw error;
    } finally {
      if (!promoted) await blobs.discard(staged);
      else if (!kept) await blobs.remove(originalKey(originalId));
    }
  }

  return {
    async accept({ body, contentType, signal, adapt }) {
      options.turns?.expect();
      const upload = await readUpload(body, contentType, {
        maxBytes: options.maxUploadBytes,
        signal,
        onFile: (stream) => blobs.stage(stream, { maxBytes: options.maxUploadBytes, signal }),
        discard: (staged) => blobs.discard(staged),
      });
      return acceptStaged({ staged: upload.file, filename: upload.filename, fields: upload.fields, adapt });
    },
    acceptStaged,
  };

  async function announce(receipt: UploadReceipt, title: string, visibility: Visibility): Promise<void> {
    const { tenantId } = currentScope();
    const queued = {
      task_id: receipt.task_id,
      document_id: receipt.document_id,
      status: 'queued',
      stage: null,
      progress: 0,
      chunks_done: 0,
      chunks_total: null,
      attempt: 0,
    };
    const audience = visibility === 'private' ? 'user' : 'tenant';
    const uploaded = { document_id: receipt.document_id, task_id: receipt.task_id, title };
    // Together, so that both leave in one write; the nudge comes after, or an attempt could begin before its log does.
    const hinted = announcer.hint('user', 'document.uploaded', uploaded);
    await announcer.log(`task:${receipt.task_id}`, 0, 'task.queued', queued, audience);
    options.turns?.expect();
    feeder.nudge('ingest', tenantId, 'accepted');
    await hinted;
  }
}
