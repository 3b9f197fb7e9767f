/** Publication of several documents of one scope, whose first versions these are: nothing is replaced by them. */
import type { Chunking, DomainEventData } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { FIRST_VERSION } from './documents-versions.ts';

export interface FirstPublication {
  readonly taskId: string;
  readonly attempt: number;
  readonly pages: number | null;
  readonly chunks: number;
  /** As it was cut, and as its uploader asked for. */
  readonly chunking: Chunking;
  readonly wish: Chunking | null;
  /** Its event, which names the document. */
  readonly event: DomainEventData['document.ready'];
  /** For its task's log. */
  readonly message: string;
}

/**
 * Makes the first version of each document the one that searches see, writes its event to the outbox and a line to its
 * task's log, in the caller's transaction, which holds the tasks and has written the chunks. `pipeline`: what read and cut.
 */
export async function publishFirstVersions(
  sql: Sql,
  pipeline: string,
  publications: readonly FirstPublication[],
): Promise<void> {
  const column = <T>(pick: (publication: FirstPublication) => T) => publications.map(pick);
  await sql`
    with published as materialized (
      select document_id, task_id, attempt, pages, chunks, chunking::jsonb as chunking, wish::jsonb as wish,
        event::jsonb as event, message
      from unnest(
        ${column(({ event }) => event.document_id)}::uuid[], ${column(({ taskId }) => taskId)}::uuid[],
        ${column(({ attempt }) => attempt)}::int[], ${column(({ pages }) => pages)}::int[],
        ${column(({ chunks }) => chunks)}::int[], ${column(({ chunking }) => JSON.stringify(chunking))}::text[],
        ${column(({ wish }) => wish && JSON.stringify(wish))}::text[],
        ${column(({ event }) => JSON.stringify(event))}::text[], ${column(({ message }) => message)}::text[]
      ) as p(document_id, task_id, attempt, pages, chunks, chunking, wish, event, message)
    ), made as (
      insert into document_versions (document_id, version, private_to, pipeline, pages, chunks, chunking, wish)
      select d.id, ${FIRST_VERSION}, d.private_to, ${pipeline}, p.pages, p.chunks, p.chunking, p.wish
      from published p join documents d on d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = p.document_id
      on conflict (tenant_id, document_id, version) do nothing
    ), told as (
      insert into outbox (type, data) select 'document.ready', event from published
    ), logged as (
      insert into task_logs (task_id, attempt, level, message) select task_id, attempt, 'info', message from published
    )
    update documents d set live_version = ${FIRST_VERSION}, status = 'ready', pages = p.pages, chunks = p.chunks,
      chunking = p.chunking, error_code = null, error_message = null, updated_at = now()
    from published p where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = p.document_id`;
}
