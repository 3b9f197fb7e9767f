/**
 * The documents that are listed, and the files on their way to becoming such. A row's states: sending (bytes are leaving
 * this browser), queued, working, and at the end ready or failed; refused is a file that the server did not take. The
 * bar moves from pushed `task:` events; the list itself is read again when a hint says that something changed.
 */
import type { Client } from '../../client/client.ts';
import type { Realtime } from '../../client/realtime.ts';
import type { Subscription, TopicEvent } from '../../client/topics.ts';
import type { KnowledgeDocument, Task } from '../../client/types.ts';
import { createStore, type Store } from '../store.ts';
import { describe, ensureGone, type Failure, mayPass, type Problem } from './problem.ts';

export type RowPhase = 'sending' | 'queued' | 'working' | 'ready' | 'failed' | 'refused' | 'quarantined';

export interface DocumentRow {
  /** Stays the same while a file becomes a document. */
  key: string;
  documentId: string | null;
  taskId: string | null;
  title: string;
  /** The file's ending, in capitals: titles of several may be the same. Empty where it has none. */
  kind: string;
  size: number;
  pages: number | null;
  createdAt: string;
  phase: RowPhase;
  /** 0…1 over sending and processing together. */
  progress: number;
  stage: string | null;
  chunksDone: number;
  chunksTotal: number | null;
  error: Problem | null;
  /** The server had these bytes already. */
  duplicate: boolean;
  /** Another try may help: of the work, where its attempts ran out, or of sending the file. */
  retryable: boolean;
}

export interface DocumentsState {
  rows: DocumentRow[];
  nextCursor: string | null;
  loaded: boolean;
  /** The list could not be read, or not on. */
  failure: Failure | null;
}

export interface DocumentsModel {
  store: Store<DocumentsState>;
  upload(files: Iterable<File>): void;
  /** Stops sending a file, or takes a refused one off the list. */
  dismiss(key: string): void;
  /** Rejects with what the server says; one that is gone already is removed. */
  remove(documentId: string): Promise<void>;
  /** Never rejects: the row says why it failed again. */
  retry(row: DocumentRow): Promise<void>;
  /** Never rejects: what fails is in the store. */
  loadMore(): Promise<void>;
  dispose(): void;
}

/** Sending takes this share of a bar, processing the rest. */
const SENDING_SHARE = 0.2;
const PARALLEL_UPLOADS = 3;
const PAGE = 100;

type TaskEvent = TopicEvent<`task:${string}`>;

/** Something may still be told of its task; of one that is over, all would be told again from its beginning. */
const isMoving = ({ phase }: DocumentRow) => phase === 'queued' || phase === 'working';

