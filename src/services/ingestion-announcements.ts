/** What readers of a task are told of it and of the attempts at it. */
import type { TaskResource } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { getDocumentWork } from '../repositories/documents.ts';
import { getTask } from '../repositories/tasks.ts';
import { type Announcer, progressOf } from './announcer.ts';
import type { Work } from './ingestion-work.ts';

type Audience = 'tenant' | 'user';

/** Everything about a private document is told to its owner alone. */
const audienceOf = ({ private_to }: { private_to: string | null }): Audience =>
  private_to === null ? 'tenant' : 'user';

export function createIngestionAnnouncements({ database, announcer }: { database: Database; announcer: Announcer }) {
  /** The event that its status names; none while it runs, of which its attempt tells. */
  async function tell(task: TaskResource, audience: Audience): Promise<void> {
    const topic = `task:${task.id}` as const;
    const data = progressOf(task);
    if (task.status === 'running') return;
    if (task.status === 'failed' || task.status === 'dead') {
      const error = task.error ?? { code: 'internal', message: '' };
      await announcer.log(topic, task.attempt, `task.${task.status}`, { ...data, error }, audience);
    } else await announcer.log(topic, task.attempt, `task.${task.status}`, data, audience);
  }

  return {
    /** The task as it is now, or as its last transaction has read it. */
    async announceTask(work: Work, known?: TaskResource): Promise<void> {
      const task = known ?? (await database.tenant((sql) => getTask(sql, work.taskId)));
      if (task) await tell(task, audienceOf(work.document));
    },

    async announceProgress(
      work: Work,
      update: { stage: string; progress: number; chunksDone: number; chunksTotal: number | null },
    ): Promise<void> {
      const { taskId, attempt, document } = work;
      const told = {
        task_id: taskId,
        document_id: document.id,
        status: 'running',
        stage: update.stage,
        progress: update.progress,
        chunks_done: update.chunksDone,
        chunks_total: update.chunksTotal,
        attempt,
      };
      await announcer.log(`task:${taskId}`, attempt, 'task.progress', told, audienceOf(document));
    },

    /** A worker that died between its commit and its last event: the log drops a final event that it has already. */
    async announceEnd(taskId: string): Promise<void> {
      const found = await database.tenant(async (sql) => {
        const task = await getTask(sql, taskId);
        const document = task?.document_id && (await getDocumentWork(sql, task.document_id));
        return task && document ? { task, document } : undefined;
      });
      if (found && found.task.status !== 'queued') await tell(found.task, audienceOf(found.document));
    },
  };
}

export type IngestionAnnouncements = ReturnType<typeof createIngestionAnnouncements>;
