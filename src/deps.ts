/** Wires everything, visibly, top to bottom. What a role does not need is not made. */
import type { AnyElysia } from 'elysia';
import { createApp, createWorkerApp } from './app.ts';
import type { Backends } from './backends.ts';
import type { Config } from './config.ts';
import type { ChatProvider, Chunker, EmbeddingProvider, Extractor, Lane, SourceProvider } from './contracts/index.ts';
import { ensureSpace } from './db/spaces.ts';
import { type DemoLogin, makeDemo } from './demo.ts';
import { createAccessTokens } from './http/plugins/jwt.ts';
import { createConsoleRoutes } from './http/routes/console.ts';
import { createSwaggerRoutes } from './http/routes/swagger.ts';
import { createChunker } from './ingest/chunker.ts';
import { createSandboxedExtractor } from './ingest/sandbox.ts';
import { createSourceProviders } from './ingest/sources/providers.ts';
import { countingAs } from './ingest/token-counter.ts';
import type { Clock } from './kernel/clock.ts';
import { newTraceId, runAs } from './kernel/context.ts';
import { messageOf } from './kernel/errors.ts';
import type { Ids } from './kernel/ids.ts';
import type { Logger } from './kernel/logger.ts';
import type { Metrics } from './kernel/metrics.ts';
import { createSealer, type Sealer } from './kernel/sealing.ts';
import type { Service } from './kernel/service.ts';
import { createTurns, type Turns } from './kernel/turns.ts';
import type { Part } from './lifecycle.ts';
import { createBuiltinRerank } from './llm/builtin-rerank.ts';
import { createProviders } from './llm/create-providers.ts';
import { createHttpRerank } from './llm/http-rerank.ts';
import { openEmbeddings } from './llm/open-embeddings.ts';
import type { Poison } from './queue/deliveries.ts';
import { createDispatcher } from './queue/dispatcher.ts';
import { createDomainEventStream } from './queue/domain-event-stream.ts';
import { createFeeder, type Feeder } from './queue/feeder.ts';
import { createProducer } from './queue/producer.ts';
import { createReconciler } from './queue/reconciler.ts';
import { createQueueStats } from './queue/stats.ts';
import { createControl } from './realtime/control.ts';
import { createEndWatch } from './realtime/end-watch.ts';
import { createHub } from './realtime/hub.ts';
import { createEventPublisher } from './realtime/log.ts';
import { createLogReader } from './realtime/log-reader.ts';
import { createKeys } from './redis/keys.ts';
import { listSpaces } from './repositories/spaces.ts';
import { createAdministration } from './services/administration.ts';
import { createAnnouncer } from './services/announcer.ts';
import { createAnswering } from './services/answering.ts';
import { createChat } from './services/chat.ts';
import { createChunkPreviews } from './services/chunk-previews.ts';
import { createConversations } from './services/conversations.ts';
import { createCounterCheck } from './services/counter-check.ts';
import { createDocuments } from './services/documents.ts';
import { createEmbeddedFiles } from './services/embedded-files.ts';
import { createHealth } from './services/health.ts';
import { createIdempotency, createIdempotencySweep } from './services/idempotency.ts';
import { createIdentity } from './services/identity.ts';
import { createIngestion } from './services/ingestion.ts';
import { createLexicalCompactor } from './services/lexical-compactor.ts';
import { createMalwareGate } from './services/malware.ts';
import { createOperatorCheck } from './services/operator.ts';
import { createOutboxRelay } from './services/outbox-relay.ts';
import { createProviderMetrics } from './services/provider-metrics.ts';
import { createQuotaSettings } from './services/quotas.ts';
import { createResidentVectors } from './services/resident-vectors.ts';
import { createSearch } from './services/search.ts';
import { createQueryVectors } from './services/search-cache.ts';
import { createSources } from './services/sources.ts';
import { createSpaces, type Spaces } from './services/spaces.ts';
import { createSpaceBuilder } from './services/spaces-build.ts';
import { createShadowReads } from './services/spaces-shadow.ts';
import { createSyncs } from './services/sync.ts';
import { createTasks } from './services/tasks.ts';
import { createTickets } from './services/tickets.ts';
import { createTopicEnds } from './services/topic-ends.ts';
import { createTopicSource } from './services/topics.ts';
import { createResumableUploads } from './services/tus.ts';
import { createUploadSweep } from './services/tus-sweep.ts';
import { createUploads } from './services/uploads.ts';
import { createVectorSearch } from './services/vector-search.ts';
import { createVectorTiers } from './services/vector-tiers.ts';
import { createWebhookRequests } from './services/webhook-request.ts';
import { createWebhookSender } from './services/webhook-sender.ts';
import { createWebhooks } from './services/webhooks.ts';
import { createClamd } from './storage/clamd.ts';
import { createCancelListener, createLaneHandler } from './workers/lanes.ts';
import { createBurial, createTenantActors } from './workers/tenants.ts';
import { createWsRoute } from './ws/route.ts';

