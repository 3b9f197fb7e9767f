import { Elysia } from 'elysia';
import { PageOf, TaskLogLine, TaskResource } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { logLine, task } from '../examples.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { TaskListQuery } from '../models/tasks.ts';
import { authenticated } from '../plugins/auth.ts';
import type { TasksPort } from '../ports.ts';

const tag = 'tasks';
const Tasks = PageOf(TaskResource);
const Log = PageOf(TaskLogLine);
const one = { 200: { description: 'The task', schema: TaskResource, example: task } };

export function createTaskRoutes({ tasks }: { tasks: TasksPort }) {
  const read = {
    params: IdParams,
    response: { 200: TaskResource },
    detail: describe({
      tag,
      summary: 'One task',
      description: 'The same as its last event on `task:{id}`.',
      answers: one,
      errors: ['not_found'],
    }),
  } as const;

  return new Elysia({ name: 'routes.tasks' })
    .use(authenticated)
    .get('/tasks', ({ query }) => tasks.list(query), {
      query: TaskListQuery,
      response: { 200: Tasks },
      detail: describe({
        tag,
        summary: 'List tasks, newest first',
        answers: { 200: { description: 'One page', schema: Tasks, example: { items: [task], next_cursor: null } } },
        errors: ['invalid_request'],
      }),
    })
    .get('/tasks/:id', ({ params }) => tasks.get(params.id), read)
    .get('/tasks/:id/status', ({ params }) => tasks.get(params.id), read)
    .get('/tasks/:id/log', ({ params, query }) => tasks.log(params.id, query), {
      params: IdParams,
      query: PageQuery,
      response: { 200: Log },
      detail: describe({
        tag,
        summary: 'What happened in a task, oldest first',
        answers: { 200: { description: 'One page', schema: Log, example: { items: [logLine], next_cursor: null } } },
        errors: ['not_found', 'invalid_request'],
      }),
    })
    .post('/tasks/:id/retry', ({ params }) => tasks.retry(params.id), {
      params: IdParams,
      parse: 'none',
      response: { 200: TaskResource },
      detail: describe({
        tag,
        summary: 'Try a task again that failed, died or was cancelled',
        answers: {
          200: {
            description: 'Queued again',
            schema: TaskResource,
            example: { ...task, status: 'queued', stage: null },
          },
        },
        errors: ['not_found', 'forbidden', 'conflict', 'queue_full'],
      }),
    })
    .post('/tasks/:id/cancel', ({ params, principal }) => tasks.cancel(params.id, principal), {
      params: IdParams,
      parse: 'none',
      response: { 200: TaskResource },
      detail: describe({
        tag,
        summary: 'Cancel a task',
        description: 'A running one ends at its next step.',
        answers: one,
        errors: ['not_found', 'forbidden', 'conflict'],
      }),
    });
}
