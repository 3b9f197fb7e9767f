import type { ConversationResource, HistoryMessage, MessageResource, Source } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { withStates } from './document-texts.ts';

type ConversationRow = Omit<ConversationResource, 'created_at' | 'updated_at'> & { created_at: Date; updated_at: Date };

const columns = (sql: Sql) => sql`id, title, created_at, updated_at, message_count`;

function toResource(row: ConversationRow): ConversationResource {
  return { ...row, created_at: row.created_at.toISOString(), updated_at: row.updated_at.toISOString() };
}

/** `chat`: people's own, which they see in their list; others are a client's, one for each of its questions or threads. */
export type ConversationKind = 'chat' | 'completion' | 'response';

/** Of the ambient user. */
export async function insertConversation(
  sql: Sql,
  id: string,
  title: string | null,
  kind: ConversationKind = 'chat',
): Promise<ConversationResource> {
  const [row] = await sql<ConversationRow[]>`
    insert into conversations (id, title, kind) values (${id}, ${title}, ${kind}) returning ${columns(sql)}`;
  if (!row) throw new Error('an insert returned no row');
  return toResource(row);
}

/** What was said before a conversation came to us, oldest first: the first turn comes after it. For one that is empty. */
export async function insertEarlier(
  sql: Sql,
  conversationId: string,
  messages: readonly (HistoryMessage & { id: string })[],
): Promise<void> {
  if (messages.length === 0) return;
  await sql`
    insert into messages (id, conversation_id, position, role, content)
    select m.id, ${conversationId}, m.position, m.role, m.content
    from unnest(${messages.map(({ id }) => id)}::uuid[], ${messages.map(({ role }) => role)}::text[],
      ${messages.map(({ content }) => content)}::text[]) with ordinality as m(id, role, content, position)`;
  await sql`
    update conversations set turn_count = ${Math.ceil(messages.length / 2)}, message_count = ${messages.length}
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${conversationId}`;
}

/** Undefined where it is not there, or somebody else's. */
export async function getConversation(sql: Sql, id: string): Promise<ConversationResource | undefined> {
  const [row] = await sql<ConversationRow[]>`
    select ${columns(sql)} from conversations where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
  return row && toResource(row);
}

/** People's own, newest first. */
export async function listConversations(
  sql: Sql,
  page: { limit: number; after?: string | undefined },
): Promise<ConversationResource[]> {
  const rows = await sql<ConversationRow[]>`
    select ${columns(sql)} from conversations
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      and kind = 'chat' ${page.after === undefined ? sql`` : sql`and id < ${page.after}`}
    order by id desc limit ${page.limit}`;
  return rows.map(toResource);
}

/** As it is then; undefined where it is not there. */
export async function renameConversation(
  sql: Sql,
  id: string,
  title: string,
): Promise<ConversationResource | undefined> {
  const [row] = await sql<ConversationRow[]>`
    update conversations set title = ${title}, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} returning ${columns(sql)}`;
  return row && toResource(row);
}

/** With its messages and turns; false where it was not there. */
export async function deleteConversation(sql: Sql, id: string): Promise<boolean> {
  const rows = await sql`
    delete from conversations where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} returning 1`;
  return rows.length > 0;
}

/** Takes the next turn number of a conversation and holds its row; undefined where it is not there. */
export async function takeTurnNumber(sql: Sql, id: string, titleIfNone: string): Promise<number | undefined> {
  const [row] = await sql<{ turn: number }[]>`
    update conversations set turn_count = turn_count + 1, message_count = message_count + 1, updated_at = now(),
      title = coalesce(title, ${titleIfNone})
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} returning turn_count as turn`;
  return row?.turn;
}

export interface NewMessage {
  id: string;
  conversationId: string;
  position: number;
  role: 'user' | 'assistant';
  content: string;
  sources: readonly Source[];
  turnId: string;
  parentId: string | null;
}

/** Position 2n−1 is the question of turn n, 2n its answer. */
export async function insertMessage(sql: Sql, message: NewMessage): Promise<void> {
  await sql`
    insert into messages (id, conversation_id, position, role, content, sources, turn_id, parent_id)
    values (${message.id}, ${message.conversationId}, ${message.position}, ${message.role}, ${message.content},
      ${sql.json(message.sources as never)}, ${message.turnId}, ${message.parentId})`;
}

/** Counts an answer; returns the conversation as it is now. */
export async function countAnswer(sql: Sql, id: string): Promise<ConversationResource | undefined> {
  const [row] = await sql<ConversationRow[]>`
    update conversations set message_count = message_count + 1, updated_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} returning ${columns(sql)}`;
  return row && toResource(row);
}

type MessageRow = Omit<MessageResource, 'created_at'> & { created_at: Date; position: number };

/** In the order of the conversation. */
export async function listMessages(
  sql: Sql,
  conversationId: string,
  page: { limit: number; after: number },
): Promise<(MessageResource & { position: number })[]> {
  const rows = await sql<MessageRow[]>`
    select id, role, content, sources, turn_id, parent_id, rating, created_at, position from messages
    where tenant_id = current_setting('app.tenant_id')::uuid and conversation_id = ${conversationId}
      and position > ${page.after}
    order by position limit ${page.limit}`;
  const messages = rows.map((row) => ({ ...row, created_at: row.created_at.toISOString() }));
  return withStates(sql, messages);
}

export interface Feedback {
  rating: 1 | -1;
  comment: string | null;
}

/**
 * Rates an answer, in the place of an earlier rating. The role of the message that is there, of the ambient user;
 * undefined where there is none. A question is left as it is.
 */
export async function rateMessage(sql: Sql, id: string, feedback: Feedback): Promise<'user' | 'assistant' | undefined> {
  const [row] = await sql<{ role: 'user' | 'assistant' }[]>`
    with found as (
      select role from messages where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}
    ), rated as (
      update messages set rating = ${feedback.rating}, feedback_comment = ${feedback.comment}, rated_at = now()
      where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id} and role = 'assistant'
    )
    select role from found`;
  return row?.role;
}

export interface RecentMessage {
  role: 'user' | 'assistant';
  content: string;
  position: number;
  /** Null of what a client brought along. */
  turn_id: string | null;
}

/** The last messages before a position, newest first. */
export async function recentMessages(
  sql: Sql,
  conversationId: string,
  before: { position: number; limit: number },
): Promise<RecentMessage[]> {
  return sql<RecentMessage[]>`
    select role, content, position, turn_id from messages
    where tenant_id = current_setting('app.tenant_id')::uuid and conversation_id = ${conversationId}
      and position < ${before.position}
    order by position desc limit ${before.limit}`;
}
