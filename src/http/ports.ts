/**
 * What the routes need of the services: one interface a resource, in the contract's own names. Every function runs in the
 * caller's scope (`kernel/context.ts`), so none takes a tenant or user; whatever goes wrong is thrown as an `AppError`.
 */
import type {
  ApiKeyResource,
  ChunkPreview,
  ChunkPreviewRequest,
  ChunkResource,
  ConversationResource,
  ConversationSummary,
  DeadLetter,
  Degradation,
  DocumentResource,
  DocumentStatus,
  IfBusy,
  Me,
  MemberResource,
  MessageResource,
  NewApiKey,
  NewMember,
  NewWebhook,
  Page,
  PageRequest,
  Principal,
  QueueState,
  QuotaChange,
  Quotas,
  Reach,
  Role,
  SearchFilter,
  SearchRequest,
  SearchResult,
  Session,
  SpaceFailure,
  SpaceRequest,
  SpaceResource,
  StructuredMemory,
  TaskLogLine,
  TaskResource,
  TaskStatus,
  TurnReceipt,
  TurnResource,
  UploadReceipt,
  UserConfig,
  UserConfigChange,
  WebhookDelivery,
  WebhookRequest,
  WebhookResource,
} from '../contracts/index.ts';
import type { ApiKeyRequest } from '../services/api-keys.ts';
import type { Asking } from '../services/asking.ts';
import type { ChatMessage as AskedMessage } from '../services/chat.ts';
import type { Embedding } from '../services/embedding.ts';
import type { Erasures } from '../services/erasures.ts';
import type { Exports } from '../services/exports.ts';
import type { Credentials, Origin, Registration } from '../services/identity.ts';
import type { Knowledge } from '../services/knowledge.ts';
import type { ModelCatalogue } from '../services/model-catalogue.ts';
import type { OwnedSources } from '../services/ownership.ts';
import type { Responses } from '../services/responses.ts';
import type { Statistics } from '../services/statistics.ts';
import type { ResumableUploads } from '../services/tus.ts';
import type { Usages } from '../services/usage.ts';
import type { VectorStores } from '../services/vector-stores.ts';

/** Called without a scope, but for the last two: it is where credentials come from. */
export interface IdentityPort {
  register(registration: Registration, origin: Origin): Promise<Session>;
  login(credentials: Credentials, origin: Origin): Promise<Session>;
  refresh(refreshToken: string, origin: Origin): Promise<Session>;
  logout(principal: Principal): Promise<void>;
  me(): Promise<Me>;
}

/** What proves who is calling, in no scope. Null: not valid, or no longer. */
export interface PrincipalsPort {
  /** An access token or an API key. */
  prove(bearer: string): Promise<Principal | null>;
  /** As it is now: its role may have changed. */
  confirm(principal: Principal): Promise<Principal | null>;
  /** Whose access token reads this report of an erasure, although its user is gone. */
  witness(bearer: string, id: string): Promise<Principal | null>;
}

export interface MembersPort {
  invite(request: { email: string; role: Role }, origin: string): Promise<NewMember>;
  list(page: PageRequest): Promise<Page<MemberResource>>;
  setRole(id: string, role: Role): Promise<MemberResource>;
  remove(id: string): Promise<void>;
}

export interface ApiKeysPort {
  create(request: ApiKeyRequest, by: Principal): Promise<NewApiKey>;
  list(page: PageRequest): Promise<Page<ApiKeyResource>>;
  remove(id: string): Promise<void>;
}

export interface UserSettingsPort {
  get(): Promise<UserConfig>;
  set(change: UserConfigChange): Promise<UserConfig>;
}

export interface StructuredMemoriesPort {
  list(page: PageRequest): Promise<Page<StructuredMemory>>;
  get(key: string): Promise<StructuredMemory>;
  create(fact: { key: string; value: unknown }): Promise<StructuredMemory>;
  /** `version`: the one that was seen. */
  replace(key: string, value: unknown, version?: number): Promise<StructuredMemory>;
  remove(key: string, version?: number): Promise<void>;
}

export interface UploadRequest {
  /** The multipart body as it arrives, or as a whole where it is small; null where there is none. */
  body: ReadableStream<Uint8Array> | Uint8Array | null;
  /** With its boundary. */
  contentType: string;
  signal: AbortSignal;
  /** Makes our fields of a form that has others. */
  adapt?(fields: Record<string, string>): Record<string, string>;
}

export interface UploadsPort {
  /** `created`: a new document or a new attempt at a failed one, else the same bytes were there already. */
  accept(request: UploadRequest): Promise<{ receipt: UploadReceipt; created: boolean }>;
}

export type ResumableUploadsPort = ResumableUploads;
export type SourcesPort = OwnedSources;
export type UsagePort = Usages;
/** Called by the operator without a scope. */
export type StatisticsPort = Statistics;

export interface DocumentQuery extends PageRequest {
  status?: DocumentStatus;
  source_type?: string;
  q?: string;
}

export interface DocumentContent {
  stream: ReadableStream<Uint8Array>;
  filename: string;
  mediaType: string;
  /** Bytes */
  size: number;
}

