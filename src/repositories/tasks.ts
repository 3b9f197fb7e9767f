import type { Chunking, TaskLogLine, TaskResource, TaskStatus } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { hasRoom, type QueueLimits } from './admission.ts';

export type TaskRow = Omit<TaskResource, 'created_at' | 'started_at' | 'finished_at' | 'error'> & {
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
  error_code: string | null;
  error_message: string | null;
};

const columns = (sql: Sql) => sql`
  t.id, t.kind, t.document_id, t.status, t.stage, t.progress, t.chunks_done, t.chunks_total, t.attempt, t.retry_count,
  t.priority, t.version, t.error_code, t.error_message, t.created_at, t.started_at, t.finished_at`;

function toResource({ error_code, error_message, ...row }: TaskRow): TaskResource {
  return {
    ...row,
    error: error_code === null ? null : { code: error_code, message: error_message ?? '' },
    created_at: row.created_at.toISOString(),
    started_at: row.started_at?.toISOString() ?? null,
    finished_at: row.finished_at?.toISOString() ?? null,
  };
}

/** Undefined where it is not there, or of a private document of somebody else. */
export async function getTask(sql: Sql, id: string): Promise<TaskResource | undefined> {
  const [row] = await sql<TaskRow[]>`
    select ${columns(sql)} from tasks t where t.tenant_id = current_setting('app.tenant_id')::uuid and t.id = ${id}`;
  return row && toResource(row);
}

/** Newest first. */
export async function listTasks(
  sql: Sql,
  query: { status?: string | undefined; limit: number; after?: string | undefined },
): Promise<TaskResource[]> {
  const rows = await sql<TaskRow[]>`
    select ${columns(sql)} from tasks t where t.tenant_id = current_setting('app.tenant_id')::uuid
      ${query.status === undefined ? sql`` : sql`and t.status = ${query.status}`}
      ${query.after === undefined ? sql`` : sql`and t.id < ${query.after}`}
    order by t.id desc limit ${query.limit}`;
  return rows.map(toResource);
}

export interface NewTask {
  id: string;
  documentId: string;
  documentVersion: number;
  size: number;
  priority: number;
  /** Null: the installation's own way. */
  chunking: Chunking | null;
  traceparent: string;
}

/** Another task for a document that is there; private if the document is. */
export async function insertTask(sql: Sql, task: NewTask): Promise<void> {
  await sql`
    insert into tasks (id, kind, document_id, private_to, priority, document_version, size, traceparent, chunking)
    select ${task.id}, 'ingest', d.id, d.private_to, ${task.priority}, ${task.documentVersion}, ${task.size},
      ${task.traceparent}, ${task.chunking && sql.json(task.chunking)}::jsonb
    from documents d where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${task.documentId}`;
}

/** Counts one more unfinished task; false where the tenant's queue is full. */
export async function admitTask(sql: Sql, size: number, limits: QueueLimits): Promise<boolean> {
  const rows = await sql`
    update tenant_load set outstanding = outstanding + 1, outstanding_bytes = outstanding_bytes + ${size}
    where tenant_id = current_setting('app.tenant_id')::uuid and ${hasRoom(sql, size, limits)}
    returning 1`;
  return rows.length > 0;
}

/** Takes finished tasks out of the counter. */
export async function dischargeTasks(sql: Sql, count: number, bytes: number): Promise<void> {
  await sql`
    update tenant_load set outstanding = outstanding - ${count}, outstanding_bytes = outstanding_bytes - ${bytes}
    where tenant_id = current_setting('app.tenant_id')::uuid`;
}

/** A task as an attempt at it starts. */
export interface Attempt {
  attempt: number;
  document_id: string;
  document_version: number;
  retry_count: number;
  cancel_requested: boolean;
  size: number;
  /** Null: the installation's own way. */
  chunking: Chunking | null;
}

export interface ProgressUpdate {
  stage: string;
  /** 0…1 */
  progress: number;
  chunksDone: number;
  chunksTotal: number | null;
}

/**
 * Records progress, and holds the task for the rest of the transaction. The task as it is then; undefined where another
 * attempt owns it by now.
 */
export async function recordProgress(
  sql: Sql,
  id: string,
  attempt: number,
  update: ProgressUpdate,
): Promise<TaskResource | undefined> {
  const [row] = await sql<TaskRow[]>`
    update tasks t set stage = ${update.stage}, progress = ${update.progress}, chunks_done = ${update.chunksDone},
      chunks_total = ${update.chunksTotal}
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt} and status = 'running'
    returning ${columns(sql)}`;
  return row && toResource(row);
}

export interface AttemptProgress {
  /** Of its task. */
  readonly id: string;
  readonly attempt: number;
  readonly update: ProgressUpdate;
}

/** Records progress of the attempts of one scope that still own their tasks, and holds these: a part of a statement. */
export function progressed(sql: Sql, attempts: readonly AttemptProgress[]) {
  const column = <T>(pick: (attempt: AttemptProgress) => T) => attempts.map(pick);
  return sql<TaskRow[]>`
    update tasks t set stage = a.stage, progress = a.progress, chunks_done = a.chunks_done, chunks_total = a.chunks_total
    from unnest(${column(({ id }) => id)}::uuid[], ${column(({ attempt }) => attempt)}::int[],
      ${column(({ update }) => update.stage)}::text[], ${column(({ update }) => update.progress)}::real[],
      ${column(({ update }) => update.chunksDone)}::int[], ${column(({ update }) => update.chunksTotal)}::int[]
    ) as a(task_id, number, stage, progress, chunks_done, chunks_total)
    where t.tenant_id = current_setting('app.tenant_id')::uuid and t.id = a.task_id and t.attempt = a.number
      and t.status = 'running'
    returning ${columns(sql)}`;
}

