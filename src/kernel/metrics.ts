/** What this process tells Prometheus. Tenants are never labels by themselves: their number is not bounded. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const SECONDS = [0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300];
const MILLISECONDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000];

/**
 * The spaces of V8's heap, which this runtime does not have: to make them up it counts all of its objects, and stands still
 * for that at each reading (0.1 s with 400,000 of them).
 */
const HEAP_SPACES = ['total', 'used', 'available'];

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const registry = new Registry();
  registry.setDefaultLabels({ service: 'dreamhub' });
  collectDefaultMetrics({ register: registry });
  for (const measured of HEAP_SPACES) registry.removeSingleMetric(`nodejs_heap_space_size_${measured}_bytes`);
  const registers = [registry];
  const name = (suffix: string) => `dreamhub_${suffix}`;
  return {
    registry,
    queueLength: new Gauge({ name: name('queue_length'), help: 'Unfinished jobs.', labelNames: ['queue'], registers }),
    queueOldestSeconds: new Gauge({
      name: name('queue_oldest_seconds'),
      help: 'Age of the oldest queued job.',
      labelNames: ['queue'],
      registers,
    }),
    queueRefusals: new Counter({
      name: name('queue_refusals_total'),
      help: 'Uploads refused because the queue was full.',
      registers,
    }),
    queueCounterDrift: new Gauge({
      name: name('queue_counter_drift'),
      help: 'By how much the counters of admission differed from their rows when they were last checked, and were repaired.',
      labelNames: ['unit'],
      registers,
    }),
    workersBusy: new Gauge({ name: name('workers_busy'), help: 'Jobs running in this process.', registers }),
    tasks: new Counter({
      name: name('task_total'),
      help: 'Ended tasks and turns.',
      labelNames: ['kind', 'status'],
      registers,
    }),
    taskSeconds: new Histogram({
      name: name('task_seconds'),
      help: 'Time of a pipeline stage.',
      labelNames: ['stage'],
      buckets: SECONDS,
      registers,
    }),
    turnWaitSeconds: new Histogram({
      name: name('turn_wait_seconds'),
      help: 'Time that a step of background work waited for its turn among the tenants, by lane: ingest, background.',
      labelNames: ['lane'],
      buckets: SECONDS,
      registers,
    }),
    embeddingSeconds: new Histogram({
      name: name('embedding_seconds'),
      help: 'Time of one embedding request.',
      buckets: SECONDS,
      registers,
    }),
    searchLatencyMs: new Histogram({
      name: name('search_latency_ms'),
      help: 'Time of one search.',
      labelNames: ['mode'],
      buckets: MILLISECONDS,
      registers,
    }),
    rerankFailures: new Counter({
      name: name('rerank_failures_total'),
      help: 'Searches that were answered without the reranker that they asked for.',
      registers,
    }),
    citationsDropped: new Counter({
      name: name('citations_dropped_total'),
      help: 'Citations taken out of answers because they pointed nowhere.',
      registers,
    }),
    citationsUnverified: new Counter({
      name: name('citations_unverified_total'),
      help: 'Sources of answers whose quote did not stand in the stored chunk.',
      registers,
    }),
    cacheRequests: new Counter({
      name: name('cache_requests_total'),
      help: 'Look-ups in the caches of retrieval; the share of hits is their hit rate.',
      labelNames: ['cache', 'result'],
      registers,
    }),
    providerRequests: new Counter({
      name: name('openai_req_total'),
      help: 'Requests to model providers; key is its number, never its text.',
      labelNames: ['key', 'status'],
      registers,
    }),
    providerErrorRate: new Gauge({
      name: name('openai_error_rate'),
      help: 'Share of failed provider requests over the last minute.',
      registers,
    }),
    providerTokens: new Counter({
      name: name('openai_tokens_total'),
      help: 'Tokens bought.',
      labelNames: ['kind', 'model'],
      registers,
    }),
    malwareScans: new Counter({
      name: name('malware_scans_total'),
      help: 'Uploads scanned, by what came of it: clean, found, too_large, failed.',
      labelNames: ['result'],
      registers,
    }),
    quotaUsedPct: new Gauge({
      name: name('quota_used_pct'),
      help: 'Share of an allowance that is used, 0 to 100. Of a key: of the requests or tokens that the provider lets it have, as its last answer said. Of a tenant: of what bounds it, what is nearest to its end.',
      labelNames: ['scope', 'name'],
      registers,
    }),
    providerWaitSeconds: new Histogram({
      name: name('openai_limit_wait_seconds'),
      help: "Time that requests to model providers were kept back because the key's allowance was used up.",
      labelNames: ['key', 'kind'],
      buckets: SECONDS,
      registers,
    }),
    wsConnections: new Gauge({ name: name('ws_connections'), help: 'Open WebSocket connections.', registers }),
    wsFrames: new Counter({ name: name('ws_frames_total'), help: 'Frames.', labelNames: ['direction'], registers }),
    wsOutboxBytes: new Gauge({
      name: name('ws_outbox_bytes'),
      help: 'Bytes waiting in the outboxes of sockets.',
      registers,
    }),
    tokenLatencyMs: new Histogram({
      name: name('token_latency_ms'),
      help: 'From a token written to its log to the frame sent.',
      buckets: MILLISECONDS,
      registers,
    }),
    deadLetters: new Gauge({
      name: name('dead_letters_total'),
      help: 'Tasks whose attempts ran out and that nobody has dealt with.',
      registers,
    }),
  };
}
