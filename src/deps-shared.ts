/** What servers and workers are both made of, top to bottom. */
import type { Backends } from './backends.ts';
import type { Config } from './config.ts';
import type { EmbeddingProvider, SourceProvider } from './contracts/index.ts';
import { ensureSpace } from './db/spaces.ts';
import type { DemoLogin } from './demo.ts';
import { createChunker } from './ingest/chunker.ts';
import { pipelineVersion } from './ingest/pipeline-version.ts';
import { createSourceProviders } from './ingest/sources/providers.ts';
import { countingAs } from './ingest/token-counter.ts';
import type { Clock } from './kernel/clock.ts';
import type { Ids } from './kernel/ids.ts';
import type { Logger } from './kernel/logger.ts';
import type { Metrics } from './kernel/metrics.ts';
import { createSealer, type Sealer } from './kernel/sealing.ts';
import { createTurns, PLACES } from './kernel/turns.ts';
import { createBuiltinRerank } from './llm/builtin-rerank.ts';
import { createProviders } from './llm/create-providers.ts';
import { createHttpRerank } from './llm/http-rerank.ts';
import { openEmbeddings } from './llm/open-embeddings.ts';
import { createOwnKeyChats } from './llm/own-keys.ts';
import { createPrices } from './llm/prices.ts';
import { createFeeder } from './queue/feeder.ts';
import { createProducer } from './queue/producer.ts';
import { createControl } from './realtime/control.ts';
import { createEventPublisher } from './realtime/log.ts';
import { createKeys } from './redis/keys.ts';
import type { QueueLimits } from './repositories/admission.ts';
import { listSpaces } from './repositories/spaces.ts';
import { type Announcer, createAnnouncer } from './services/announcer.ts';
import { createBudgets } from './services/budgets.ts';
import { createChatsOfUsers } from './services/chat-of-user.ts';
import { createSummaries } from './services/conversation-summaries.ts';
import { createDocuments } from './services/documents.ts';
import { createHealth } from './services/health.ts';
import { createMalwareGate } from './services/malware.ts';
import { createProviderMetrics } from './services/provider-metrics.ts';
import { createResidentVectors } from './services/resident-vectors.ts';
import { createSearch } from './services/search.ts';
import { createQueryVectors } from './services/search-cache.ts';
import { createSpaces } from './services/spaces.ts';
import { createShadowReads } from './services/spaces-shadow.ts';
import { createUsageMeter } from './services/usage-meter.ts';
import { createVectorSearch } from './services/vector-search.ts';
import { createClamd } from './storage/clamd.ts';

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

/** How long a topic's log is kept after its last event, and how many events of it. */
const LOG_TTL_SECONDS = 86_400;
const LOG_MAX_EVENTS = 10_000;
const RERANK_MODEL = 'rerank';

/**
 * The configured model's space. Another pipeline cuts what comes from now on; what there is stays as it was cut until the
 * operator asks for a space of this pipeline, so the model's own is gone on with.
 */
async function openSpace(env: Environment, { provider, model, dimensions }: EmbeddingProvider, pipeline: string) {
  const { database } = env.backends;
  const ofModel = (await database.system(listSpaces)).filter(
    (space) =>
      space.state !== 'retired' &&
      space.provider === provider &&
      space.model === model &&
      space.dimensions === dimensions,
  );
  const known = ofModel.find(({ state }) => state === 'active') ?? ofModel[0];
  const space = known ?? (await ensureSpace(database, { provider, model, dimensions, pipeline }));
  if (space.state !== 'active') {
    env.logger.warn({ space }, 'the configured model is not the one that searches ask: activate its space');
  }
}

/** Whatever is uploaded or pulled passes it, where clamd is configured. */
function createGate({ config, backends, clock, ids, logger, metrics }: Environment, announcer: Announcer) {
  if (!config.clamav) return undefined;
  const { database, blobs } = backends;
  const scanner = createClamd({ address: config.clamav, clock });
  return createMalwareGate({ scanner, database, blobs, announcer, ids, logger, metrics });
}

interface Pulling {
  /** Undefined where there is no key: credentials are neither kept nor used then. */
  sealer: Sealer | undefined;
  providers: ReadonlyMap<string, SourceProvider>;
}

/** What both roles are made of. Asks the provider for its model, and makes the model's space where there is none. */
export async function createShared(env: Environment) {
  const { config, backends, clock, ids, logger, metrics } = env;
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
  const pipeline = pipelineVersion(chunker);
  await openSpace(env, embeddings, pipeline);
  const spaces = createSpaces({
    database,
    open: async (identity) => {
      const { provider, model, dimensions } = embeddings;
      const isConfigured =
        identity.provider === provider && identity.model === model && identity.dimensions === dimensions;
      return isConfigured ? embeddings : openEmbeddings(identity, providerConfig, providerDependencies);
    },
    pipeline,
    clock,
    logger,
  });
  const shadows = createShadowReads({ database, spaces, random: env.random, logger });
  const residents = createResidentVectors({ database, clock, logger, metrics });
  const embed = createQueryVectors({ metrics });
  const vectors = createVectorSearch({ database, spaces, shadows, residents, embed });

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
  const search = createSearch({ database, vectors, spaces, metrics, clock, logger, reranking });
  control.onEnded((ended) => {
    if (ended.kind === 'session' || !ended.erased) return;
    for (const kept of [search, residents, embed]) kept?.forget();
  });
  const health = createHealth({ database, clients, blobs });

  const { encryptionKeys } = env;
  const prices = createPrices(config.modelPrices);
  const meter = createUsageMeter({ prices });
  const budgets = createBudgets({ database, prices, chatModel: chatProvider.model, clock });
  const userSealer =
    encryptionKeys.length > 0 ? createSealer({ secrets: encryptionKeys, purpose: 'user settings' }) : undefined;
  const chats = createChatsOfUsers({
    database,
    provider: chatProvider,
    ownKeys: createOwnKeyChats(providerConfig, providerDependencies),
    sealer: userSealer,
  });
  const pulling: Pulling = {
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
      : createTurns({
          clock,
          // A tenant alone is in nobody's way: none of its documents waits for a place, so they are written in larger companies.
          alone: Math.max(2 * PLACES, config.tenantConcurrency),
          onWaited: (lane, seconds) => metrics.turnWaitSeconds.observe({ lane }, seconds),
        });
  const limits: QueueLimits = { maxOutstanding: config.queueMaxDepth, maxOutstandingBytes: config.queueMaxBytes };
  const { maxUploadBytes } = config;
  const malware = createGate(env, announcer);
  const accepting = {
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
  };
  return {
    env,
    /** Where this process works. */
    turns,
    /** Undefined where there is no key: users' own API keys are refused then. */
    userSealer,
    chatProvider,
    chats,
    summaries: createSummaries({ database, chats, meter, budgets, clock, ids }),
    /** What sources need, those who make them and those who sync them alike. */
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
    pipeline,
    health,
    meter,
    budgets,
    limits,
    /** What accepts uploads, those of people and those of sources alike. */
    accepting,
    documents: createDocuments({ database, blobs, announcer, control, logger }),
  };
}

export type Shared = Awaited<ReturnType<typeof createShared>>;

/** The server seals, workers open: so they are given the same secrets. */
export const webhookSealer = (secrets: readonly string[]) => createSealer({ secrets, purpose: 'webhook secrets' });
