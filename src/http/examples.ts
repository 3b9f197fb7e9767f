/** One small world that all examples of the documentation tell of. */
import type {
  ApiKeyResource,
  ChunkPreview,
  ChunkResource,
  ConversationResource,
  ConversationSummary,
  DeadLetter,
  DocumentResource,
  ErasureResource,
  GrowthStatistics,
  Me,
  MemberResource,
  MessageResource,
  NewApiKey,
  NewMember,
  QueueState,
  Quotas,
  ResumableUpload,
  SearchResult,
  Session,
  Source,
  SourceItemResource,
  SpaceFailure,
  SpaceResource,
  StructuredMemory,
  SyncedSource,
  TaskLogLine,
  TaskResource,
  TaskStatistics,
  TurnReceipt,
  TurnResource,
  UploadReceipt,
  UsageReport,
  UserConfig,
  WebhookDelivery,
  WebhookResource,
} from '../contracts/index.ts';

const USER = '01985f2a-6c1e-7a10-9d5c-2f3b8e41a001';
const TENANT = '01985f2a-6c1e-7a10-9d5c-2f3b8e41a002';
const DOCUMENT = '01985f2b-11d4-7c3a-8a44-90e1b2c3d001';
const CHUNK = '01985f2b-3a77-7f02-b1c8-5d6e7f80a001';
const TASK = '01985f2b-11d4-7c3a-8a44-90e1b2c3d002';
const CONVERSATION = '01985f2c-40aa-7be5-93d0-a1b2c3d4e001';
const QUESTION = '01985f2c-40aa-7be5-93d0-a1b2c3d4e002';
const ANSWER = '01985f2c-40aa-7be5-93d0-a1b2c3d4e003';
const TURN = '01985f2c-40aa-7be5-93d0-a1b2c3d4e004';
const QUOTE = 'Employees are entitled to 25 days of paid leave a year.';

export const me: Me = {
  user: { id: USER, email: 'ada@example.com', role: 'owner' },
  tenant: { id: TENANT, name: 'Analytical Engines' },
};

export const erasure: ErasureResource = {
  id: '01985f30-7d10-7a55-8c3e-1f2a3b4c5d01',
  scope: 'user',
  whole_tenant: false,
  status: 'queued',
  requested_at: '2026-11-21T16:00:00.000Z',
  deadline: '2026-11-24T16:00:00.000Z',
  finished_at: null,
  settled_at: null,
  attempts: 0,
  deleted: {},
};

export const doneErasure: ErasureResource = {
  ...erasure,
  status: 'done',
  finished_at: '2026-11-21T16:00:02.000Z',
  attempts: 1,
  deleted: { documents: 3, chunks: 120, conversations: 7, accounts: 1, blobs: 9, redis: 22 },
};

export const session: Session = {
  access_token: 'eyJhbGciOiJIUzI1NiJ9…',
  refresh_token: 'Zk1vR3…',
  expires_in: 900,
  ...me,
};

export const member: MemberResource = {
  id: '01985f2a-9c40-7d22-8b1e-3c4d5e6f7001',
  email: 'grace@example.com',
  role: 'member',
  status: 'active',
  created_at: '2026-07-31T09:20:00.000Z',
  last_seen_at: '2026-07-31T10:05:00.000Z',
  expires_at: null,
};

export const newMember: NewMember = {
  ...member,
  status: 'invited',
  last_seen_at: null,
  expires_at: '2026-08-07T09:20:00.000Z',
  invite: 'pX3s9K…',
  link: 'https://dreamhub.example/#/join?tenant=Analytical+Engines&email=grace%40example.com&invite=pX3s9K…',
};

export const apiKey: ApiKeyResource = {
  id: '01985f2a-b7e1-7f08-9a2d-6b7c8d9e0001',
  name: 'nightly import',
  prefix: 'dhk_4Zk0Vb9Q',
  scopes: ['read', 'write'],
  created_at: '2026-07-31T09:25:00.000Z',
  expires_at: '2027-01-01T00:00:00.000Z',
  last_used_at: '2026-07-31T10:00:00.000Z',
};

export const newApiKey: NewApiKey = { ...apiKey, last_used_at: null, key: 'dhk_4Zk0Vb9Q…' };

export const userConfig: UserConfig = {
  default_model: 'gpt-4o-mini',
  custom_prompt: 'Call me Ada, and keep to three sentences.',
  language: 'zh-CN',
  has_openai_api_key: true,
  openai_api_key_last4: '4f9c',
  updated_at: '2026-07-31T09:30:00.000Z',
};

export const conversationSummary: ConversationSummary = {
  summary: 'The user asked how much paid leave there is: 25 days a year, by the staff handbook.',
  up_to_message_id: ANSWER,
  message_count: 2,
  messages_since: 0,
  updated_at: '2026-07-31T09:40:00.000Z',
};

export const fact: StructuredMemory = {
  key: 'home.city',
  value: 'Beijing',
  version: 2,
  created_at: '2026-07-31T09:30:00.000Z',
  updated_at: '2026-07-31T09:35:00.000Z',
};