export function createDocumentsModel({ client, realtime }: { client: Client; realtime: Realtime }): DocumentsModel {
  const store = createStore<DocumentsState>({ rows: [], nextCursor: null, loaded: false, failure: null });
  const waiting: { key: string; file: File }[] = [];
  /** Files that did not arrive, by row. */
  const unsent = new Map<string, File>();
  const sending = new Map<string, AbortController>();
  const watched = new Map<string, Subscription>();
  const explained = new Set<string>();
  /** Tasks that were heard to the end: a list that was read before it says otherwise. */
  const ended = new Set<string>();
  let disposed = false;
  let localKeys = 0;
  let reading: Promise<void> | undefined;
  let readAgain = false;

  function patch(match: (row: DocumentRow) => boolean, change: Partial<DocumentRow>): void {
    store.update((state) => ({ ...state, rows: state.rows.map((row) => (match(row) ? { ...row, ...change } : row)) }));
  }
  const patchKey = (key: string, change: Partial<DocumentRow>) => patch((row) => row.key === key, change);

  function watch(taskId: string): void {
    if (watched.has(taskId) || ended.has(taskId) || disposed) return;
    const done = () => {
      ended.add(taskId);
      watched.get(taskId)?.unsubscribe();
      watched.delete(taskId);
    };
    watched.set(
      taskId,
      realtime.subscribe(`task:${taskId}`, {
        event: (event) => {
          patch((row) => row.taskId === taskId, rowOfEvent(event));
          if (event.type === 'task.queued' || event.type === 'task.progress') return;
          done();
          refresh();
        },
        reset: ({ snapshot }) => {
          const task = snapshot as Partial<Task>;
          patch((row) => row.taskId === taskId, rowOfTask(task));
          if (task.status !== undefined && task.status !== 'queued' && task.status !== 'running') {
            done();
            refresh();
          }
        },
        failed: () => {
          watched.delete(taskId);
        },
      }),
    );
  }

  /** Reads the first page again, at most one read at a time. */
  function refresh(): void {
    if (disposed) return;
    if (reading) {
      readAgain = true;
      return;
    }
    reading = read().finally(() => {
      reading = undefined;
      if (readAgain) {
        readAgain = false;
        refresh();
      }
    });
  }

  async function read(): Promise<void> {
    try {
      const page = await client.documents.list({ limit: PAGE });
      if (disposed) return;
      store.update((state) => ({
        rows: merge(state.rows, page.items, 'replace'),
        nextCursor: page.next_cursor,
        loaded: true,
        failure: null,
      }));
      follow();
    } catch (error) {
      if (!disposed) fail(error, refresh);
    }
  }

  function fail(error: unknown, again: () => void): void {
    store.update((state) => ({ ...state, failure: { problem: describe(error), again } }));
  }

  async function readMore(): Promise<void> {
    const cursor = store.get().nextCursor;
    if (cursor === null) return;
    try {
      const page = await client.documents.list({ limit: PAGE, cursor });
      // Asked for twice, or the list was read anew meanwhile.
      if (disposed || store.get().nextCursor !== cursor) return;
      store.update((state) => ({
        ...state,
        rows: merge(state.rows, page.items, 'append'),
        nextCursor: page.next_cursor,
        failure: null,
      }));
      follow();
    } catch (error) {
      if (!disposed) fail(error, () => void readMore());
    }
  }

  /** Listens to what is still moving, and asks of what failed whether another try makes sense. */
  function follow(): void {
    for (const row of store.get().rows) {
      if (row.taskId === null) continue;
      if (isMoving(row)) watch(row.taskId);
      if (row.phase === 'failed' && !explained.has(row.taskId)) void explain(row.taskId);
    }
  }

  async function explain(taskId: string): Promise<void> {
    explained.add(taskId);
    try {
      const { status } = await client.tasks.get(taskId);
      patch((row) => row.taskId === taskId && row.phase === 'failed', {
        retryable: status === 'dead' || status === 'cancelled',
      });
    } catch {
      // The row says "failed" either way; the next reading of the list asks again.
      explained.delete(taskId);
    }
  }

  async function send(key: string, file: File): Promise<void> {
    const controller = new AbortController();
    sending.set(key, controller);
    try {
      const answer = await client.documents.upload(file, {
        signal: controller.signal,
        onProgress: (sent, total) => patchKey(key, { progress: total > 0 ? (sent / total) * SENDING_SHARE : 0 }),
      });
      const existing = store.get().rows.find((row) => row.documentId === answer.document_id && row.key !== key);
      if (existing) {
        store.update((state) => ({ ...state, rows: state.rows.filter((row) => row.key !== key) }));
        patchKey(existing.key, { duplicate: answer.duplicate, taskId: answer.task_id });
      } else {
        patchKey(key, {
          documentId: answer.document_id,
          taskId: answer.task_id,
          phase: 'queued',
          progress: SENDING_SHARE,
          duplicate: answer.duplicate,
        });
      }
      if (answer.duplicate) refresh();
      else if (!existing || isMoving(existing) || existing.taskId !== answer.task_id) watch(answer.task_id);
    } catch (error) {
      if (controller.signal.aborted)
        store.update((state) => ({ ...state, rows: state.rows.filter((row) => row.key !== key) }));
      else {
        const retryable = mayPass(error);
        if (retryable) unsent.set(key, file);
        patchKey(key, { phase: 'refused', error: describe(error), retryable });
      }
    } finally {
      sending.delete(key);
      pump();
    }
  }

  function pump(): void {
    while (sending.size < PARALLEL_UPLOADS && !disposed) {
      const next = waiting.shift();
      if (!next) return;
      void send(next.key, next.file);
    }
  }

  const hints = realtime.subscribe('user', {
    event: (event) => {
      if (event.type === 'document.deleted') {
        const gone = event.data.document_id;
        store.update((state) => ({ ...state, rows: state.rows.filter((row) => row.documentId !== gone) }));
      } else if (event.type.startsWith('document.')) {
        refresh();
      }
    },
    missed: refresh,
  });
  refresh();

  return {
    store,
    upload(files) {
      const rows: DocumentRow[] = [];
      for (const file of files) {
        const key = `local-${++localKeys}`;
        waiting.push({ key, file });
        const { name: title, size } = file;
        rows.push({ ...emptyRow, key, title, kind: kindOf(title), size, createdAt: new Date().toISOString() });
      }
      store.update((state) => ({ ...state, rows: [...rows, ...state.rows] }));
      pump();
    },
    dismiss(key) {
      const controller = sending.get(key);
      if (controller) return controller.abort();
      const index = waiting.findIndex((entry) => entry.key === key);
      if (index >= 0) waiting.splice(index, 1);
      unsent.delete(key);
      store.update((state) => ({ ...state, rows: state.rows.filter((row) => row.key !== key) }));
    },
    async remove(documentId) {
      await ensureGone(client.documents.remove(documentId));
      store.update((state) => ({ ...state, rows: state.rows.filter((row) => row.documentId !== documentId) }));
    },
    async retry({ key, taskId }) {
      const file = unsent.get(key);
      const anew = { error: null, retryable: false, stage: null };
      if (file) {
        unsent.delete(key);
        patchKey(key, { ...anew, phase: 'sending', progress: 0 });
        waiting.push({ key, file });
        pump();
      } else if (taskId !== null) {
        try {
          await client.tasks.retry(taskId);
          ended.delete(taskId);
          patchKey(key, { ...anew, phase: 'queued', progress: SENDING_SHARE });
          watch(taskId);
        } catch (error) {
          patchKey(key, { error: describe(error) });
        }
      }
    },
    loadMore: readMore,
    dispose() {
      disposed = true;
      hints.unsubscribe();
      for (const subscription of watched.values()) subscription.unsubscribe();
      for (const controller of sending.values()) controller.abort();
    },
  };
}