export interface Environment {
  config: Config;
  backends: Backends;
  jwtSecrets: readonly string[];
  operatorToken: string | undefined;
  encryptionKeys: readonly string[];
  demo: DemoLogin | null;
  version: string;
  clock: Clock;
  ids: Ids;
  random: () => number;
  logger: Logger;
  metrics: Metrics;
}

export interface Deps {
  app: AnyElysia;
  /** In the order in which they start; they stop in the opposite one. */
  parts: Part[];
  /** No new work from now on: load balancers look elsewhere. */
  leave(): Promise<void>;
}

const ACCESS_TTL_SECONDS = 900;
const REFRESH_TTL_SECONDS = 30 * 86_400;
/** How long a topic's log is kept after its last event, and how many events of it. */
const LOG_TTL_SECONDS = 86_400;
const LOG_MAX_EVENTS = 10_000;
const STAGING_MAX_AGE_MS = 86_400_000;
/** Turns at once in this process, and of one tenant: they wait for the provider, not for us. */
const CHAT_CONCURRENCY = 64;
const CHAT_TENANT_CONCURRENCY = 32;
/** The row's lease ends before its stream entry is reclaimed, so whoever reclaims it can begin at once. */
const LEASE_SHARE = 0.8;
/** For how long a handed-out job may be in no stream and no worker's hands before it is handed out again. */
const REPAIR_GRACE_MS = 10_000;
const DRAIN_MS = 10_000;
const EMBEDDED_SEGMENT_CHUNKS = 2_048;
const RERANK_MODEL = 'rerank';
const WORKER_STOP_MS = 12_000;

/**
 * The configured model's space. A chunker of another version cuts what comes from now on; what there is stays as it was cut
 * until its documents are uploaded again, so it needs no other space.
 */
async function openSpace(env: Environment, { provider, model, dimensions }: EmbeddingProvider, pipeline: string) {
  const { database } = env.backends;
  const known = (await database.system(listSpaces)).find(
    (space) =>
      space.state !== 'retired' &&
      space.provider === provider &&
      space.model === model &&
      space.dimensions === dimensions,
  );
  const space = known ?? (await ensureSpace(database, { provider, model, dimensions, pipeline }));
  if (space.state !== 'active') {
    env.logger.warn({ space }, 'the configured model is not the one that searches ask: activate its space');
  }
}