/** The rows of `progressed` as tasks, in the order of the attempts; undefined where another one owns the task by now. */
export function tasksOf(rows: readonly TaskRow[], attempts: readonly AttemptProgress[]): (TaskResource | undefined)[] {
  const tasks = new Map(rows.map((row) => [row.id, toResource(row)]));
  return attempts.map(({ id }) => tasks.get(id));
}

/** As `recordProgress`, of several attempts of one scope. */
export const recordProgresses = async (sql: Sql, attempts: readonly AttemptProgress[]) =>
  tasksOf(await progressed(sql, attempts), attempts);

/** Ends a task for this attempt; undefined where another one owns it by now. */
export async function endTask(
  sql: Sql,
  id: string,
  attempt: number,
  end: { status: 'succeeded' | 'failed' | 'cancelled' | 'dead'; error: { code: string; message: string } | null },
): Promise<{ size: number } | undefined> {
  const [row] = await sql<{ size: number }[]>`
    update tasks set status = ${end.status}, finished_at = now(), leased_until = null,
      progress = case when ${end.status} = 'succeeded' then 1 else progress end,
      stage = case when ${end.status} = 'succeeded' then 'done' else stage end,
      error_code = ${end.error?.code ?? null}, error_message = ${end.error?.message ?? null}
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt} and status = 'running'
    returning size`;
  return row;
}

export interface EndedTask {
  attempt: number;
  status: TaskStatus;
  size: number;
  document_id: string;
}

/** Cancels a task that is not running; a running one is asked to stop. Undefined where it has ended or is not there. */
export async function cancelTask(sql: Sql, id: string): Promise<EndedTask | undefined> {
  const [row] = await sql<EndedTask[]>`
    update tasks set cancel_requested = true,
      status = case when status = 'queued' then 'cancelled' else status end,
      finished_at = case when status = 'queued' then now() end
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and status in ('queued', 'running')
    returning attempt, status, size, document_id`;
  return row;
}

export interface UnfinishedTask {
  id: string;
  document_id: string;
  size: number;
  attempt: number;
}

/**
 * Locks documents for a change that ends what is done to them, in the order in which an attempt locks: all of their tasks,
 * then the documents. Returns the unfinished tasks; undefined where another one came in between, which holds no lock of
 * ours: then the transaction is to begin anew.
 */
export async function lockWithTasks(sql: Sql, documentIds: readonly string[]): Promise<UnfinishedTask[] | undefined> {
  const ids = [...documentIds];
  const locked = await sql<(UnfinishedTask & { status: string })[]>`
    select id, document_id, size, attempt, status from tasks
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = any(${ids}::uuid[]) order by id for update`;
  await sql`
    select 1 from documents where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${ids}::uuid[])
    order by id for update`;
  const now = await sql<{ id: string }[]>`
    select id from tasks where tenant_id = current_setting('app.tenant_id')::uuid and document_id = any(${ids}::uuid[])`;
  if (now.some(({ id }) => !locked.some((task) => task.id === id))) return undefined;
  return locked
    .filter(({ status }) => status === 'queued' || status === 'running')
    .map(({ status: _status, ...task }) => task);
}

/** Ends locked tasks, running ones too, whose work newer bytes have made pointless: no write of theirs counts any more. */
export async function supersedeTasks(sql: Sql, taskIds: readonly string[]): Promise<void> {
  await sql`
    update tasks set status = 'cancelled', cancel_requested = true, finished_at = now(), leased_until = null
    where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${[...taskIds]}::uuid[])`;
}

/** One line for people to read; does nothing where the task is gone. */
export async function appendTaskLog(
  sql: Sql,
  id: string,
  line: { attempt: number; level: 'info' | 'warn' | 'error'; message: string },
): Promise<void> {
  await sql`
    insert into task_logs (task_id, attempt, level, message)
    select ${id}, ${line.attempt}, ${line.level}, ${line.message}
    where exists (select from tasks where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id})`;
}

/** Oldest first. */
export async function listTaskLog(
  sql: Sql,
  id: string,
  page: { limit: number; after: number },
): Promise<(TaskLogLine & { id: number })[]> {
  const rows = await sql<{ id: number; at: Date; attempt: number; level: string; message: string }[]>`
    select id, at, attempt, level, message from task_logs
    where tenant_id = current_setting('app.tenant_id')::uuid and task_id = ${id} and id > ${page.after}
    order by id limit ${page.limit}`;
  return rows.map((row) => ({ ...row, at: row.at.toISOString() }));
}

/** Puts a task that failed, died or was cancelled back into the backlog; undefined where it is none of these. */
export async function reviveTask(
  sql: Sql,
  id: string,
): Promise<{ attempt: number; size: number; document_id: string } | undefined> {
  const [row] = await sql<{ attempt: number; size: number; document_id: string }[]>`
    update tasks set status = 'queued', retry_count = 0, run_at = now(), handed_out_at = null, leased_until = null,
      cancel_requested = false, finished_at = null, error_code = null, error_message = null, stage = null
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and status in ('failed', 'dead', 'cancelled')
    returning attempt, size, document_id`;
  return row;
}
