/**
 * The effects of the upload pipeline: what each of its states does. An attempt's work is kept here, under the attempt
 * that the machine carries; every write checks the attempt's fencing number, so a step that a slow or cut-off attempt
 * repeats changes nothing.
 */
import type { Step } from '../../actors/attempt.ts';
import { effect, type Scoped } from '../../actors/effect.ts';
import type { IngestAttempt } from '../../actors/upload-pipeline.ts';
import { uploadPipeline } from '../../actors/upload-pipeline.ts';
import type { BlobStore, Chunker, EmbeddedFile, Extractor, Job } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { ExtractError } from '../ingest/extract-error.ts';
import { textPieces } from '../ingest/text-pieces.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { type Outcome, superseded } from '../kernel/outcome.ts';
import { breathe, type Turns } from '../kernel/turns.ts';
import { renewLease } from '../repositories/attempts.ts';
import { deleteVersion, writtenChunks } from '../repositories/chunks.ts';
import { knownEmbeddings } from '../repositories/chunks-write.ts';
import { appendTaskLog } from '../repositories/tasks.ts';
import { originalKey, textKey } from '../storage/blob-keys.ts';
import type { Announcer } from './announcer.ts';
import { createBatchEmbedder } from './batch-embedder.ts';
import type { Budgets } from './budgets.ts';
import { createChunkPlan } from './chunk-plan.ts';
import { type DocumentText, storeText } from './document-text.ts';
import type { EmbeddedFiles } from './embedded-files.ts';
import { createIngestionAnnouncements } from './ingestion-announcements.ts';
import { createIngestionEndings } from './ingestion-endings.ts';
import { createIngestionPublication } from './ingestion-publication.ts';
import { createIngestionTogether } from './ingestion-together.ts';
import { chunkingOf, keyOf, noteBought, Superseded, type Work } from './ingestion-work.ts';
import { createIngestionWrites, MAX_BATCH, STAGE_PROGRESS, stageOf } from './ingestion-writes.ts';
import { keepLease } from './lease.ts';
import type { Spaces } from './spaces.ts';
import type { SpaceBuilder } from './spaces-build.ts';
import type { UsageMeter } from './usage-meter.ts';

export interface IngestionOptions {
  database: Database;
  blobs: BlobStore;
  extractor: Extractor;
  chunker: Chunker;
  /** What reads and cuts here (`pipelineVersion`): recorded with each version. */
  pipeline: string;
  spaces: Pick<Spaces, 'current' | 'written'>;
  /** Writes a version into the spaces beside the active one before it is published. */
  alsoWrite: SpaceBuilder['alsoWrite'];
  /** Files inside of documents. */
  embedded: EmbeddedFiles;
  announcer: Announcer;
  clock: Clock;
  ids: Ids;
  random: () => number;
  logger: Logger;
  metrics: Metrics;
  maxAttempts: number;
  /** How long an attempt owns its task without a sign of life. */
  leaseMs: number;
  /** Every step is one turn of its tenant. */
  turns: Pick<Turns, 'take'>;
  meter: Pick<UsageMeter, 'embedded'>;
  budgets: Pick<Budgets, 'admitBatch'>;
}

/** Milliseconds of a stage after which whoever asks for the task is told of it; who listens is told at once. */
const STAGE_LASTS_MS = 500;

