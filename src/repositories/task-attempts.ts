/**
 * How attempts at tasks begin and succeed: many by one statement, of whatever tenants (`db/group-commit.ts`). As in
 * `backlog.ts` this is the queue's book of all tenants, kept as `dreamhub_system`, so a tenant is a parameter. The fence is
 * each row's own: what is not returned was not changed.
 */
import type { Sql } from '../db/database.ts';
import type { Member } from '../db/group-commit.ts';
import type { DocumentWork } from './documents.ts';
import type { Attempt } from './tasks.ts';

/** Ids are of one installation: no two tasks have the same. */
const idsOf = (members: readonly Member<{ readonly id: string }>[]) => ({
  tenants: members.map(({ scope }) => scope.tenantId),
  ids: members.map(({ item }) => item.id),
});

/**
 * Starts attempts and takes their fencing numbers; undefined where the task has ended, was deleted, waits in the backlog (a
 * stale delivery must not overtake `run_at`), or is running under a lease that has not expired. The first stage is recorded with
 * them. `leaseMs` is in milliseconds, `progress` in 0…1.
 */
export async function beginAttempts(
  sql: Sql,
  members: readonly Member<{ readonly id: string }>[],
  { leaseMs, progress }: { leaseMs: number; progress: number },
): Promise<(Attempt | undefined)[]> {
  const { tenants, ids } = idsOf(members);
  const rows = await sql<(Attempt & { id: string })[]>`
    update tasks t set status = 'running', attempt = t.attempt + 1, started_at = coalesce(t.started_at, now()),
      stage = 'extracting', progress = ${progress}, chunks_done = 0, chunks_total = null,
      leased_until = now() + ${leaseMs} * interval '1 millisecond', error_code = null, error_message = null
    from unnest(${tenants}::uuid[], ${ids}::uuid[]) as a(tenant_id, id)
    where t.tenant_id = a.tenant_id and t.id = a.id
      and ((t.status = 'queued' and t.handed_out_at is not null)
        or (t.status = 'running' and (t.leased_until is null or t.leased_until < now())))
    returning t.id, t.attempt, t.document_id, t.document_version, t.retry_count, t.cancel_requested, t.size, t.chunking`;
  const attempts = new Map(rows.map(({ id, ...attempt }) => [id, attempt]));
  return ids.map((id) => attempts.get(id));
}

export interface OwnAttempt {
  /** Of its task. */
  readonly id: string;
  readonly attempt: number;
}

/**
 * Ends tasks and takes them out of their tenants' counters; undefined where another attempt owns the task by now. The last
 * statement of its transaction: every upload of a tenant waits for the counter until that commits.
 */
export async function succeedAttempts(
  sql: Sql,
  members: readonly Member<OwnAttempt>[],
): Promise<(OwnAttempt | undefined)[]> {
  const { tenants, ids } = idsOf(members);
  const attempts = members.map(({ item }) => item.attempt);
  const rows = await sql<{ id: string }[]>`
    with ended as (
      update tasks t set status = 'succeeded', finished_at = now(), leased_until = null, progress = 1, stage = 'done',
        error_code = null, error_message = null
      from unnest(${tenants}::uuid[], ${ids}::uuid[], ${attempts}::int[]) as a(tenant_id, id, attempt)
      where t.tenant_id = a.tenant_id and t.id = a.id and t.attempt = a.attempt and t.status = 'running'
      returning t.tenant_id, t.id, t.size
    ), discharged as (
      update tenant_load l set outstanding = l.outstanding - e.tasks, outstanding_bytes = l.outstanding_bytes - e.bytes
      from (
        select tenant_id, count(*)::int as tasks, sum(size)::bigint as bytes from ended group by tenant_id order by tenant_id
      ) e
      where l.tenant_id = e.tenant_id
    )
    select id from ended`;
  const ended = new Set(rows.map(({ id }) => id));
  return members.map(({ item }) => (ended.has(item.id) ? item : undefined));
}

export interface BegunAttempt extends Pick<Attempt, 'attempt' | 'document_id' | 'document_version'> {
  /** Of its task. */
  readonly id: string;
}

/**
 * In the scope of the attempts, right after they have begun: what they work on. Their documents are being processed from now
 * on, and the tasks' logs say so. Undefined where a document is not there for this scope.
 */
export async function openDocuments(sql: Sql, begun: readonly BegunAttempt[]): Promise<(DocumentWork | undefined)[]> {
  const documents = begun.map(({ document_id }) => document_id);
  const rows = await sql<(DocumentWork & { task_id: string })[]>`
    with begun as (
      select * from unnest(${begun.map(({ id }) => id)}::uuid[], ${begun.map(({ attempt }) => attempt)}::int[],
        ${documents}::uuid[], ${begun.map(({ document_version }) => document_version)}::int[]
      ) as a(task_id, attempt, document_id, version)
    ), opened as (
      update documents set status = case when live_version is not null then status else 'processing' end,
        error_code = null, error_message = null, updated_at = now()
      where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${documents}::uuid[])
      returning *
    ), logged as (
      insert into task_logs (task_id, attempt, level, message)
      select b.task_id, b.attempt, 'info', 'Attempt ' || b.attempt || ' began.' from begun b join opened d on d.id = b.document_id
    )
    select b.task_id, d.id, coalesce(r.title, d.title) as title, coalesce(r.filename, d.filename) as filename,
      coalesce(r.media_type, d.media_type) as media_type, d.live_version, d.private_to,
      coalesce(r.original_id, d.original_id, d.id) as original
    from begun b join opened d on d.id = b.document_id left join document_revisions r
      on r.tenant_id = d.tenant_id and r.document_id = d.id and r.version = b.version`;
  const works = new Map(rows.map(({ task_id, ...work }) => [task_id, work]));
  return begun.map(({ id }) => works.get(id));
}
