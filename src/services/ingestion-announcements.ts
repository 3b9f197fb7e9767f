/** What readers of a task are told of it and of the attempts at it. */
import type { TaskResource } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { getTask } from '../repositories/tasks.ts';
import type { Announcer } from './announcer.ts';
import type { Work } from './ingestion-work.ts';
import { type Audience, audienceOf, eventOfTask, findTold } from './task-events.ts';

export function createIngestionAnnouncements({ database, announcer }: { database: Database; announcer: Announcer }) {
  /** The event that its status names; none while it runs, of which its attempt tells. */
  async function tell(task: TaskResource, audience: Audience): Promise<void> {
    const event = eventOfTask(task);
    if (event) await announcer.append({ topic: `task:${task.id}`, attempt: task.attempt, event, audience });
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
      const found = await findTold(database, taskId);
      if (found && found.task.status !== 'queued') await tell(found.task, found.audience);
    },
  };
}

export type IngestionAnnouncements = ReturnType<typeof createIngestionAnnouncements>;