export const resumableUpload: ResumableUpload = {
  id: '01985f2b-0fd2-7d11-8f5e-7c6b5a493001',
  filename: 'handbook.pdf',
  size: 184_320,
  offset: 184_320,
  status: 'finished',
  document_id: DOCUMENT,
  task_id: TASK,
  duplicate: false,
  error: null,
  created_at: '2026-07-31T09:11:02.000Z',
  expires_at: '2026-08-01T09:12:00.000Z',
};

export const syncedSource: SyncedSource = {
  id: '01985f2e-0fd2-7d11-8f5e-7c6b5a493009',
  kind: 'web',
  name: 'https://docs.example.com/',
  visibility: 'tenant',
  settings: { url: 'https://docs.example.com/', depth: 3, max_pages: 500 },
  has_credentials: false,
  interval_minutes: 1_440,
  status: 'idle',
  error: null,
  counts: { added: 2, updated: 1, unchanged: 240, removed: 0, failed: 1 },
  next_sync_at: '2026-08-01T09:12:00.000Z',
  started_at: '2026-07-31T09:11:02.000Z',
  finished_at: '2026-07-31T09:12:00.000Z',
  created_at: '2026-07-01T09:12:00.000Z',
};

export const sourceItem: SourceItemResource = {
  key: 'https://docs.example.com/setup',
  document_id: DOCUMENT,
  error: 'docs.example.com answered with the status 500.',
  updated_at: '2026-07-31T09:11:30.000Z',
};

export const document: DocumentResource = {
  owner_id: USER,
  id: DOCUMENT,
  title: 'Staff handbook',
  filename: 'handbook.pdf',
  media_type: 'application/pdf',
  size: 184_320,
  sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  source_type: 'upload',
  source_id: null,
  source_item: null,
  parent_id: null,
  version: 1,
  visibility: 'tenant',
  metadata: { department: 'people', year: 2026 },
  status: 'ready',
  pages: 12,
  chunks: 48,
  chunking: { strategy: 'structural', chunk_tokens: 400, chunk_overlap: 45 },
  task_id: TASK,
  error: null,
  created_at: '2026-03-02T09:30:00.000Z',
};

export const receipt: UploadReceipt = { document_id: DOCUMENT, task_id: TASK, status: 'queued', duplicate: false };

export const chunk: ChunkResource = {
  id: CHUNK,
  ordinal: 7,
  page: 3,
  start: 5_120,
  end: 5_175,
  headings: ['Staff handbook', 'Leave'],
  text: QUOTE,
  tokens: 12,
};

export const chunkPreview: ChunkPreview = {
  chunking: { strategy: 'sentence', chunk_tokens: 200, chunk_overlap: 23 },
  total: 1,
  tokens: 15,
  complete: true,
  chunks: [
    {
      ordinal: 0,
      page: null,
      start: 0,
      end: 9 + QUOTE.length,
      headings: ['Leave'],
      tokens: 15,
      text: `# Leave\n\n${QUOTE}`,
    },
  ],
};

export const task: TaskResource = {
  id: TASK,
  kind: 'ingest',
  document_id: DOCUMENT,
  status: 'running',
  stage: 'embedding',
  progress: 0.6,
  chunks_done: 24,
  chunks_total: 48,
  attempt: 1,
  retry_count: 0,
  priority: 5,
  version: 1,
  error: null,
  created_at: '2026-03-02T09:30:00.000Z',
  started_at: '2026-03-02T09:30:00.120Z',
  finished_at: null,
};

export const logLine: TaskLogLine = {
  at: '2026-03-02T09:30:00.480Z',
  attempt: 1,
  level: 'info',
  message: '12 pages, 48 chunks',
};

export const result: SearchResult = {
  chunk_id: CHUNK,
  document_id: DOCUMENT,
  version: 1,
  title: 'Staff handbook',
  page: 3,
  start: 5_120,
  end: 5_175,
  text: QUOTE,
  score: 0.92,
  scores: { vector: 0.81, text: 0.97, rerank: null },
};

export const source: Source = {
  n: 1,
  document_id: DOCUMENT,
  chunk_id: CHUNK,
  version: 1,
  title: 'Staff handbook',
  page: 3,
  start: 5_120,
  end: 5_175,
  quote: QUOTE,
  verified: true,
  state: 'current',
};

export const conversation: ConversationResource = {
  id: CONVERSATION,
  title: 'Leave',
  created_at: '2026-03-02T09:41:00.000Z',
  updated_at: '2026-03-02T09:41:08.000Z',
  message_count: 2,
};

export const message: MessageResource = {
  id: ANSWER,
  role: 'assistant',
  content: 'You have 25 days of paid leave a year [1].',
  sources: [source],
  turn_id: TURN,
  parent_id: QUESTION,
  rating: null,
  created_at: '2026-03-02T09:41:08.000Z',
};

export const turnReceipt: TurnReceipt = { turn_id: TURN, message_id: QUESTION, conversation_id: CONVERSATION };

export const turn: TurnResource = {
  id: TURN,
  conversation_id: CONVERSATION,
  message_id: QUESTION,
  status: 'completed',
  attempt: 1,
  text: message.content,
  sources: [source],
  usage: { prompt_tokens: 812, completion_tokens: 14, cost: 0.0004 },
  error: null,
};

