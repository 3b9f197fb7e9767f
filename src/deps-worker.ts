/** The worker's side of the wiring, top to bottom. */
import type { Extractor, Lane } from './contracts/index.ts';
import { createDatabaseClock } from './db/database-clock.ts';
import { type Shared, webhookSealer } from './deps-shared.ts';
import { createSandboxedExtractor } from './ingest/sandbox.ts';
import { newTraceId, runAs } from './kernel/context.ts';
import type { Service } from './kernel/service.ts';
import type { Turns } from './kernel/turns.ts';
import type { Part } from './lifecycle.ts';
import type { Poison } from './queue/deliveries.ts';
import { createDispatcher } from './queue/dispatcher.ts';
import { createDomainEventStream } from './queue/domain-event-stream.ts';
import { createReconciler } from './queue/reconciler.ts';
import { createQueueStats } from './queue/stats.ts';
import { createForgetting } from './redis/forget.ts';
import { createAnswering } from './services/answering.ts';
import { createCounterCheck } from './services/counter-check.ts';
import { createEmbeddedFiles } from './services/embedded-files.ts';
import { createErasing } from './services/erasing.ts';
import { createIngestion } from './services/ingestion.ts';
import { createKeptTextsSweep } from './services/kept-texts.ts';
import { createLexicalCompactor } from './services/lexical-compactor.ts';
import { createOutboxRelay } from './services/outbox-relay.ts';
import { createQuotaStats } from './services/quota-stats.ts';
import { createSpaceBuilder } from './services/spaces-build.ts';
import { createStatisticsSweep } from './services/statistics.ts';
import { createSyncs } from './services/sync.ts';
import { createTenantCounts } from './services/tenant-counts.ts';
import { createUploads } from './services/uploads.ts';
import { createUsageRollUp } from './services/usage-rollup.ts';
import { createVectorTiers } from './services/vector-tiers.ts';
import { createWebhookRequests } from './services/webhook-request.ts';
import { createWebhookSender } from './services/webhook-sender.ts';
import { createCancelListener, createLaneHandler } from './workers/lanes.ts';
import { createBurial, createTenantActors } from './workers/tenants.ts';

/** Turns at once in this process, and of one tenant: they wait for the provider, not for us. */
const CHAT_CONCURRENCY = 64;
const CHAT_TENANT_CONCURRENCY = 32;
/** The row's lease ends before its stream entry is reclaimed, so whoever reclaims it can begin at once. */
const LEASE_SHARE = 0.8;
/** For how long a handed-out job may be in no stream and no worker's hands before it is handed out again. */
const REPAIR_GRACE_MS = 10_000;
const DRAIN_MS = 10_000;
const EMBEDDED_SEGMENT_CHUNKS = 2_048;
const WORKER_STOP_MS = 12_000;

/** What works in the background: the queue's lanes with their actors, and everything that keeps itself going. */
export function createWorkerSide(
  {
    env,
    chats,
    summaries,
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
    meter,
    budgets,
    accepting,
    documents,
  }: Shared,
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
  const reading = { blobs, extractor, chunker, pipeline, meter };
  const builder = createSpaceBuilder({ database, spaces, ...reading, clock, ids, logger, metrics });
  const { maxUploadBytes, malware } = accepting;
  const inside = { database, blobs, documents, malware, feeder, announcer, ids, maxUploadBytes };
  const embedded = createEmbeddedFiles(inside);
  const ingestion = createIngestion({
    database,
    ...reading,
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
    budgets,
  });
  const answering = createAnswering({
    database,
    search,
    chats,
    summaries,
    publisher,
    announcer,
    clock,
    random,
    logger,
    metrics,
    meter,
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
      producer,
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
    createTenantCounts({ database, announcer, clock, logger }),
    createQuotaStats({ database, limits: accepting.limits, metrics, clock, logger }),
    createUsageRollUp({ database, clock, logger }),
    createStatisticsSweep({ database, clock, logger }),
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
    createKeptTextsSweep({ database, blobs, clock, logger }),
    createErasing({ database, blobs, forgetting: createForgetting({ clients, keys }), control, clock, logger }),
    createSyncs({
      database,
      blobs,
      uploads: createUploads(accepting),
      documents,
      clock,
      logger,
      maxUploadBytes,
      ...pulling,
    }),
    createWebhookSender({
      database,
      requests,
      sealer,
      clock: createDatabaseClock({ database, clock }),
      random,
      logger,
    }),
    createOutboxRelay({ database, stream: createDomainEventStream({ clients, keys }), clock, ids, logger }),
    dispatcher('ingest'),
    dispatcher('chat'),
    drain,
  ];
}
