/** Summaries of conversations, of the ambient user. Each says up to which message it goes. */
import type { Sql } from '../db/database.ts';

export interface KeptSummary {
  summary: string;
  up_to_position: number;
  up_to_message_id: string;
  /** Messages that are in it. */
  message_count: number;
  updated_at: Date;
}

export interface SettledMessage {
  id: string;
  position: number;
  role: 'user' | 'assistant';
  content: string;
}

/** Undefined where there is none yet. */
export async function getSummary(sql: Sql, conversationId: string): Promise<KeptSummary | undefined> {
  const [row] = await sql<KeptSummary[]>`
    select summary, up_to_position, up_to_message_id, message_count, updated_at from conversation_summaries
    where tenant_id = current_setting('app.tenant_id')::uuid and conversation_id = ${conversationId}`;
  return row;
}

/**
 * What nothing can come before any more: messages up to the first question that is not answered yet. Its answer would stand
 * above later questions, and a summary that had passed it would never hold it.
 */
const settled = (sql: Sql, conversationId: string) => sql`
  m.tenant_id = current_setting('app.tenant_id')::uuid and m.conversation_id = ${conversationId}
  and m.position < coalesce((
    select min(q.position) from turns t join messages q on q.tenant_id = t.tenant_id and q.id = t.message_id
    where t.tenant_id = current_setting('app.tenant_id')::uuid and t.conversation_id = ${conversationId}
      and t.status in ('queued', 'running')), 2147483647)`;

/** Settled messages between two positions, both exclusive, in order. */
export async function settledMessages(
  sql: Sql,
  conversationId: string,
  { after, before, limit }: { after: number; before: number; limit: number },
): Promise<SettledMessage[]> {
  return sql<SettledMessage[]>`
    select m.id, m.position, m.role, m.content from messages m
    where ${settled(sql, conversationId)} and m.position > ${after} and m.position < ${before}
    order by m.position limit ${limit}`;
}

/** Messages after a position, settled or not. */
export async function countMessagesAfter(sql: Sql, conversationId: string, after: number): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from messages
    where tenant_id = current_setting('app.tenant_id')::uuid and conversation_id = ${conversationId}
      and position > ${after}`;
  return row?.count ?? 0;
}

/** False where the summary has gone further than `from` meanwhile: what was made of that is worth nothing then. */
export async function putSummary(
  sql: Sql,
  conversationId: string,
  from: number,
  { summary, up_to_position, up_to_message_id, message_count }: Omit<KeptSummary, 'updated_at'>,
): Promise<boolean> {
  const rows = await sql`
    insert into conversation_summaries as s
      (conversation_id, summary, up_to_position, up_to_message_id, message_count)
    values (${conversationId}, ${summary}, ${up_to_position}, ${up_to_message_id}, ${message_count})
    on conflict (tenant_id, conversation_id) do update set summary = excluded.summary,
      up_to_position = excluded.up_to_position, up_to_message_id = excluded.up_to_message_id,
      message_count = excluded.message_count, updated_at = now()
    where s.up_to_position = ${from}
    returning 1`;
  return rows.length > 0;
}