export const queueState: QueueState = {
  lanes: [
    {
      lane: 'ingest',
      queued: 31,
      running: 4,
      delayed: 1,
      oldest_seconds: 12.4,
      outstanding: 36,
      outstanding_bytes: 7_340_032,
      limit: 10_000,
      limit_bytes: 53_687_091_200,
    },
    {
      lane: 'chat',
      queued: 0,
      running: 2,
      delayed: 0,
      oldest_seconds: 0,
      outstanding: 2,
      outstanding_bytes: 0,
      limit: null,
      limit_bytes: null,
    },
  ],
  top_tenants: null,
};

export const space: SpaceResource = {
  id: 2,
  provider: 'openai',
  model: 'text-embedding-3-large',
  dimensions: 3_072,
  pipeline: 'extractors-1+structural-2/400/45/cl100k',
  cut: 0,
  state: 'building',
  created_at: '2026-03-02T09:30:00.000Z',
  activated_at: null,
  previous_id: null,
  shadow_share: 0.05,
  observe_hours: 24,
  documents: { built: 812, total: 1_024, failed: 0 },
  chunks: 40_512,
  shadow: { compared: 96, failed: 0, overlap: 0.81, agreement: 0.77 },
};

export const spaceFailure: SpaceFailure = {
  tenant_id: TENANT,
  document_id: DOCUMENT,
  code: 'encrypted',
  message: 'The document is encrypted.',
  attempts: 1,
  given_up: true,
  failed_at: '2026-03-02T09:30:00.000Z',
};

export const deadLetter: DeadLetter = {
  id: TASK,
  tenant_id: TENANT,
  kind: 'ingest',
  document_id: DOCUMENT,
  size: 184_320,
  priority: 5,
  attempt: 5,
  retry_count: 4,
  reason: { code: 'provider_unavailable', message: 'The embedding provider does not answer.' },
  created_at: '2026-03-02T09:30:00.000Z',
  died_at: '2026-03-02T09:42:17.000Z',
};

export const quotas: Quotas = {
  weight: 1,
  max_outstanding: 2_000,
  max_outstanding_bytes: 53_687_091_200,
  outstanding: 36,
  outstanding_bytes: 7_340_032,
  max_tokens: 20_000_000,
  max_cost: null,
  budget_period: 'month',
  used_tokens: 1_705_061,
  used_cost: 0.242_22,
  reserved_tokens: 13_009,
  reserved_cost: 0.002_4,
  budget_resets_at: '2026-04-01T00:00:00.000Z',
  ceilings: {
    weight: 10,
    max_outstanding: 10_000,
    max_outstanding_bytes: 53_687_091_200,
    max_tokens: 50_000_000,
    max_cost: null,
  },
};

const spent = {
  prompt_tokens: 1_204_118,
  completion_tokens: 88_940,
  embedding_tokens: 412_003,
  counted_tokens: 0,
  unpriced_tokens: 0,
  cost: 0.242_22,
  requests: 431,
};

export const usageReport: UsageReport = {
  from: '2026-03-01',
  to: '2026-03-31',
  group_by: 'day',
  scope: 'tenant',
  groups: [{ day: '2026-03-02', ...spent }],
  totals: { ...spent, storage_bytes: 73_400_320 },
};

const counts = {
  accepted: 130,
  succeeded: 121,
  failed: 2,
  dead: 1,
  cancelled: 4,
  failure_rate: 0.024,
  seconds: { median: 3.9, p95: 21.4 },
  stages: { queued: { median: 0.8, p95: 9.6 }, running: { median: 2.7, p95: 14.2 } },
};

export const taskStatistics: TaskStatistics = {
  bucket: 'hour',
  buckets: [{ start: '2026-03-02T09:00:00.000Z', ...counts }],
  totals: counts,
};

const growth = { documents: 121, chunks: 4_830, bytes: 73_400_320, users: 2, conversations: 17 };

export const growthStatistics: GrowthStatistics = {
  from: '2026-03-02',
  to: '2026-03-02',
  days: [{ day: '2026-03-02', ...growth }],
  totals: growth,
  top_tenants: null,
};

export const webhook: WebhookResource = {
  id: '01985f2d-5b10-7c44-8e21-0a1b2c3d4001',
  url: 'https://hooks.example.com/dreamhub',
  events: ['document.ready', 'document.failed'],
  active: true,
  deactivated_reason: null,
  created_at: '2026-03-02T09:20:00.000Z',
};

export const delivery: WebhookDelivery = {
  id: '01985f2d-5b10-7c44-8e21-0a1b2c3d4002',
  event_id: '01985f2d-5b10-7c44-8e21-0a1b2c3d4003',
  type: 'document.ready',
  status: 'pending',
  attempts: 2,
  next_attempt_at: '2026-03-02T09:32:11.000Z',
  last_status: 503,
  last_error: 'The answer was 503.',
  created_at: '2026-03-02T09:31:40.000Z',
  finished_at: null,
};

export const conversationId = CONVERSATION;
export const documentId = DOCUMENT;
