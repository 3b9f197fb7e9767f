/** What belongs to one user and shapes the own chats. Schemas, like `resources.ts`. */
import { type Static, Type } from '@sinclair/typebox';
import { Nullable, Timestamp } from './resources.ts';

export const UserConfig = Type.Object({
  default_model: Nullable(Type.String({ description: 'Answers where a message names no model' })),
  custom_prompt: Nullable(Type.String({ description: 'Wishes that every answer follows, within the rules of citing' })),
  language: Nullable(
    Type.String({ description: 'A BCP 47 tag that answers are written in; null: that of the question' }),
  ),
  has_openai_api_key: Type.Boolean({ description: 'An own key is kept, and answers this user’s chats' }),
  openai_api_key_last4: Nullable(Type.String({ description: 'How it ends; null for a short one' })),
  updated_at: Nullable(Timestamp),
});
export type UserConfig = Static<typeof UserConfig>;

/** What is absent stays as it is, null removes. */
export interface UserConfigChange {
  default_model?: string | null;
  openai_api_key?: string | null;
  custom_prompt?: string | null;
  language?: string | null;
}

export const StructuredMemory = Type.Object({
  key: Type.String(),
  value: Type.Unknown({ description: 'Any JSON' }),
  version: Type.Integer({ description: 'Counts the changes; for `If-Match`' }),
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type StructuredMemory = Static<typeof StructuredMemory>;

export const ConversationSummary = Type.Object({
  summary: Nullable(Type.String({ description: 'Null where nothing was said yet' })),
  up_to_message_id: Nullable(Type.String({ format: 'uuid', description: 'The last message that is in it' })),
  message_count: Type.Integer({ description: 'Messages that are in it' }),
  messages_since: Type.Integer({
    description: 'Messages that are not: unanswered ones, and what could not be added now',
  }),
  updated_at: Nullable(Timestamp),
});
export type ConversationSummary = Static<typeof ConversationSummary>;