export interface DocumentsPort {
  list(query: DocumentQuery, by: Principal): Promise<Page<DocumentResource>>;
  get(id: string, by: Principal): Promise<DocumentResource>;
  content(id: string): Promise<DocumentContent>;
  /** UTF-8; of the version that searches see unless another one is named. */
  text(id: string, version?: number): Promise<ReadableStream<Uint8Array>>;
  chunks(id: string, page: PageRequest): Promise<Page<ChunkResource>>;
  remove(id: string, by: Principal): Promise<void>;
}

export interface ChunkPreviewsPort {
  preview(request: ChunkPreviewRequest): Promise<ChunkPreview>;
}

export interface TaskQuery extends PageRequest {
  status?: TaskStatus;
}

export interface TasksPort {
  get(id: string): Promise<TaskResource>;
  list(query: TaskQuery): Promise<Page<TaskResource>>;
  retry(id: string): Promise<TaskResource>;
  cancel(id: string, by: Principal): Promise<TaskResource>;
  log(id: string, page: PageRequest): Promise<Page<TaskLogLine>>;
}

export interface SearchPort {
  search(request: SearchRequest): Promise<{ results: SearchResult[]; took_ms: number; degraded?: Degradation[] }>;
}

export interface ConversationsPort {
  create(conversation: { title?: string }): Promise<ConversationResource>;
  list(page: PageRequest): Promise<Page<ConversationResource>>;
  get(id: string): Promise<ConversationResource>;
  rename(id: string, title: string): Promise<ConversationResource>;
  remove(id: string): Promise<void>;
  messages(id: string, page: PageRequest): Promise<Page<MessageResource>>;
  summary(id: string): Promise<ConversationSummary>;
  rate(messageId: string, feedback: { rating: 1 | -1; comment?: string }): Promise<void>;
}

export interface ChatMessage {
  /** Absent: a new conversation. */
  conversationId?: string;
  content: string;
  /** Sending the same one twice makes one turn. */
  clientMessageId?: string;
  model?: string;
  filter?: SearchFilter;
  ifBusy?: IfBusy;
  instructions?: string;
  begins?: AskedMessage['begins'];
}

export interface ChatPort {
  send(message: ChatMessage): Promise<TurnReceipt>;
  /** Resolves when the turn has ended, however it ended; rejects with the signal's reason when it aborts first. */
  finished(turnId: string, signal: AbortSignal): Promise<TurnResource>;
  cancel(turnId: string): Promise<TurnResource>;
  turn(turnId: string): Promise<TurnResource>;
}

export interface TicketsPort {
  issue(principal: Principal): Promise<{ ticket: string; expires_in: number }>;
}

/** The operator calls these without a scope; they enter the one that their work is in. */
export interface AdministrationPort {
  queue(reach: Reach): Promise<QueueState>;
  deadLetters(reach: Reach, page: PageRequest): Promise<Page<DeadLetter>>;
  replay(reach: Reach, id: string, traceId: string): Promise<TaskResource>;
}

/** `list` and `find` are called in no scope for the operator. */
export type ErasuresPort = Omit<Erasures, 'witness'>;
export type ExportsPort = Exports;

export interface SpacesPort {
  list(reach: Reach, page: PageRequest): Promise<Page<SpaceResource>>;
  failures(id: number, reach: Reach, page: PageRequest): Promise<Page<SpaceFailure>>;
  create(request: SpaceRequest): Promise<SpaceResource>;
  activate(id: number): Promise<SpaceResource>;
  rollback(id: number): Promise<SpaceResource>;
  retire(id: number): Promise<SpaceResource>;
}

export interface QuotasPort {
  get(): Promise<Quotas>;
  set(change: QuotaChange): Promise<Quotas>;
  /** For the operator: without a scope. */
  grant(tenantId: string, change: QuotaChange, traceId: string): Promise<Quotas>;
}

export interface WebhooksPort {
  create(request: WebhookRequest): Promise<NewWebhook>;
  list(page: PageRequest): Promise<Page<WebhookResource>>;
  remove(id: string): Promise<void>;
  deliveries(id: string, page: PageRequest): Promise<Page<WebhookDelivery>>;
}

export interface Readiness {
  status: 'ok' | 'degraded' | 'unavailable';
  /** What was looked at: `ok`, or what is wrong with it. */
  checks: Record<string, string>;
}

export interface HealthPort {
  ready(): Promise<Readiness>;
}

/** The part of a metrics registry that `/metrics` needs. */
export interface MetricsPort {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export interface ApiServices {
  principals: PrincipalsPort;
  identity: IdentityPort;
  members: MembersPort;
  apiKeys: ApiKeysPort;
  settings: UserSettingsPort;
  memory: StructuredMemoriesPort;
  uploads: UploadsPort;
  resumable: ResumableUploadsPort;
  sources: SourcesPort;
  documents: DocumentsPort;
  chunkPreviews: ChunkPreviewsPort;
  tasks: TasksPort;
  search: SearchPort;
  conversations: ConversationsPort;
  chat: ChatPort;
  tickets: TicketsPort;
  erasures: ErasuresPort;
  exports: ExportsPort;
  administration: AdministrationPort;
  quotas: QuotasPort;
  usage: UsagePort;
  statistics: StatisticsPort;
  spaces: SpacesPort;
  webhooks: WebhooksPort;
  models: ModelCatalogue;
  asking: Asking;
  vectorStores: VectorStores;
  knowledge: Knowledge;
  responses: Responses;
  embedding: Embedding;
}
