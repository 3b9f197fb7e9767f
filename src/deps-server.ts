/** The server's side of the wiring, top to bottom. */
import { createApp, type createWorkerApp } from './app.ts';
import { makeDemo } from './demo.ts';
import { type Shared, webhookSealer } from './deps-shared.ts';
import { createAccessTokens } from './http/plugins/jwt.ts';
import { createConsoleRoutes } from './http/routes/console.ts';
import { createSwaggerRoutes } from './http/routes/swagger.ts';
import { messageOf } from './kernel/errors.ts';
import { createSealer } from './kernel/sealing.ts';
import type { Service } from './kernel/service.ts';
import { createEndWatch } from './realtime/end-watch.ts';
import { createHub } from './realtime/hub.ts';
import { createLogReader } from './realtime/log-reader.ts';
import { createAdministration } from './services/administration.ts';
import { createApiKeys } from './services/api-keys.ts';
import { createAsking } from './services/asking.ts';
import { createChat } from './services/chat.ts';
import { createChunkPreviews } from './services/chunk-previews.ts';
import { createConversations } from './services/conversations.ts';
import { createEmbedding } from './services/embedding.ts';
import { createErasures } from './services/erasures.ts';
import { createExports } from './services/exports.ts';
import { createIdempotency, createIdempotencySweep } from './services/idempotency.ts';
import { createIdentity } from './services/identity.ts';
import { createKnowledge } from './services/knowledge.ts';
import { createMembers } from './services/members.ts';
import { createModelCatalogue } from './services/model-catalogue.ts';
import { createOperatorCheck } from './services/operator.ts';
import { createOwnedDocuments, createOwnedSources, createOwnedTasks } from './services/ownership.ts';
import { createPrincipals } from './services/principals.ts';
import { createQuotaSettings } from './services/quotas.ts';
import { createResponses } from './services/responses.ts';
import { createSources } from './services/sources.ts';
import { createStatistics } from './services/statistics.ts';
import { createStructuredMemories } from './services/structured-memory.ts';
import { createTasks } from './services/tasks.ts';
import { createTickets } from './services/tickets.ts';
import { createTopicEnds } from './services/topic-ends.ts';
import { createTopicSource } from './services/topics.ts';
import { createTurnReading } from './services/turn-reading.ts';
import { createResumableUploads } from './services/tus.ts';
import { createUploadSweep } from './services/tus-sweep.ts';
import { createUploads } from './services/uploads.ts';
import { createUsages } from './services/usage.ts';
import { createUserSettings } from './services/user-settings.ts';
import { createVectorStores } from './services/vector-stores.ts';
import { createWebhookRequests } from './services/webhook-request.ts';
import { createWebhooks } from './services/webhooks.ts';
import { createWsRoute } from './ws/route.ts';

const ACCESS_TTL_SECONDS = 900;
const REFRESH_TTL_SECONDS = 30 * 86_400;

/** What serves people: routes, sockets, and the services that they call. */
export function createServerSide({
  env,
  turns,
  chatProvider,
  userSealer,
  summaries,
  pulling,
  spaces,
  keys,
  publisher,
  announcer,
  control,
  feeder,
  search,
  chunker,
  budgets,
  meter,
  limits,
  accepting,
  documents,
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
  const apiKeys = createApiKeys({ database, control, clock, ids, logger });
  const principals = createPrincipals({ tokens, identity, apiKeys });
  // Before anybody else acts on an order.
  control.onEnded(principals.forget);
  const hub = createHub({ clients, keys, clock, logger, source: createTopicSource(database) });
  const ends = createTopicEnds({ database, publisher, logs: createLogReader({ clients, keys }) });
  const { maxUploadBytes } = config;
  const uploads = createUploads({ ...accepting, turns });
  const resumable = createResumableUploads({ database, blobs, uploads, clock, ids, maxUploadBytes });
  const chat = createChat({ database, hub, announcer, feeder, control, clock, ids, budgets });
  const conversations = createConversations({ database, ids, control, summaries });
  const reading = createTurnReading({ hub, chat });
  const asking = createAsking({ chat, reading });
  const tickets = createTickets({ clients, keys, clock });
  const erasures = createErasures({ database, tokens, identity, control, principals, clock, ids, logger });
  const requests = createWebhookRequests({ allowPrivate: config.allowPrivateWebhooks, clock });
  const tasks = createTasks({ database, announcer, feeder, control, limits });
  const sources = createSources({ database, blobs, documents, ids, maxUploadBytes, ...pulling });
  const services = {
    principals: { ...principals, witness: erasures.witness },
    identity,
    members: createMembers({ database, identity, principals, control, tasks, chat, clock, ids, logger }),
    apiKeys,
    settings: createUserSettings({ database, sealer: userSealer }),
    memory: createStructuredMemories({ database }),
    uploads,
    resumable,
    chunkPreviews: createChunkPreviews({ database, blobs, chunker }),
    documents: createOwnedDocuments({ database, documents }),
    sources: createOwnedSources({ database, sources }),
    tasks: createOwnedTasks({ database, tasks }),
    search,
    conversations,
    chat,
    tickets,
    erasures,
    exports: createExports({ database, blobs, clock, logger }),
    administration: createAdministration({ database, tasks, limits }),
    quotas: createQuotaSettings({ database, limits, feeder }),
    usage: createUsages({ database, clock }),
    statistics: createStatistics({ database, clock }),
    spaces,
    webhooks: createWebhooks({ database, requests, sealer: webhookSealer(env.encryptionKeys), ids }),
    asking,
    responses: createResponses({ database, chat, asking, reading, conversations, clock }),
    knowledge: createKnowledge({ search, documents: createOwnedDocuments({ database, documents }) }),
    vectorStores: createVectorStores({ database, search, ids }),
    models: createModelCatalogue({ chat: chatProvider, spaces }),
    embedding: createEmbedding({ database, spaces, budgets, meter, ids }),
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
    principals,
    tickets,
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
        isOperator: createOperatorCheck(env.operatorToken),
        services,
        idempotency,
        hub,
        control,
        clock,
        allowedOrigins: config.allowedOrigins,
        maxUploadBytes,
        version: env.version,
        outside: [
          createConsoleRoutes({ demo: env.demo, version: env.version }),
          createSwaggerRoutes({ version: env.version }),
          ws.route,
        ],
        websocket: ws.websocket,
      }),
  };
}