export async function createDeps(env: Environment): Promise<Deps> {
  const { config, backends, clock, logger, metrics } = env;
  const { database, clients, blobs } = backends;
  const keys = createKeys({ partitions: config.partitions });

  const providerConfig = {
    openaiBaseUrl: config.openaiBaseUrl,
    openaiApiKeys: config.openaiApiKeys,
    embeddingBaseUrl: config.embeddingBaseUrl,
    embeddingApiKeys: config.embeddingApiKeys,
    chatModel: config.chatModel,
    embeddingModel: config.embeddingModel,
    embeddingDimensions: config.embeddingDimensions,
    embeddingPrefixes: config.embeddingPrefixes,
  };
  const providerDependencies = { clock, logger, observer: createProviderMetrics({ metrics, clock }) };
  const { chat: chatProvider, embeddings, prepare } = await createProviders(providerConfig, providerDependencies);
  await prepare(AbortSignal.timeout(30_000));
  const chunker = createChunker(countingAs(embeddings.model));
  await openSpace(env, embeddings, chunker.version);
  const spaces = createSpaces({
    database,
    open: async (identity) => {
      const { provider, model, dimensions } = embeddings;
      const isConfigured =
        identity.provider === provider && identity.model === model && identity.dimensions === dimensions;
      return isConfigured ? embeddings : openEmbeddings(identity, providerConfig, providerDependencies);
    },
    pipeline: chunker.version,
    clock,
    logger,
  });
  const shadows = createShadowReads({ database, spaces, random: env.random, logger });
  const residents = createResidentVectors({ database, clock, logger, metrics });
  const vectors = createVectorSearch({ database, spaces, shadows, residents, embed: createQueryVectors({ metrics }) });

  const publisher = createEventPublisher({
    clients,
    keys,
    clock,
    logger,
    ttlSeconds: LOG_TTL_SECONDS,
    maxLen: LOG_MAX_EVENTS,
  });
  const announcer = createAnnouncer({ publisher, logger });
  const control = createControl({ clients, keys, clock, logger });
  const producer = createProducer({ clients, keys });
  const feeder = createFeeder({ database, producer, clock, logger });
  const reranking =
    config.rerankUrl === undefined
      ? { reranker: createBuiltinRerank(), byDefault: false }
      : {
          reranker: createHttpRerank({
            url: config.rerankUrl,
            apiKeys: config.rerankApiKeys,
            model: config.rerankModel ?? RERANK_MODEL,
          }),
          byDefault: true,
        };
  const search = createSearch({ database, vectors, metrics, clock, logger, reranking });
  const health = createHealth({ database, clients, blobs });

  const { encryptionKeys } = env;
  const pulling = {
    sealer:
      encryptionKeys.length > 0 ? createSealer({ secrets: encryptionKeys, purpose: 'source credentials' }) : undefined,
    providers: createSourceProviders({
      allowPrivate: config.allowPrivateSources,
      clock,
      folders: config.sourceFolders,
    }),
  };
  const turns =
    config.role === 'server'
      ? undefined
      : createTurns({ clock, onWaited: (lane, seconds) => metrics.turnWaitSeconds.observe({ lane }, seconds) });
  const shared = {
    env,
    turns,
    pulling,
    spaces,
    keys,
    publisher,
    announcer,
    control,
    producer,
    feeder,
    search,
    chunker,
    health,
  };
  const base = { health, metrics: metrics.registry, metricsToken: config.metricsToken, logger };
  const server = config.role === 'worker' ? undefined : createServerSide(shared);
  const worker = turns && createWorkerSide(shared, chatProvider, turns);

  const sweeper: Service = {
    name: 'staging-sweep',
    start: async () => void (await blobs.sweepStaging(STAGING_MAX_AGE_MS)),
    stop: async () => {},
  };
  return {
    app: server?.app(base) ?? createWorkerApp(base),
    parts: [control, ...(server?.parts ?? []), feeder.service, sweeper, ...(worker ?? [])],
    async leave() {
      health.leave();
      await server?.leave();
    },
  };
}

/** The server seals, workers open: so they are given the same secrets. */
const webhookSealer = (secrets: readonly string[]) => createSealer({ secrets, purpose: 'webhook secrets' });

interface Shared {
  env: Environment;
  /** Where this process works. */
  turns: Turns | undefined;
  /** What sources need, those who make them and those who sync them alike. */
  pulling: { sealer: Sealer | undefined; providers: ReadonlyMap<string, SourceProvider> };
  spaces: Spaces;
  keys: ReturnType<typeof createKeys>;
  publisher: ReturnType<typeof createEventPublisher>;
  announcer: ReturnType<typeof createAnnouncer>;
  control: ReturnType<typeof createControl>;
  producer: ReturnType<typeof createProducer>;
  feeder: Feeder;
  search: ReturnType<typeof createSearch>;
  chunker: Chunker;
  health: ReturnType<typeof createHealth>;
}

/** Whatever is uploaded or pulled passes it, where clamd is configured. */
function createGate({ config, backends, clock, ids, logger, metrics }: Environment, announcer: Shared['announcer']) {
  if (!config.clamav) return undefined;
  const { database, blobs } = backends;
  const scanner = createClamd({ address: config.clamav, clock });
  return createMalwareGate({ scanner, database, blobs, announcer, ids, logger, metrics });
}

