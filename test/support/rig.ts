/**
 * The services on a real database and a real Redis, without HTTP and without the queue: a test delivers jobs to the
 * tenants' actors itself, so it decides what runs when.
 */
import { createHash } from 'node:crypto';
import type {
  ChatProvider,
  Chunker,
  EmbeddingProvider,
  Extractor,
  MalwareScanner,
  Principal,
  Reranker,
} from '../../src/contracts/index.ts';
import { createDatabase } from '../../src/db/database.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { createChunker } from '../../src/ingest/chunker.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs, type Scope } from '../../src/kernel/context.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { type Logger, silentLogger } from '../../src/kernel/logger.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import type { Outcome } from '../../src/kernel/outcome.ts';
import { createSealer, type Sealer } from '../../src/kernel/sealing.ts';
import { createTurns, type Turns } from '../../src/kernel/turns.ts';
import { createBuiltinChat } from '../../src/llm/builtin-chat.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createBuiltinRerank } from '../../src/llm/builtin-rerank.ts';
import { createOwnKeyChats } from '../../src/llm/own-keys.ts';
import { createPrices, type ModelPrices } from '../../src/llm/prices.ts';
import { createControl } from '../../src/realtime/control.ts';
import { createHub } from '../../src/realtime/hub.ts';
import { createEventPublisher } from '../../src/realtime/log.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { createAnnouncer } from '../../src/services/announcer.ts';
import { createAnswering } from '../../src/services/answering.ts';
import { createBudgets } from '../../src/services/budgets.ts';
import { createChat } from '../../src/services/chat.ts';
import { createChatsOfUsers } from '../../src/services/chat-of-user.ts';
import { createChunkPreviews } from '../../src/services/chunk-previews.ts';
import { createSummaries } from '../../src/services/conversation-summaries.ts';
import { createConversations } from '../../src/services/conversations.ts';
import { createDocuments } from '../../src/services/documents.ts';
import { createEmbeddedFiles } from '../../src/services/embedded-files.ts';
import { createIngestion } from '../../src/services/ingestion.ts';
import { createMalwareGate } from '../../src/services/malware.ts';
import { createResidentVectors } from '../../src/services/resident-vectors.ts';
import { createSearch } from '../../src/services/search.ts';
import { createQueryVectors } from '../../src/services/search-cache.ts';
import { createSpaces } from '../../src/services/spaces.ts';
import { createSpaceBuilder } from '../../src/services/spaces-build.ts';
import { createShadowReads } from '../../src/services/spaces-shadow.ts';
import { createStructuredMemories } from '../../src/services/structured-memory.ts';
import { createTasks } from '../../src/services/tasks.ts';
import { createTopicSource } from '../../src/services/topics.ts';
import { createUploads } from '../../src/services/uploads.ts';
import { createUsageMeter } from '../../src/services/usage-meter.ts';
import { createUserSettings } from '../../src/services/user-settings.ts';
import { createVectorSearch } from '../../src/services/vector-search.ts';
import { createDiskBlobStore } from '../../src/storage/disk-blob-store.ts';
import { createTenantActors } from '../../src/workers/tenants.ts';
import { plainExtractor } from './plain-extractor.ts';
import { createTestDatabase, startRedis } from './services.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface RigOptions {
  /** Another process of the same installation: its database, Redis and blobs are shared, and stay when this one closes. */
  of?: {
    db: Awaited<ReturnType<typeof createTestDatabase>>;
    redis: Awaited<ReturnType<typeof startRedis>>;
    folder: Awaited<ReturnType<typeof temporaryFolder>>;
  };
  reranker?: Reranker;
  embeddings?: EmbeddingProvider;
  /** What embeds for other spaces than the first. */
  others?: readonly EmbeddingProvider[];
  extractor?: Extractor;
  chunker?: Chunker;
  chat?: ChatProvider;
  /** Where users' own keys are good; default: nowhere. */
  openaiBaseUrl?: string;
  /** Seals users' own keys; null: there is none. */
  userSealer?: Sealer | null;
  logger?: Logger;
  scanner?: MalwareScanner;
  queueMaxDepth?: number;
  queueMaxBytes?: number;
  maxAttempts?: number;
  leaseMs?: number;
  turns?: Turns;
  prices?: ModelPrices;
}

