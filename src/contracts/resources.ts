/** The resources of the REST API as TypeBox schemas: one source for their types, the validation and the Swagger page. */
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { Chunking } from './chunking.ts';
import { SOURCE_STATES } from './events.ts';

export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Literals = <const T extends readonly string[]>(values: T, options: { description?: string } = {}) =>
  Type.Unsafe<T[number]>({ type: 'string', enum: [...values], ...options });

export const Id = Type.String({ format: 'uuid', description: 'UUIDv7' });
export const Timestamp = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' });

export const DOCUMENT_STATUSES = ['queued', 'processing', 'quarantined', 'ready', 'failed'] as const;
export const TASK_STATUSES = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead'] as const;
export const TURN_STATUSES = ['queued', 'running', 'completed', 'failed', 'cancelled'] as const;
export const VISIBILITIES = ['tenant', 'private'] as const;
export const SEARCH_MODES = ['hybrid', 'vector', 'text'] as const;

export type DocumentStatus = (typeof DOCUMENT_STATUSES)[number];
export type TaskStatus = (typeof TASK_STATUSES)[number];
export type TurnStatus = (typeof TURN_STATUSES)[number];
export type Visibility = (typeof VISIBILITIES)[number];

export const Failure = Type.Object({
  code: Type.String(),
  message: Type.String({ description: 'For the person who reads it' }),
});
export type Failure = Static<typeof Failure>;

export const DocumentResource = Type.Object({
  id: Id,
  owner_id: Type.String({ format: 'uuid', description: 'The user whose it is' }),
  title: Type.String(),
  filename: Type.String(),
  media_type: Type.String(),
  size: Type.Integer({ description: 'Bytes' }),
  sha256: Nullable(Type.String({ description: '64 hex digits; null of what one may not read' })),
  source_type: Type.String(),
  source_id: Nullable(Type.String({ format: 'uuid', description: 'The source that it was pulled from' })),
  source_item: Nullable(Type.String({ description: 'Which item of its source it is: new bytes replace the old ones' })),
  parent_id: Nullable(Type.String({ format: 'uuid', description: 'The document that it was found in' })),
  version: Nullable(Type.Integer({ description: 'The version that searches see' })),
  visibility: Literals(VISIBILITIES),
  metadata: Type.Record(Type.String(), Type.Unknown()),
  status: Literals(DOCUMENT_STATUSES),
  pages: Nullable(Type.Integer()),
  chunks: Nullable(Type.Integer()),
  chunking: Nullable(Chunking),
  task_id: Nullable(Id),
  /** Of the newest task; with the status `ready`, of a new version in whose place the old one goes on. */
  error: Nullable(Failure),
  created_at: Timestamp,
});
export type DocumentResource = Static<typeof DocumentResource>;

export const UploadReceipt = Type.Object({
  document_id: Id,
  task_id: Id,
  status: Literals(TASK_STATUSES),
  duplicate: Type.Boolean({ description: 'The same bytes were there already' }),
});
export type UploadReceipt = Static<typeof UploadReceipt>;

export const ChunkResource = Type.Object({
  id: Id,
  ordinal: Type.Integer(),
  page: Nullable(Type.Integer()),
  start: Type.Integer({ description: 'UTF-16 offset into the extracted text' }),
  end: Type.Integer({ description: 'Exclusive' }),
  headings: Type.Array(Type.String()),
  text: Type.String(),
  tokens: Type.Integer(),
});
export type ChunkResource = Static<typeof ChunkResource>;

export const TaskResource = Type.Object({
  id: Id,
  kind: Type.String(),
  document_id: Nullable(Id),
  status: Literals(TASK_STATUSES),
  stage: Nullable(Type.String()),
  progress: Type.Number({ minimum: 0, maximum: 1 }),
  chunks_done: Type.Integer(),
  chunks_total: Nullable(Type.Integer()),
  attempt: Type.Integer(),
  retry_count: Type.Integer(),
  priority: Type.Integer({ minimum: 0, maximum: 9 }),
  version: Type.Integer(),
  error: Nullable(Failure),
  created_at: Timestamp,
  started_at: Nullable(Timestamp),
  finished_at: Nullable(Timestamp),
});
export type TaskResource = Static<typeof TaskResource>;