const kindOf = (filename: string) => /\.([a-z0-9]{1,5})$/i.exec(filename)?.[1]?.toUpperCase() ?? '';

const emptyRow: Omit<DocumentRow, 'key' | 'title' | 'kind' | 'size' | 'createdAt'> = {
  documentId: null,
  taskId: null,
  pages: null,
  phase: 'sending',
  progress: 0,
  stage: null,
  chunksDone: 0,
  chunksTotal: null,
  error: null,
  duplicate: false,
  retryable: false,
};

/**
 * The server's rows take the place of ours, keeping key and progress of those that we follow. `replace`: the items are
 * the newest page, so a row of ours that is newer than its end and not in it is gone.
 */
function merge(
  rows: readonly DocumentRow[],
  items: readonly KnowledgeDocument[],
  how: 'replace' | 'append',
): DocumentRow[] {
  const known = new Map(rows.filter((row) => row.documentId !== null).map((row) => [row.documentId, row]));
  const fresh = items.map((item) => rowOfDocument(item, known.get(item.id)));
  const listed = new Set(items.map((item) => item.id));
  const rest = rows.filter((row) => row.documentId === null || !listed.has(row.documentId));
  if (how === 'append') return [...rest, ...fresh];
  const end = items.length < PAGE ? '' : (items.at(-1)?.created_at ?? '');
  const local = rest.filter((row) => row.documentId === null);
  const older = rest.filter((row) => row.documentId !== null && row.createdAt < end);
  return [...local, ...fresh, ...older];
}

function rowOfDocument(item: KnowledgeDocument, known: DocumentRow | undefined): DocumentRow {
  const phase: RowPhase = item.status === 'processing' ? 'working' : item.status;
  const moving = phase === 'queued' || phase === 'working';
  return {
    ...emptyRow,
    key: known?.key ?? item.id,
    documentId: item.id,
    taskId: item.task_id,
    title: item.title || item.filename,
    kind: kindOf(item.filename),
    size: item.size,
    pages: item.pages,
    createdAt: item.created_at,
    phase: moving && known?.phase === 'working' ? 'working' : phase,
    progress: phase === 'ready' ? 1 : moving ? (known?.progress ?? SENDING_SHARE) : 0,
    stage: moving ? (known?.stage ?? null) : null,
    chunksDone: known?.chunksDone ?? 0,
    chunksTotal: known?.chunksTotal ?? null,
    error: phase === 'failed' ? (item.error ?? known?.error ?? null) : null,
    duplicate: known?.duplicate ?? false,
    retryable: phase === 'failed' && (known?.retryable ?? false),
  };
}

function rowOfEvent(event: TaskEvent): Partial<DocumentRow> {
  const { progress, stage, chunks_done, chunks_total } = event.data;
  const moving = {
    progress: SENDING_SHARE + progress * (1 - SENDING_SHARE),
    stage,
    chunksDone: chunks_done,
    chunksTotal: chunks_total,
  };
  switch (event.type) {
    case 'task.queued':
      return { ...moving, phase: 'queued' };
    case 'task.progress':
      return { ...moving, phase: 'working' };
    case 'task.succeeded':
      return { phase: 'ready', progress: 1, stage: null, error: null };
    case 'task.cancelled':
      return { phase: 'failed', stage: null, retryable: true };
    default:
      return { phase: 'failed', stage: null, error: event.data.error, retryable: event.type === 'task.dead' };
  }
}

function rowOfTask(task: Partial<Task>): Partial<DocumentRow> {
  const phases: Record<Task['status'], RowPhase> = {
    queued: 'queued',
    running: 'working',
    succeeded: 'ready',
    failed: 'failed',
    dead: 'failed',
    cancelled: 'failed',
  };
  return {
    ...(task.status !== undefined && { phase: phases[task.status] }),
    ...(task.progress !== undefined && { progress: SENDING_SHARE + task.progress * (1 - SENDING_SHARE) }),
    ...(task.stage !== undefined && { stage: task.stage }),
    ...(task.chunks_done !== undefined && { chunksDone: task.chunks_done }),
    ...(task.chunks_total !== undefined && { chunksTotal: task.chunks_total }),
    ...(task.error !== undefined && { error: task.error }),
    ...(task.status !== undefined && { retryable: task.status === 'dead' }),
  };
}
