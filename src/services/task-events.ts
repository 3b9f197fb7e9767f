/** A task as its readers are told of it, whoever tells them. */
import type { EventOf, TaskResource } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { getDocumentWork } from '../repositories/documents.ts';
import { getTask } from '../repositories/tasks.ts';
import { progressOf } from './announcer.ts';

export type Audience = 'tenant' | 'user';

/** Everything about a private document is told to its owner alone. */
export const audienceOf = ({ private_to }: { private_to: string | null }): Audience =>
  private_to === null ? 'tenant' : 'user';

/** The event that a task's status names; undefined while it runs, of which its attempt tells. */
export function eventOfTask(task: TaskResource): EventOf | undefined {
  const data = progressOf(task);
  switch (task.status) {
    case 'running':
      return undefined;
    case 'failed':
    case 'dead':
      return {
        type: `task.${task.status}`,
        data: { ...data, error: task.error ?? { code: 'internal', message: '' } },
      };
    default:
      return { type: `task.${task.status}`, data };
  }
}

/** A task as it is now, and who may hear of it; undefined where it or its document is not there for the ambient scope. */
export async function findTold(
  database: Pick<Database, 'tenant'>,
  id: string,
): Promise<{ task: TaskResource; audience: Audience } | undefined> {
  return database.tenant(async (sql) => {
    const task = await getTask(sql, id);
    const document = task?.document_id && (await getDocumentWork(sql, task.document_id));
    return task && document ? { task, audience: audienceOf(document) } : undefined;
  });
}