function createServerSide({
  env,
  turns,
  pulling,
  spaces,
  keys,
  publisher,
  announcer,
  control,
  feeder,
  search,
  chunker,
}: Shared) {
  const { config, backends, clock, ids, logger, metrics } = env;
  const { database, clients, blobs } = backends;
  const tokens = createAccessTokens({ secrets: env.jwtSecrets, clock });
  const identity = createIdentity({
    database,
    tokens,
    clients,
    keys,
    clock,
    ids,
    config: {
      registration: config.registration,
      operatorToken: env.operatorToken,
      accessTtlSeconds: ACCESS_TTL_SECONDS,
      refreshTtlSeconds: REFRESH_TTL_SECONDS,
    },
    endSession: (sessionId) => control.endSession(sessionId),
  });
  const hub = createHub({ clients, keys, clock, logger, source: createTopicSource(database) });
  const ends = createTopicEnds({ database, publisher, logs: createLogReader({ clients, keys }) });
  const { maxUploadBytes } = config;
  const limits = { maxOutstanding: config.queueMaxDepth, maxOutstandingBytes: config.queueMaxBytes };
  const malware = createGate(env, announcer);
  const uploads = createUploads({
    database,
    blobs,
    feeder,
    announcer,
    control,
    clock,
    ids,
    metrics,
    maxUploadBytes,
    limits,
    malware,
    turns,
  });
  const resumable = createResumableUploads({ database, blobs, uploads, clock, ids, maxUploadBytes });
  const chat = createChat({ database, hub, announcer, feeder, control, clock, ids });
  const tickets = createTickets({ clients, keys, clock });
  const requests = createWebhookRequests({ allowPrivate: config.allowPrivateWebhooks, clock });
  const tasks = createTasks({ database, announcer, feeder, control, limits });
  const documents = createDocuments({ database, blobs, announcer, control, logger });
  const services = {
    identity,
    uploads,
    resumable,
    chunkPreviews: createChunkPreviews({ database, blobs, chunker }),
    documents,
    sources: createSources({ database, blobs, documents, ids, maxUploadBytes, ...pulling }),
    tasks,
    search,
    conversations: createConversations({ database, ids, control }),
    chat,
    tickets,
    administration: createAdministration({ database, tasks, limits }),
    quotas: createQuotaSettings({ database, limits }),
    spaces,
    webhooks: createWebhooks({ database, requests, sealer: webhookSealer(env.encryptionKeys), ids }),
  };
  const idempotency = createIdempotency({
    database,
    sealer: createSealer({ secrets: env.encryptionKeys, purpose: 'idempotent answers' }),
    clock,
    ids,
    logger,
  });
  const ws = createWsRoute({
    hub,
    chat,
    tokens,
    tickets,
    sessions: identity,
    control,
    config,
    clock,
    ids,
    logger,
    metrics,
  });
  const demo: Service = {
    name: 'demo',
    async start() {
      if (!env.demo) return;
      try {
        await makeDemo({ login: env.demo, dataDir: config.dataDir, identity, tokens, uploads });
      } catch (error) {
        logger.error({ err: error }, `no demo tenant: ${messageOf(error)}`);
      }
    },
    stop: async () => {},
  };
  return {
    parts: [
      hub,
      createEndWatch({ followed: hub.followed, ends, clock, logger }),
      ws.service,
      createUploadSweep({ database, resumable, clock, logger }),
      createIdempotencySweep({ database, clock, logger }),
      demo,
    ],
    // Open sockets and event streams would keep the server from stopping; the hub ends the streams.
    async leave() {
      await ws.closeAll();
      await hub.stop();
    },
    app: (base: Parameters<typeof createWorkerApp>[0]) =>
      createApp({
        ...base,
        tokens,
        isOperator: createOperatorCheck(env.operatorToken),
        services,
        idempotency,
        hub,
        control,
        clock,
        allowedOrigins: config.allowedOrigins,
        maxUploadBytes,
        outside: [
          createConsoleRoutes({ demo: env.demo, version: env.version }),
          createSwaggerRoutes({ version: env.version }),
          ws.route,
        ],
        websocket: ws.websocket,
      }),
  };
}

