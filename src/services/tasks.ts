/** Reading, cancelling and retrying tasks. */
import type { Page, PageRequest, TaskLogLine, TaskResource } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Feeder } from '../queue/feeder.ts';
import type { Control } from '../realtime/control.ts';
import type { QueueLimits } from '../repositories/admission.ts';
import { getDocumentWork, requeueDocument, setDocumentStatus } from '../repositories/documents.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import {
  admitTask,
  appendTaskLog,
  cancelTask,
  dischargeTasks,
  getTask,
  listTaskLog,
  listTasks,
  reviveTask,
} from '../repositories/tasks.ts';
import { refusalOf } from './admission.ts';
import { type Announcer, progressOf } from './announcer.ts';
import { idCursor, numberCursor, toPage } from './paging.ts';

export interface Tasks {
  get(id: string): Promise<TaskResource>;
  list(query: PageRequest & { status?: string | undefined }): Promise<Page<TaskResource>>;
  /** Another try at a task that failed, died or was cancelled; `conflict` for any other. */
  retry(id: string): Promise<TaskResource>;
  /** Fine for a task that has ended already: its state is the answer. */
  cancel(id: string): Promise<TaskResource>;
  log(id: string, page: PageRequest): Promise<Page<TaskLogLine>>;
}

export interface TasksOptions {
  database: Database;
  announcer: Announcer;
  feeder: Pick<Feeder, 'nudge'>;
  control: Pick<Control, 'publishCancel'>;
  limits: QueueLimits;
}

export const CANCELLED_ERROR = { code: 'cancelled', message: 'Processing was cancelled.' };

export function createTasks({ database, announcer, feeder, control, limits }: TasksOptions): Tasks {
  async function get(id: string): Promise<TaskResource> {
    const task = await database.tenant((sql) => getTask(sql, id));
    if (!task) throw new AppError('not_found', 'There is no such task.');
    return task;
  }

  async function audienceOf(task: TaskResource): Promise<'tenant' | 'user'> {
    const { document_id: id } = task;
    const document = id === null ? undefined : await database.tenant((sql) => getDocumentWork(sql, id));
    return document?.private_to === null ? 'tenant' : 'user';
  }

  return {
    get,

    async list({ limit, cursor, status }) {
      const rows = await database.tenant((sql) =>
        listTasks(sql, { status, limit: limit + 1, after: idCursor(cursor) }),
      );
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => row });
    },

    async retry(id) {
      await database.tenant(async (sql) => {
        const revived = await reviveTask(sql, id);
        if (!revived) {
          if (!(await getTask(sql, id))) throw new AppError('not_found', 'There is no such task.');
          throw new AppError('conflict', 'Only a task that failed, died or was cancelled can be tried again.');
        }
        if (!(await requeueDocument(sql, revived.document_id, id))) {
          throw new AppError('conflict', 'A newer task has taken the place of this one.');
        }
        if (!(await admitTask(sql, revived.size, limits))) throw await refusalOf(sql, revived.size, limits);
        await appendTaskLog(sql, id, {
          attempt: revived.attempt,
          level: 'info',
          message: 'Another try was asked for.',
        });
      });
      const task = await get(id);
      await announcer.log(`task:${id}`, task.attempt, 'task.queued', progressOf(task), await audienceOf(task));
      feeder.nudge('ingest', currentScope().tenantId);
      return task;
    },

    async cancel(id) {
      const ended = await database.tenant(async (sql) => {
        const row = await cancelTask(sql, id);
        if (row?.status !== 'cancelled') return row;
        await setDocumentStatus(sql, row.document_id, 'failed', CANCELLED_ERROR);
        await dischargeTasks(sql, 1, row.size);
        const document = await getDocumentWork(sql, row.document_id);
        if (document) {
          const names = { document_id: document.id, task_id: id, title: document.title };
          await appendOutbox(sql, 'document.failed', { ...names, error: CANCELLED_ERROR });
        }
        await appendTaskLog(sql, id, { attempt: row.attempt, level: 'info', message: 'Cancelled before it ran.' });
        return row;
      });
      const task = await get(id);
      // A running attempt ends itself and says so.
      if (ended?.status === 'running') await control.publishCancel('task', id);
      if (ended?.status === 'cancelled') {
        await announcer.log(`task:${id}`, task.attempt, 'task.cancelled', progressOf(task), await audienceOf(task));
      }
      return task;
    },

    async log(id, { limit, cursor }) {
      const rows = await database.tenant(async (sql) => {
        if (!(await getTask(sql, id))) throw new AppError('not_found', 'There is no such task.');
        return listTaskLog(sql, id, { limit: limit + 1, after: numberCursor(cursor, 0, Number.MAX_SAFE_INTEGER) });
      });
      return toPage(rows, limit, { cursor: (row) => String(row.id), item: ({ id: _id, ...line }) => line });
    },
  };
}
