/** Conversations and what was said in them. */
import type {
  ConversationResource,
  ConversationSummary,
  MessageResource,
  Page,
  PageRequest,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Control } from '../realtime/control.ts';
import {
  deleteConversation,
  getConversation,
  insertConversation,
  listConversations,
  listMessages,
  rateMessage,
  renameConversation,
} from '../repositories/conversations.ts';
import { unfinishedTurns } from '../repositories/turns.ts';
import type { Summaries } from './conversation-summaries.ts';
import { idCursor, numberCursor, toPage } from './paging.ts';

export interface Conversations {
  create(conversation: { title?: string }): Promise<ConversationResource>;
  list(page: PageRequest): Promise<Page<ConversationResource>>;
  get(id: string): Promise<ConversationResource>;
  rename(id: string, title: string): Promise<ConversationResource>;
  /** With its messages and turns; one that is being answered is stopped. */
  remove(id: string): Promise<void>;
  /** In the order of the conversation. */
  messages(id: string, page: PageRequest): Promise<Page<MessageResource>>;
  summary(id: string): Promise<ConversationSummary>;
  /** Of an answer; in the place of what was said of it before. */
  rate(messageId: string, feedback: { rating: 1 | -1; comment?: string }): Promise<void>;
}

export interface ConversationsOptions {
  database: Database;
  ids: Ids;
  control: Pick<Control, 'publishCancel'>;
  summaries: Pick<Summaries, 'get'>;
}

export const noConversation = () => new AppError('not_found', 'There is no such conversation.');

export function createConversations({ database, ids, control, summaries }: ConversationsOptions): Conversations {
  return {
    summary: (id) => summaries.get(id),

    create: ({ title }) => database.tenant((sql) => insertConversation(sql, ids.uuid(), title?.trim() || null)),

    async list({ limit, cursor }) {
      const rows = await database.tenant((sql) =>
        listConversations(sql, { limit: limit + 1, after: idCursor(cursor) }),
      );
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => row });
    },

    async get(id) {
      const conversation = await database.tenant((sql) => getConversation(sql, id));
      if (!conversation) throw noConversation();
      return conversation;
    },

    async rename(id, title) {
      const conversation = await database.tenant((sql) => renameConversation(sql, id, title));
      if (!conversation) throw noConversation();
      return conversation;
    },

    async remove(id) {
      const turns = await database.tenant(async (sql) => {
        const unfinished = await unfinishedTurns(sql, id);
        if (!(await deleteConversation(sql, id))) throw noConversation();
        return unfinished;
      });
      for (const turn of turns) await control.publishCancel('turn', turn);
    },

    async rate(messageId, { rating, comment }) {
      const feedback = { rating, comment: comment?.trim() || null };
      const role = await database.tenant((sql) => rateMessage(sql, messageId, feedback));
      if (!role) throw new AppError('not_found', 'There is no such message.');
      if (role !== 'assistant') throw new AppError('conflict', 'Only answers are rated, and this is a question.');
    },

    async messages(id, { limit, cursor }) {
      const rows = await database.tenant(async (sql) => {
        if (!(await getConversation(sql, id))) throw noConversation();
        return listMessages(sql, id, { limit: limit + 1, after: numberCursor(cursor, 0) });
      });
      return toPage(rows, limit, {
        cursor: (row) => String(row.position),
        item: ({ position: _position, ...message }) => message,
      });
    },
  };
}