function createWorkerSide(
  { env, pulling, spaces, keys, publisher, announcer, control, producer, feeder, search, chunker }: Shared,
  chatProvider: ChatProvider,
  turns: Turns,
): Part[] {
  const { config, backends, clock, ids, logger, metrics, random } = env;
  const { database, clients, blobs } = backends;
  const extractor: Extractor & Service = createSandboxedExtractor({ logger });
  const { maxAttempts } = config;
  const requests = createWebhookRequests({ allowPrivate: config.allowPrivateWebhooks, clock });
  const sealer = env.encryptionKeys.length > 0 ? webhookSealer(env.encryptionKeys) : undefined;
  if (!sealer)
    logger.warn('there is no key to open the secrets of webhooks with: they are left to workers that have it');
  const builder = createSpaceBuilder({ database, spaces, clock, ids, logger, metrics });
  const queueLimits = { maxOutstanding: config.queueMaxDepth, maxOutstandingBytes: config.queueMaxBytes };
  const malware = createGate(env, announcer);
  const accepting = { database, blobs, feeder, announcer, control, clock, ids, metrics, limits: queueLimits, malware };
  const documents = createDocuments({ database, blobs, announcer, control, logger });
  const { maxUploadBytes } = config;
  const inside = { database, blobs, documents, malware, feeder, announcer, ids, maxUploadBytes };
  const embedded = createEmbeddedFiles(inside);
  const ingestion = createIngestion({
    database,
    blobs,
    extractor,
    chunker,
    spaces,
    alsoWrite: builder.alsoWrite,
    embedded,
    announcer,
    clock,
    ids,
    random,
    logger,
    metrics,
    maxAttempts,
    leaseMs: config.visibilityTimeoutMs * LEASE_SHARE,
    turns,
  });
  const answering = createAnswering({
    database,
    search,
    provider: chatProvider,
    publisher,
    announcer,
    clock,
    random,
    logger,
    metrics,
    maxAttempts,
    leaseMs: config.chatVisibilityTimeoutMs * LEASE_SHARE,
  });
  const tenants = createTenantActors({ ingestion, answering, logger });
  const bury = createBurial({ ingestion, answering });
  const handle = createLaneHandler({ tenants, turns, logger });

  async function onPoison(poison: Poison): Promise<void> {
    if (poison.reason === 'undecodable') {
      logger.error({ ...poison }, 'a stream entry that nobody can read was dropped; its row is handed out again');
      return;
    }
    const { job, deliveries } = poison.delivery;
    const message = `Given up after ${deliveries} deliveries: whoever works on it dies.`;
    await runAs({ tenantId: job.tenantId, userId: job.userId, traceId: newTraceId() }, () =>
      bury(job.lane, job.id, message),
    );
  }

  const consumer = `worker-${ids.uuid()}`;
  const limits: Record<Lane, { concurrency: number; tenantConcurrency: number; visibilityMs: number }> = {
    ingest: {
      concurrency: config.workerConcurrency,
      tenantConcurrency: config.tenantConcurrency,
      visibilityMs: config.visibilityTimeoutMs,
    },
    chat: {
      concurrency: CHAT_CONCURRENCY,
      tenantConcurrency: CHAT_TENANT_CONCURRENCY,
      visibilityMs: config.chatVisibilityTimeoutMs,
    },
  };
  const dispatcher = (lane: Lane): Part => ({
    ...createDispatcher({
      ...limits[lane],
      clients,
      keys,
      lane,
      consumer,
      clock,
      logger,
      metrics,
      drainMs: DRAIN_MS,
      handle,
      onPoison,
      onAcknowledged: (tenantId, undelivered) => feeder.finished(lane, tenantId, undelivered),
    }),
    stopMs: WORKER_STOP_MS,
  });
  // Stopped first of all: what runs is told to hand its work back before the dispatchers wait for it.
  const drain: Service = { name: 'drain', start: async () => {}, stop: async () => tenants.release() };
  return [
    extractor,
    createCancelListener({ control, tenants }),
    // What Redis lost is missed no later than what a dead worker held; a push that was only late is delivered twice, to no effect.
    createReconciler({
      database,
      producer,
      clients,
      keys,
      clock,
      logger,
      graceMs: Math.min(REPAIR_GRACE_MS, config.visibilityTimeoutMs, config.chatVisibilityTimeoutMs),
    }),
    createQueueStats({ database, metrics, clock, logger }),
    createCounterCheck({ database, metrics, clock, logger }),
    createLexicalCompactor({
      turns,
      database,
      clock,
      ids,
      logger,
      // Everybody waits for the embedded database while a segment is written.
      ...(config.databaseUrl === undefined && { most: EMBEDDED_SEGMENT_CHUNKS }),
    }),
    createVectorTiers({ database, clock, ids, random, logger }),
    builder,
    createSyncs({
      database,
      blobs,
      uploads: createUploads({ ...accepting, maxUploadBytes: config.maxUploadBytes }),
      documents,
      clock,
      logger,
      maxUploadBytes: config.maxUploadBytes,
      ...pulling,
    }),
    createWebhookSender({ database, requests, sealer, clock, random, logger }),
    createOutboxRelay({ database, stream: createDomainEventStream({ clients, keys }), clock, ids, logger }),
    dispatcher('ingest'),
    dispatcher('chat'),
    drain,
  ];
}
