import type { SearchFilter, Source, TurnReceipt, TurnResource, TurnStatus, Usage } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { withStates } from './document-texts.ts';

type TurnRow = Omit<TurnResource, 'error'> & { error_code: string | null; error_message: string | null };

export interface TurnRecord extends TurnResource {
  answer_id: string;
}

/** The message that a turn's resource names is the answer once there is one, the question before. */
export async function getTurn(sql: Sql, id: string): Promise<TurnRecord | undefined> {
  const [row] = await sql<(TurnRow & { answer_id: string })[]>`
    select id, conversation_id, answer_id, case when status = 'completed' then answer_id else message_id end as message_id,
      status, attempt, text, sources, usage, error_code, error_message
    from turns where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  if (!row) return undefined;
  const { error_code, error_message, sources, ...turn } = row;
  const [told] = await withStates(sql, [{ sources }]);
  return {
    ...turn,
    sources: told?.sources ?? [],
    error: error_code === null ? null : { code: error_code, message: error_message ?? '' },
  };
}

/** The turn that a client's message made before, if it was sent already. */
export async function findByClientMessage(sql: Sql, clientMessageId: string): Promise<TurnReceipt | undefined> {
  const [row] = await sql<TurnReceipt[]>`
    select id as turn_id, message_id, conversation_id from turns
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      and client_message_id = ${clientMessageId}`;
  return row;
}

export interface NewTurn {
  id: string;
  conversationId: string;
  messageId: string;
  answerId: string;
  clientMessageId: string | null;
  model: string | null;
  filter: SearchFilter;
  /** For this turn alone, beside the user's own. */
  instructions: string | null;
  traceparent: string;
}

/** False where the client's message made a turn already. */
export async function insertTurn(sql: Sql, turn: NewTurn): Promise<boolean> {
  const rows = await sql`
    insert into turns (id, conversation_id, message_id, answer_id, client_message_id, model, filter,
      instructions, traceparent)
    values (${turn.id}, ${turn.conversationId}, ${turn.messageId}, ${turn.answerId}, ${turn.clientMessageId}, ${turn.model},
      ${sql.json(turn.filter as never)}, ${turn.instructions}, ${turn.traceparent})
    on conflict do nothing returning 1`;
  return rows.length > 0;
}

/** A turn as an attempt at it starts. */
export interface TurnAttempt {
  attempt: number;
  conversation_id: string;
  message_id: string;
  answer_id: string;
  question: string;
  /** Position of the question in the conversation. */
  position: number;
  model: string | null;
  filter: SearchFilter;
  instructions: string | null;
  retry_count: number;
  cancel_requested: boolean;
}

/**
 * Starts an attempt and takes its fencing number; undefined where the turn has ended, was deleted, waits in the backlog (a
 * stale delivery must not overtake `run_at`), is running under a lease that has not expired, or is not the oldest unfinished one of its conversation.
 */
export async function beginTurn(sql: Sql, id: string, leaseMs: number): Promise<TurnAttempt | undefined> {
  const [row] = await sql<TurnAttempt[]>`
    update turns t set status = 'running', attempt = attempt + 1, started_at = coalesce(started_at, now()),
      leased_until = now() + ${leaseMs} * interval '1 millisecond', error_code = null, error_message = null
    from messages m
    where t.tenant_id = current_setting('app.tenant_id')::uuid and t.id = ${id}
      and m.tenant_id = t.tenant_id and m.id = t.message_id
      and ((t.status = 'queued' and t.handed_out_at is not null) or (t.status = 'running' and (t.leased_until is null or t.leased_until < now())))
      and not exists (
        select from turns o where o.tenant_id = t.tenant_id and o.conversation_id = t.conversation_id
          and o.status in ('queued', 'running') and o.id < t.id)
    returning t.attempt, t.conversation_id, t.message_id, t.answer_id, m.content as question, m.position, t.model, t.filter,
      t.instructions, t.retry_count, t.cancel_requested`;
  return row;
}

export interface TurnEnd {
  status: 'completed' | 'failed' | 'cancelled';
  text: string;
  sources: readonly Source[];
  usage: Usage;
  error: { code: string; message: string } | null;
}

/** Ends a turn for this attempt, and records which texts its answer cites; false where another one owns it by now. */
export async function endTurn(sql: Sql, id: string, attempt: number, end: TurnEnd): Promise<boolean> {
  const cited = end.sources.filter(({ version }) => version !== null);
  const rows = await sql`
    with ended as (
    update turns set status = ${end.status}, text = ${end.text}, sources = ${sql.json(end.sources as never)},
      usage = ${sql.json(end.usage as never)}, error_code = ${end.error?.code ?? null},
      error_message = ${end.error?.message ?? null}, finished_at = now(), leased_until = null
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and attempt = ${attempt} and status = 'running'
    returning id
    ), citing as (
      insert into turn_citations (turn_id, document_id, version)
      select distinct ended.id, c.document_id, c.version from ended
      cross join unnest(${cited.map(({ document_id }) => document_id)}::uuid[],
        ${cited.map(({ version }) => version)}::int[]) as c(document_id, version)
    )
    select 1 from ended`;
  return rows.length > 0;
}

export interface CancelledTurn {
  id: string;
  conversation_id: string;
  /** `running`: it was asked to stop. */
  status: TurnStatus;
  attempt: number;
}

/** Cancels a turn that waits; a running one is asked to stop. Undefined where it has ended or is not there. */
export async function cancelTurn(sql: Sql, id: string): Promise<CancelledTurn | undefined> {
  const [row] = await sql<CancelledTurn[]>`
    update turns set cancel_requested = true,
      status = case when status = 'queued' then 'cancelled' else status end,
      finished_at = case when status = 'queued' then now() end
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and status in ('queued', 'running')
    returning id, conversation_id, status, attempt`;
  return row;
}

/**
 * Cancels what is unfinished of a conversation, as `cancelTurn` does. `skipLocked` leaves out turns that another transaction is
 * changing: for a caller who holds the conversation's row, which whoever ends a turn takes after the turn's.
 */
export async function cancelUnfinished(
  sql: Sql,
  conversationId: string,
  { skipLocked = false }: { skipLocked?: boolean } = {},
): Promise<CancelledTurn[]> {
  return sql<CancelledTurn[]>`
    update turns t set cancel_requested = true,
      status = case when t.status = 'queued' then 'cancelled' else t.status end,
      finished_at = case when t.status = 'queued' then now() end
    where t.tenant_id = current_setting('app.tenant_id')::uuid and t.id in (
      select id from turns where tenant_id = current_setting('app.tenant_id')::uuid and conversation_id = ${conversationId}
        and status in ('queued', 'running') and not cancel_requested
      order by id for update ${skipLocked ? sql`skip locked` : sql``})
      and t.status in ('queued', 'running')
    returning t.id, t.conversation_id, t.status, t.attempt`;
}

/** Ids of the unfinished turns of a conversation. */
export async function unfinishedTurns(sql: Sql, conversationId: string): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from turns where tenant_id = current_setting('app.tenant_id')::uuid and conversation_id = ${conversationId}
      and status in ('queued', 'running')`;
  return rows.map(({ id }) => id);
}
