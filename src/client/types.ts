/** Bodies of the REST calls, in the contract's own names. Times are RFC 3339, sizes bytes, offsets UTF-16 units. */
import type { Role, SearchFilter, SearchHit, SearchMode, Source, Usage } from '../contracts/index.ts';

export type { Source, Usage };

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface PageQuery {
  limit?: number;
  cursor?: string;
}

export interface User {
  id: string;
  email: string;
  role: Role;
}

export interface Tenant {
  id: string;
  name: string;
}

/** What register, login and refresh answer. */
export interface TokenAnswer {
  access_token: string;
  refresh_token: string;
  /** Seconds until the access token ends. */
  expires_in: number;
  user: User;
  tenant: Tenant;
}

export interface RegisterRequest {
  tenant: string;
  email: string;
  password: string;
  invite?: string;
}

export interface LoginRequest {
  email: string;
  password: string;
  tenant?: string;
}

export interface Profile {
  user: User;
  tenant: Tenant;
}

export type Visibility = 'tenant' | 'private';
export type DocumentStatus = 'queued' | 'processing' | 'quarantined' | 'ready' | 'failed';

/** Named `KnowledgeDocument` because a browser already has a `Document`. */
export interface KnowledgeDocument {
  id: string;
  title: string;
  filename: string;
  media_type: string;
  size: number;
  sha256: string;
  source_type: string;
  visibility: Visibility;
  metadata: Record<string, unknown>;
  status: DocumentStatus;
  pages: number | null;
  chunks: number | null;
  task_id: string | null;
  created_at: string;
}

export interface DocumentQuery extends PageQuery {
  status?: DocumentStatus;
  source_type?: string;
  q?: string;
}

export interface DocumentChunk {
  id: string;
  ordinal: number;
  page: number | null;
  start: number;
  end: number;
  text: string;
}

export interface UploadAnswer {
  document_id: string;
  task_id: string;
  status: string;
  duplicate: boolean;
}

export type TaskStatus = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'dead';

export interface Task {
  id: string;
  kind: string;
  document_id: string | null;
  status: TaskStatus;
  stage: string | null;
  progress: number;
  chunks_done: number;
  chunks_total: number | null;
  attempt: number;
  retry_count: number;
  priority: number;
  version: number;
  error: { code: string; message: string } | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
}

export interface SearchQuery {
  query: string;
  top_k?: number;
  mode?: SearchMode;
  filter?: SearchFilter;
}

export interface SearchAnswer {
  results: Omit<SearchHit, 'headings'>[];
  took_ms: number;
}

export interface Conversation {
  id: string;
  title: string | null;
  created_at: string;
  updated_at: string;
  message_count: number;
}

export interface Message {
  id: string;
  role: 'user' | 'assistant';
  content: string;
  sources: Source[];
  turn_id: string | null;
  parent_id: string | null;
  rating: 1 | -1 | null;
  created_at: string;
}

export interface SendRequest {
  content: string;
  client_message_id?: string;
  model?: string;
  filter?: SearchFilter;
}

/** Names of an accepted message; the answer arrives on the topic `turn:{turn_id}`. */
export interface TurnNames {
  turn_id: string;
  message_id: string;
  conversation_id: string;
}

export interface ChatRequest {
  message: string;
  conversation_id?: string;
  model_name?: string;
}

export interface ChatAnswer {
  conversation_id: string;
  turn_id: string;
  reply: string;
  sources: Source[];
}

export type TurnStatus = 'queued' | 'running' | 'completed' | 'failed' | 'cancelled';

export interface Turn {
  id: string;
  conversation_id: string;
  message_id: string;
  status: TurnStatus;
  attempt: number;
  text: string;
  sources: Source[];
  usage: Usage | null;
  error: { code: string; message: string } | null;
}

export interface Ticket {
  ticket: string;
  /** Seconds. */
  expires_in: number;
}