export function createIngestion(options: IngestionOptions) {
  const { database, blobs, spaces, announcer, clock, ids, logger, metrics, leaseMs, turns } = options;
  const works = new WeakMap<IngestAttempt, Work>();
  const embedChunks = createBatchEmbedder({ database, ids, metrics });
  const announcements = createIngestionAnnouncements({ database, announcer });
  const { announceProgress, announceEnd } = announcements;
  const writes = createIngestionWrites({ database, announcements });
  const { recordStage, announceStage, writeChunks } = writes;
  const firstProgress = STAGE_PROGRESS.extracting;
  const together = createIngestionTogether({ database, clock, leaseMs, firstProgress });
  const { publish, forgetTextOfDeleted } = createIngestionPublication({ ...options, announcements, writes });

  function workOf(attempt: IngestAttempt): Work {
    const work = works.get(attempt);
    if (!work) throw new Error('an attempt that did not begin here');
    return work;
  }

  async function begin(taskId: string): Promise<Work | Outcome> {
    const begun = await together.begin(taskId);
    if (!begun) {
      await announceEnd(taskId);
      return superseded;
    }
    const work: Work = {
      attempt: begun.attempt.attempt,
      taskId,
      begun: begun.attempt,
      document: begun.document,
      structure: { headings: [], pages: [] },
      text: undefined,
      plan: createChunkPlan(),
      children: [],
      written: 0,
      space: undefined,
      embeds: false,
      held: undefined,
      bought: [],
    };
    works.set(work, work);
    return work;
  }

  async function extract(work: Work, signal: AbortSignal): Promise<void> {
    // Recorded as the attempt began.
    await announceStage(work, 'extracting');
    const stop = metrics.taskSeconds.startTimer({ stage: 'extracting' });
    const file = await blobs.asFile(originalKey(work.document.original));
    try {
      const { media_type: mediaType, filename } = work.document;
      const extracted = await options.extractor.extractFile({ path: file.path, mediaType, filename }, signal);
      try {
        const { headings, pages, chars } = extracted;
        work.structure = { headings, pages };
        // What offsets count in; of this version alone, so an older one stays readable until this is published.
        const key = textKey(work.document.id, work.begun.document_version);
        work.text = await storeText(blobs, key, textPieces(extracted), { chars, signal });
        await keepFiles(work, extracted.files, signal);
      } finally {
        await extracted.release();
      }
    } finally {
      await file.release();
      stop();
    }
  }

  async function keepFiles(work: Work, files: readonly EmbeddedFile[], signal: AbortSignal): Promise<void> {
    const { children, refused } = await options.embedded.keep(work.document, files, signal);
    work.children = children;
    if (refused.length === 0) return;
    await database.tenant(async (sql) => {
      for (const { filename, reason } of refused) {
        const message = `The file ${filename} inside of it was not taken in: ${reason}`;
        await appendTaskLog(sql, work.taskId, { attempt: work.attempt, level: 'warn', message });
      }
    });
  }

  async function chunk(work: Work, signal: AbortSignal): Promise<void> {
    await announceStage(work, 'chunking');
    if (!work.text) throw new Error('chunking came before extracting');
    const stop = metrics.taskSeconds.startTimer({ stage: 'chunking' });
    const stream = await options.chunker.stream(work.structure, chunkingOf(work, options.chunker));
    const plan = createChunkPlan();
    let lasts = clock.now() + STAGE_LASTS_MS;
    for await (const piece of work.text.pieces()) {
      for (const made of stream.push(piece)) plan.add(made);
      await breathe();
      signal.throwIfAborted();
      if (clock.now() < lasts) continue;
      lasts = Number.POSITIVE_INFINITY;
      await database.tenant((sql) => recordStage(sql, work, 'chunking'));
    }
    for (const made of stream.end()) plan.add(made);
    work.plan = plan;
    stop();
    if (work.plan.size === 0) throw new ExtractError('empty', 'The document has no text.');
    // A version is one task's: its first attempt finds nothing of an earlier one.
    if (work.attempt > 1) await resume(work, work.text);
  }

  /**
   * Goes on behind the chunks that an earlier attempt has bought and written, and records that embedding goes on. Rows
   * that this text would not give are thrown away.
   */
  async function resume(work: Work, text: DocumentText): Promise<void> {
    const { id } = work.document;
    const version = work.begun.document_version;
    const { count, lastText } = await database.tenant((sql) => writtenChunks(sql, id, version));
    if (count === 0) return;
    const [last] = await work.plan.read(text, count - 1, count);
    work.written = last?.text === lastText ? count : 0;
    await database.tenant(async (sql) => {
      await recordStage(sql, work, 'embedding');
      if (work.written === 0) await deleteVersion(sql, id, version);
    });
    work.embeds = true;
    await announceStage(work, 'embedding');
  }

  /** Whose vectors need not be bought. The first batch records with it that embedding begins, before anything is bought. */
  async function lookUp(work: Work, spaceId: number, keys: readonly string[]) {
    if (work.embeds) return database.tenant((sql) => knownEmbeddings(sql, spaceId, keys));
    const { taskId: id, attempt } = work;
    const known = await together.lookUp({ id, attempt, update: stageOf(work, 'embedding'), spaceId, keys });
    if (!known) throw new Superseded();
    work.embeds = true;
    await announceStage(work, 'embedding');
    return known;
  }

  async function embedBatch(work: Work, signal: AbortSignal): Promise<{ done: number; total: number }> {
    const total = work.plan.size;
    const space = await spaces.current();
    const size = Math.min(MAX_BATCH, space.embeddings.maxBatch);
    if (!work.text) throw new Error('embedding came before extracting');
    const batch = await work.plan.read(work.text, work.written, work.written + size);
    if (batch.length === 0) return { done: work.written, total };
    const stop = metrics.taskSeconds.startTimer({ stage: 'embedding' });
    const first = work.written;
    const tokens = batch.reduce((sum, chunk) => sum + chunk.tokens, 0);
    await options.budgets.admitBatch(work.taskId, { model: space.embeddings.model, tokens });
    const rows = await embedChunks(
      space,
      batch,
      signal,
      (id, keys) => lookUp(work, id, keys),
      (bought) => noteBought(work, first, bought),
    );
    const written = work.written + batch.length;
    work.space = work.written === 0 || work.space?.id === space.id ? space : undefined;
    if (batch.length === total) {
      work.held = rows;
      work.written = written;
      stop();
      return { done: written, total };
    }
    const update = stageOf({ ...work, written }, 'embedding');
    await database.tenant((sql) =>
      writeChunks(sql, work, space, rows, async () => {
        await recordStage(sql, work, 'embedding', update);
        await options.meter.embedded(sql, work.bought);
        return true;
      }),
    );
    work.bought = [];
    work.written = written;
    stop();
    await announceProgress(work, update);
    return { done: work.written, total };
  }

  const { fail, finishFailed, cancel, release } = createIngestionEndings({
    ...options,
    announcements,
    workOf,
    forgetTextOfDeleted,
  });

  /** A step as one turn; another follows after all but the last. */
  const inTurn = <T>(run: (work: Work, signal: AbortSignal) => Promise<T>, { more } = { more: true }) =>
    effect(({ attempt }: Step, signal) => turns.take(() => run(workOf(attempt), signal), { signal, more }));

  const machine = uploadPipeline.provide({
    actors: {
      begin: effect<Scoped & { job: Job }, IngestAttempt | Outcome>(({ job }, signal) =>
        turns.take(() => begin(job.id), { signal, more: true }),
      ),
      keepLease: effect(({ attempt }, signal) => {
        const work = workOf(attempt);
        const renew = () => database.tenant((sql) => renewLease(sql, keyOf(work), leaseMs));
        return keepLease({ renew, leaseMs, clock, logger, signal });
      }),
      extract: inTurn(extract),
      chunk: inTurn(chunk),
      embedBatch: inTurn(embedBatch),
      publish: inTurn(publish, { more: false }),
      fail: effect(fail),
      cancel: effect(({ attempt }) => cancel(workOf(attempt))),
      release: effect(({ attempt }) => release(workOf(attempt))),
    },
  });

  /** Ends a task that no attempt can begin: its stream entry is poison. */
  async function bury(taskId: string, message: string): Promise<void> {
    const begun = await begin(taskId);
    if (!('attempt' in begun)) return;
    await finishFailed(begun, 'dead', { code: 'internal', message });
  }

  return { machine, bury };
}

export type Ingestion = ReturnType<typeof createIngestion>;