export const TaskLogLine = Type.Object({
  at: Timestamp,
  attempt: Type.Integer(),
  level: Type.String(),
  message: Type.String(),
});
export type TaskLogLine = Static<typeof TaskLogLine>;

export const SourceResource = Type.Object({
  n: Type.Integer({ description: 'The number by which the answer cites it' }),
  document_id: Id,
  chunk_id: Id,
  version: Nullable(
    Type.Integer({
      description:
        'The version of the document in whose text (`GET /documents/{id}/text?version=`) start and end count',
    }),
  ),
  title: Type.String(),
  page: Nullable(Type.Integer()),
  start: Type.Integer({ description: 'UTF-16 offset of the quote in that text' }),
  end: Type.Integer({ description: 'Exclusive' }),
  quote: Type.String(),
  verified: Type.Boolean({ description: 'The quote stands word for word in the stored chunk' }),
  state: Literals(SOURCE_STATES, {
    description:
      'What has become of that text: searches show it; a newer version is shown in its place, and it is kept; it is kept no longer; its document was deleted',
  }),
});

const UsageResource = Type.Object({
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  cost: Type.Number(),
});

export const TurnResource = Type.Object({
  id: Id,
  conversation_id: Id,
  message_id: Id,
  status: Literals(TURN_STATUSES),
  attempt: Type.Integer(),
  text: Type.String(),
  sources: Type.Array(SourceResource),
  usage: UsageResource,
  error: Nullable(Failure),
});
export type TurnResource = Static<typeof TurnResource>;

export const TurnReceipt = Type.Object({ turn_id: Id, message_id: Id, conversation_id: Id });
export type TurnReceipt = Static<typeof TurnReceipt>;

export const ConversationResource = Type.Object({
  id: Id,
  title: Nullable(Type.String()),
  created_at: Timestamp,
  updated_at: Timestamp,
  message_count: Type.Integer(),
});
export type ConversationResource = Static<typeof ConversationResource>;

export const MessageResource = Type.Object({
  id: Id,
  role: Literals(['user', 'assistant'] as const),
  content: Type.String(),
  sources: Type.Array(SourceResource),
  turn_id: Nullable(Id),
  parent_id: Nullable(Id),
  rating: Nullable(Type.Integer()),
  created_at: Timestamp,
});
export type MessageResource = Static<typeof MessageResource>;

export const SearchResult = Type.Object({
  chunk_id: Id,
  document_id: Id,
  version: Type.Integer({ description: 'The version of the document in whose text start and end count' }),
  title: Type.String(),
  page: Nullable(Type.Integer()),
  start: Type.Integer(),
  end: Type.Integer(),
  text: Type.String(),
  score: Type.Number({ description: 'Orders results within one answer; 1 is best' }),
  scores: Type.Object({
    vector: Nullable(Type.Number()),
    text: Nullable(Type.Number()),
    rerank: Nullable(Type.Number()),
  }),
});
export type SearchResult = Static<typeof SearchResult>;

const UserResource = Type.Object({
  id: Id,
  email: Type.String(),
  role: Literals(['owner', 'admin', 'member', 'viewer'] as const),
});
const TenantResource = Type.Object({ id: Id, name: Type.String() });

export const Session = Type.Object({
  access_token: Type.String(),
  refresh_token: Type.String(),
  expires_in: Type.Integer({ description: 'Seconds the access token is valid' }),
  user: UserResource,
  tenant: TenantResource,
});
export type Session = Static<typeof Session>;

export const Me = Type.Object({ user: UserResource, tenant: TenantResource });
export type Me = Static<typeof Me>;

export interface PageRequest {
  /** 1…200 */
  limit: number;
  cursor?: string | undefined;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export const PageOf = <T extends TSchema>(schema: T) =>
  Type.Object({ items: Type.Array(schema), next_cursor: Nullable(Type.String()) });
