/** Bodies of the REST calls: the resources are the contract's own, so what the server checks and this agree by type. */
import type {
  ApiKeyResource,
  ChunkResource,
  ConversationResource,
  Degradation,
  DocumentResource,
  DocumentStatus,
  FusionMethod,
  IfBusy,
  KeyScope,
  Me,
  MemberResource,
  MessageResource,
  NewApiKey,
  NewMember,
  Page,
  Role,
  SearchFilter,
  SearchMode,
  SearchResult,
  Session,
  Source,
  TaskResource,
  TaskStatus,
  TurnReceipt,
  TurnResource,
  UploadReceipt,
  UserConfig,
  UserConfigChange,
  Visibility,
} from '../contracts/index.ts';

export type { DocumentStatus, IfBusy, Page, Source, TaskStatus, Visibility };
export type ApiKey = ApiKeyResource;
export type Conversation = ConversationResource;
export type DocumentChunk = ChunkResource;
/** Not `Document`: a browser has one of those already. */
export type KnowledgeDocument = DocumentResource;
export type Member = MemberResource;
export type Message = MessageResource;
export type { KeyScope, NewApiKey, NewMember, Role, UserConfig, UserConfigChange };
export type Profile = Me;
export type Task = TaskResource;
/** What register, login and refresh answer. */
export type TokenAnswer = Session;
export type Turn = TurnResource;
export type TurnStatus = Turn['status'];
/** Names of an accepted message; the answer arrives on the topic `turn:{turn_id}`. */
export type TurnNames = TurnReceipt;
export type UploadAnswer = UploadReceipt;

export interface PageQuery {
  limit?: number;
  cursor?: string;
}

export interface RegisterRequest {
  tenant: string;
  email: string;
  password: string;
  invite?: string;
}

export interface InviteRequest {
  email: string;
  role: Role;
}

export interface ApiKeyRequest {
  name: string;
  /** Default: `read`, `write` and `chat`. */
  scopes?: KeyScope[];
  /** RFC 3339. Default: never. */
  expires_at?: string | null;
}

export interface LoginRequest {
  email: string;
  password: string;
  /** Needed where the e-mail is in several tenants; a `conflict` says so. */
  tenant?: string;
}

export interface DocumentQuery extends PageQuery {
  status?: DocumentStatus;
  source_type?: string;
  q?: string;
}

export interface SearchQuery {
  query: string;
  top_k?: number;
  mode?: SearchMode;
  filter?: SearchFilter;
  fusion?: FusionMethod;
  vector_weight?: number;
  rerank?: boolean;
  diversity?: number;
  max_per_document?: number;
  min_score?: number;
}

export interface SearchAnswer {
  results: SearchResult[];
  took_ms: number;
  /** What the server had to do without. */
  degraded?: Degradation[];
}

export interface SendRequest {
  content: string;
  client_message_id?: string;
  model?: string;
  filter?: SearchFilter;
  if_busy?: IfBusy;
}

export interface ChatRequest {
  message: string;
  conversation_id?: string;
  model_name?: string;
  if_busy?: IfBusy;
}

export interface ChatAnswer {
  conversation_id: string;
  turn_id: string;
  reply: string;
  sources: Source[];
}

export interface Ticket {
  ticket: string;
  /** Seconds. */
  expires_in: number;
}