/** A chunk a line, so that a test can count them. */
const lineChunker: Chunker = {
  version: 'lines-1',
  defaults: createChunker().defaults,
  async stream() {
    let rest = '';
    let start = 0;
    let ordinal = 0;
    const take = (line: string) => {
      const place = { start, end: start + line.length };
      start += line.length + 1;
      if (line.trim() === '') return [];
      ordinal += 1;
      return [{ ...place, ordinal: ordinal - 1, text: line, page: null, headings: [], tokens: line.length }];
    };
    return {
      push(piece) {
        const lines = (rest + piece).split('\n');
        rest = lines.pop() ?? '';
        return lines.flatMap(take);
      },
      end: () => take(rest),
    };
  },
};

/** `count` lines that say different things. */
export function linesOf(count: number, seed = 'line'): string {
  return Array.from(
    { length: count },
    (_, i) => `${seed} ${i} ${createHash('md5').update(`${seed}${i}`).digest('hex')}`,
  ).join('\n');
}

export type Rig = Awaited<ReturnType<typeof createRig>>;

export async function createRig(options: RigOptions = {}) {
  const { of } = options;
  const [db, redis, folder] = of
    ? [of.db, of.redis, of.folder]
    : await Promise.all([createTestDatabase(), startRedis(), temporaryFolder()]);
  const logger = options.logger ?? silentLogger;
  const [clock, ids, metrics] = [systemClock, systemIds, createMetrics()];
  const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 20, embedded: false });
  const clients = createRedisClients({ url: redis.url, logger });
  const keys = createKeys({ partitions: 2 });
  const blobs = createDiskBlobStore({ root: folder.path });
  const embeddings = options.embeddings ?? createBuiltinEmbeddings({ dimensions: 64 });
  const chunker = options.chunker ?? lineChunker;
  const { provider, model, dimensions } = embeddings;
  if (!of) await ensureSpace(database, { provider, model, dimensions, pipeline: chunker.version });
  const publisher = createEventPublisher({ clients, keys, clock, logger, ttlSeconds: 600, maxLen: 1_000 });
  const announcer = createAnnouncer({ publisher, logger });
  const control = createControl({ clients, keys, clock, logger });
  const feeder = { nudge: () => {} };
  const { queueMaxDepth = 1_000, queueMaxBytes = 1e9, maxAttempts = 3, leaseMs = 30_000 } = options;
  const limits = { maxOutstanding: queueMaxDepth, maxOutstandingBytes: queueMaxBytes };
  const spaces = createSpaces({
    database,
    open: async ({ model, dimensions }) =>
      [embeddings, ...(options.others ?? [])].find((one) => one.model === model && one.dimensions === dimensions),
    pipeline: chunker.version,
    clock,
    logger,
  });
  const prices = createPrices(options.prices);
  const meter = createUsageMeter({ prices });
  const budgets = createBudgets({ database, prices, chatModel: options.chat?.model ?? 'dreamhub-extractive', clock });
  const extractor = options.extractor ?? plainExtractor;
  const reading = { blobs, extractor, chunker, pipeline: chunker.version, meter };
  const builder = createSpaceBuilder({ database, spaces, ...reading, clock, ids, logger, metrics });
  const shadows = createShadowReads({ database, spaces, random: () => 0, logger });
  const residents = createResidentVectors({ database, clock, logger, metrics });
  const vectors = createVectorSearch({ database, spaces, shadows, residents, embed: createQueryVectors({ metrics }) });
  const reranking = { reranker: options.reranker ?? createBuiltinRerank(), byDefault: false };
  const search = createSearch({ database, vectors, spaces, metrics, clock, logger, reranking });
  const hub = createHub({ clients, keys, clock, logger, source: createTopicSource(database) });
  await control.start();
  await hub.start();
  const work = { database, announcer, clock, random: () => 0, logger, metrics, meter, maxAttempts, leaseMs };
  const documents = createDocuments({ database, blobs, announcer, control, logger });
  const ingestion = createIngestion({
    ...work,
    ...reading,
    spaces,
    alsoWrite: builder.alsoWrite,
    embedded: createEmbeddedFiles({
      database,
      blobs,
      documents,
      malware: undefined,
      feeder,
      announcer,
      ids,
      maxUploadBytes: 10_000_000,
    }),
    ids,
    turns: options.turns ?? createTurns({ clock }),
    budgets,
  });
  const userSealer =
    options.userSealer === undefined
      ? createSealer({ secrets: ['a secret of more than thirty-two bytes'], purpose: 'user settings' })
      : (options.userSealer ?? undefined);
  const chats = createChatsOfUsers({
    database,
    provider: options.chat ?? createBuiltinChat(),
    ownKeys: createOwnKeyChats(
      { openaiBaseUrl: options.openaiBaseUrl ?? 'http://127.0.0.1:9', chatModel: 'fake-chat' },
      { clock, logger },
    ),
    sealer: userSealer,
  });
  const summaries = createSummaries({ database, chats, meter, budgets, clock, ids });
  const answering = createAnswering({ ...work, search, chats, summaries, publisher });
  const tenants = createTenantActors({ ingestion, answering, logger });

  async function newTenant(name = `tenant ${ids.uuid()}`): Promise<Principal> {
    const [tenantId, userId] = [ids.uuid(), ids.uuid()];
    await database.system(async (sql) => {
      await sql`insert into tenants (id, name) values (${tenantId}, ${name})`;
      await sql`insert into tenant_load (tenant_id) values (${tenantId})`;
    });
    return addUser(tenantId, userId);
  }

  async function addUser(tenantId: string, userId = ids.uuid()): Promise<Principal> {
    await database.system(async (sql) => {
      await sql`insert into accounts (id, tenant_id, email, password_hash) values (${userId}, ${tenantId}, ${`${userId}@example.com`}, '-')`;
      await sql`insert into memberships (tenant_id, user_id, role) values (${tenantId}, ${userId}, 'owner')`;
    });
    return { tenantId, userId, role: 'owner', sessionId: ids.uuid(), expiresAt: clock.now() + 1e6 };
  }

  const as = <T>({ tenantId, userId }: Pick<Scope, 'tenantId' | 'userId'>, fn: () => T): T =>
    runAs({ tenantId, userId, traceId: newTraceId() }, fn);

  const rig = {
    database,
    clients,
    keys,
    blobs,
    limits,
    metrics,
    machines: { ingestion, answering },
    folder,
    redis,
    db,
    control,
    hub,
    tenants,
    search,
    spaces,
    reading,
    builder,
    shadows,
    newTenant,
    addUser,
    as,
    embeddings,
    uploads: createUploads({
      database,
      blobs,
      feeder,
      announcer,
      control,
      clock,
      ids,
      metrics,
      maxUploadBytes: 10_000_000,
      limits,
      malware:
        options.scanner &&
        createMalwareGate({ scanner: options.scanner, database, blobs, announcer, ids, logger, metrics }),
    }),
    chunkPreviews: createChunkPreviews({ database, blobs, chunker }),
    documents,
    tasks: createTasks({ database, announcer, feeder, control, limits }),
    settings: createUserSettings({ database, sealer: userSealer }),
    memory: createStructuredMemories({ database }),
    conversations: createConversations({ database, ids, control, summaries }),
    chat: createChat({ database, hub, announcer, feeder, control, clock, ids, budgets }),

    /** Uploads a text in the name of somebody. */
    upload(who: Pick<Scope, 'tenantId' | 'userId'>, text: string, fields: Record<string, string> = {}) {
      const form = new FormData();
      for (const [name, value] of Object.entries(fields)) form.append(name, value);
      form.append('file', new Blob([text]), 'notes.txt');
      const response = new Response(form);
      const contentType = response.headers.get('content-type') ?? '';
      return as(who, () =>
        rig.uploads.accept({ body: response.body, contentType, signal: new AbortController().signal }),
      );
    },

    /** Delivers a task or turn to its tenant's actor, as the dispatcher would. */
    async deliver(who: Pick<Scope, 'tenantId' | 'userId'>, lane: 'ingest' | 'chat', id: string): Promise<Outcome> {
      await database.system(
        (sql) => sql`update ${sql(lane === 'ingest' ? 'tasks' : 'turns')} set handed_out_at = now() where id = ${id}`,
      );
      const job = { v: 1, lane, tenantId: who.tenantId, userId: who.userId, id, traceparent: '' };
      return tenants.run({ job, entryId: '0-1', deliveries: 1 });
    },

    /** Unfinished tasks that the counter says a tenant has. */
    async outstanding({ tenantId }: Pick<Scope, 'tenantId'>): Promise<number> {
      const [row] = await database.system(
        (sql) => sql<{ outstanding: number }[]>`select outstanding from tenant_load where tenant_id = ${tenantId}`,
      );
      return row?.outstanding ?? Number.NaN;
    },

    async close(): Promise<void> {
      await hub.stop();
      await control.stop();
      await clients.close();
      await database.close();
      if (of) return;
      await Promise.all([db.drop(), redis.stop()]);
      await folder.remove();
    },
  };
  return rig;
}
