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
import type { Database, SharedTransaction, Sql } from '../db/database.ts';
import { createGroupCommit, type Member } from '../db/group-commit.ts';
import { ExtractError } from '../ingest/extract-error.ts';
import { textPieces } from '../ingest/text-pieces.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { done, type Outcome, superseded } from '../kernel/outcome.ts';
import { breathe, type Turns } from '../kernel/turns.ts';
import { renewLease } from '../repositories/attempts.ts';
import { deleteOtherVersions, deleteVersion, writtenChunks } from '../repositories/chunks.ts';
import { type IndexedChunk, insertChunks, knownEmbeddings } from '../repositories/chunks-write.ts';
import {
  type DocumentWork,
  FIRST_VERSION,
  getDocumentWork,
  publishVersion,
  type ReplacedVersion,
} from '../repositories/documents.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import { beginAttempts, type OwnAttempt, openDocument, succeedAttempts } from '../repositories/task-attempts.ts';
import { type Attempt, appendTaskLog, recordProgress } from '../repositories/tasks.ts';
import { originalKey, textKey } from '../storage/blob-keys.ts';
import type { Announcer } from './announcer.ts';
import { createBatchEmbedder } from './batch-embedder.ts';
import { createChunkPlan } from './chunk-plan.ts';
import { type DocumentText, storeText } from './document-text.ts';
import type { EmbeddedFiles } from './embedded-files.ts';
import { createIngestionAnnouncements } from './ingestion-announcements.ts';
import { createIngestionEndings } from './ingestion-endings.ts';
import { keyOf, namesOf, Superseded, type Work } from './ingestion-work.ts';
import { keepLease } from './lease.ts';
import type { OpenSpace, Spaces } from './spaces.ts';
import type { SpaceBuilder } from './spaces-build.ts';

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
}

/** The most chunks of one batch: what a crash may buy twice. */
const MAX_BATCH = 128;
/** How far a task is when a stage begins; embedding moves through the span up to publishing. */
const STAGE_PROGRESS = { extracting: 0.05, chunking: 0.15, embedding: 0.2, publishing: 0.95 } as const;
type Stage = keyof typeof STAGE_PROGRESS;

/** Milliseconds of a stage after which whoever asks for the task is told of it; who listens is told at once. */
const STAGE_LASTS_MS = 500;

/** Publications that share a transaction: each has some statements, and meanwhile none of their leases can be renewed. */
const MAX_PUBLISHED_TOGETHER = 4;
/** Chunks of one of them that it writes in that transaction, where there is no COPY: in the embedded database. */
const MAX_WRITTEN_TOGETHER = 32;

interface Publication extends OwnAttempt {
  readonly work: Work;
}

const pagesOf = ({ structure }: Work) => (structure.pages.length > 0 ? structure.pages.length : null);

export function createIngestion(options: IngestionOptions) {
  const { database, blobs, spaces, announcer, clock, ids, logger, metrics, leaseMs, turns } = options;
  const works = new WeakMap<IngestAttempt, Work>();
  const embedChunks = createBatchEmbedder({ database, ids, metrics });
  const announcements = createIngestionAnnouncements({ database, announcer });
  const { announceTask, announceProgress, announceEnd } = announcements;

  function workOf(attempt: IngestAttempt): Work {
    const work = works.get(attempt);
    if (!work) throw new Error('an attempt that did not begin here');
    return work;
  }

  /** As its uploader asked for, else as everybody's. */
  const chunkingOf = (work: Work) => work.begun.chunking ?? options.chunker.defaults;

  /** Records that a stage begins, for readers of the task and of its topic alike, and writes what is held. */
  async function enter(work: Work, stage: Stage): Promise<void> {
    const { held, space } = work;
    await database.tenant(async (sql) => {
      const record = async () => {
        await recordStage(sql, work, stage);
        return true;
      };
      if (held && space) await writeChunks(sql, work, space, held, record);
      else await record();
    });
    work.held = undefined;
    await announceStage(work, stage);
  }

  function stageOf(work: Work, stage: Stage) {
    const chunksTotal = work.plan.size > 0 ? work.plan.size : null;
    const progress = stage === 'embedding' ? embeddingProgress(work) : STAGE_PROGRESS[stage];
    return { stage, progress, chunksDone: work.written, chunksTotal };
  }

  /** Whatever is written of an attempt comes after this in one transaction: a newer attempt begins after it, or fails it. */
  async function recordStage(sql: Sql, work: Work, stage: Stage, update = stageOf(work, stage)): Promise<void> {
    if (!(await recordProgress(sql, work.taskId, work.attempt, update))) throw new Superseded();
  }

  const announceStage = (work: Work, stage: Stage) => announceProgress(work, stageOf(work, stage));

  function embeddingProgress(work: Work): number {
    const share = work.plan.size === 0 ? 1 : work.written / work.plan.size;
    return STAGE_PROGRESS.embedding + share * (STAGE_PROGRESS.publishing - STAGE_PROGRESS.embedding);
  }

  /** Attempts that begin at about the same time take their fencing numbers in one transaction. */
  const beginTogether = createGroupCommit<{ id: string }, { attempt: Attempt; document: DocumentWork }>({
    database,
    clock,
    async run(shared, members) {
      const how = { leaseMs, progress: STAGE_PROGRESS.extracting };
      const attempts = await shared.system((sql) => beginAttempts(sql, members, how));
      return Promise.all(
        members.map(async ({ scope, item }, place) => {
          const attempt = attempts[place];
          const document = attempt && (await shared.within(scope, (sql) => openDocument(sql, item.id, attempt)));
          return document && { attempt, document };
        }),
      );
    },
  });

  async function begin(taskId: string): Promise<Work | Outcome> {
    const begun = await beginTogether({ id: taskId });
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
    const stream = await options.chunker.stream(work.structure, chunkingOf(work));
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
    const isFirst = !work.embeds;
    const known = await database.tenant(async (sql) => {
      const recorded = isFirst ? recordStage(sql, work, 'embedding') : undefined;
      const [found] = await Promise.all([knownEmbeddings(sql, spaceId, keys), recorded]);
      return found;
    });
    if (isFirst) {
      work.embeds = true;
      await announceStage(work, 'embedding');
    }
    return known;
  }

  /** Writes a batch of the version, in the caller's transaction, if `hold` holds the task. */
  const writeChunks = (
    sql: Sql,
    work: Work,
    space: OpenSpace,
    rows: readonly IndexedChunk[],
    hold: () => Promise<boolean>,
  ) =>
    insertChunks(
      sql,
      {
        documentId: work.document.id,
        version: work.begun.document_version,
        privateTo: work.document.private_to,
        spaceId: space.id,
      },
      rows,
      database.copies,
      hold,
    );

  async function embedBatch(work: Work, signal: AbortSignal): Promise<{ done: number; total: number }> {
    const total = work.plan.size;
    const space = await spaces.current();
    const size = Math.min(MAX_BATCH, space.embeddings.maxBatch);
    if (!work.text) throw new Error('embedding came before extracting');
    const batch = await work.plan.read(work.text, work.written, work.written + size);
    if (batch.length === 0) return { done: work.written, total };
    const stop = metrics.taskSeconds.startTimer({ stage: 'embedding' });
    const rows = await embedChunks(space, batch, signal, (id, keys) => lookUp(work, id, keys));
    const written = work.written + batch.length;
    work.space = work.written === 0 || work.space?.id === space.id ? space : undefined;
    if (batch.length === total) {
      work.held = rows;
      work.written = written;
      stop();
      return { done: written, total };
    }
    const update = {
      stage: 'embedding' as const,
      progress: embeddingProgress({ ...work, written }),
      chunksDone: written,
      chunksTotal: total,
    };
    await database.tenant((sql) =>
      writeChunks(sql, work, space, rows, async () => {
        await recordStage(sql, work, 'embedding', update);
        return true;
      }),
    );
    work.written = written;
    stop();
    await announceProgress(work, update);
    return { done: work.written, total };
  }

  /** The document's part of its publication; undefined where another attempt owns the task by now. */
  async function publishDocument(sql: Sql, { work, id: taskId, attempt }: Publication) {
    let task: Awaited<ReturnType<typeof recordProgress>>;
    const hold = async () => {
      task = await recordProgress(sql, taskId, attempt, stageOf(work, 'publishing'));
      return task !== undefined;
    };
    const isOwn = work.held && work.space ? await writeChunks(sql, work, work.space, work.held, hold) : await hold();
    if (!isOwn) return undefined;
    const { id } = work.document;
    const { size: chunks } = work.plan;
    const pages = pagesOf(work);
    const number = work.begun.document_version;
    const replaced = await publishVersion(sql, id, {
      number,
      pages,
      chunks,
      chunking: chunkingOf(work),
      wish: work.begun.chunking,
      pipeline: options.pipeline,
    });
    const accepted = await options.embedded.accept(sql, work.document, work.children);
    const message = `Published ${chunks} chunks.`;
    // Sent together: none of them needs what another one answers.
    await Promise.all([
      number === FIRST_VERSION ? undefined : deleteOtherVersions(sql, id, number),
      appendOutbox(sql, 'document.ready', { ...namesOf(work), pages, chunks }),
      appendTaskLog(sql, work.taskId, { attempt: work.attempt, level: 'info', message }),
    ]);
    return { replaced, accepted, task };
  }

  async function publishAll(shared: SharedTransaction, members: readonly Member<Publication>[]) {
    const published = await Promise.all(
      members.map(({ scope, item }) => shared.within(scope, (sql) => publishDocument(sql, item))),
    );
    const own = members.filter((_, place) => published[place]);
    // Last: every upload of their tenants waits for the counters until we commit.
    if (own.length > 0) await shared.system((sql) => succeedAttempts(sql, own));
    return published;
  }

  const publishTogether = createGroupCommit({
    database,
    clock,
    run: publishAll,
    most: MAX_PUBLISHED_TOGETHER,
    apart: true,
  });

  /**
   * What takes its time would make the others wait, what is copied must be at the server before anything is held, and what
   * brings more documents counts them first.
   */
  async function publishAmongOthers(publication: Publication) {
    const { plan, children, held } = publication.work;
    const most = held ? (database.copies ? 0 : MAX_WRITTEN_TOGETHER) : MAX_BATCH;
    const isShort = plan.size <= most;
    if (isShort && children.length === 0) return publishTogether(publication);
    const member = { item: publication, scope: currentScope() };
    const [published] = await database.together((shared) => publishAll(shared, [member]), { patient: true });
    return published;
  }

  async function publish(work: Work, signal: AbortSignal): Promise<Outcome> {
    const stop = metrics.taskSeconds.startTimer({ stage: 'publishing' });
    const { id } = work.document;
    const version = work.begun.document_version;
    const { space } = work;
    const isOnly = space !== undefined && (await spaces.written()).every((written) => written.id === space.id);
    if (work.held && isOnly) await announceStage(work, 'publishing');
    else await enter(work, 'publishing');
    if (!isOnly) await options.alsoWrite({ documentId: id, version }, signal);
    if (version !== FIRST_VERSION) await options.embedded.removeOthers(work.document, work.children);
    const published = await publishAmongOthers({ id: work.taskId, attempt: work.attempt, work });
    if (!published) {
      await forgetTextOfDeleted(work);
      return superseded;
    }
    await forgetReplaced(work, published.replaced);
    stop();
    metrics.tasks.inc({ kind: 'ingest', status: 'succeeded' });
    if (published.task)
      await announceTask(work, { ...published.task, status: 'succeeded', stage: 'done', progress: 1 });
    await options.embedded.announce(work.document, published.accepted);
    await announcer.hint('user', 'document.ready', {
      document_id: id,
      task_id: work.taskId,
      title: work.document.title,
    });
    return done;
  }

  /** Bytes and text of the version before go after the rows: a leftover blob harms nobody. */
  async function forgetReplaced({ document }: Work, { original, versions }: ReplacedVersion): Promise<void> {
    const keys = [
      ...(original === null ? [] : [originalKey(original)]),
      ...versions.map((version) => textKey(document.id, version)),
    ];
    for (const key of keys) {
      try {
        await blobs.remove(key);
      } catch (error) {
        logger.error({ err: error, key }, `a replaced version's blob stays: ${messageOf(error)}`);
      }
    }
  }

  /** A document that was deleted while it was read leaves no text behind. */
  async function forgetTextOfDeleted(work: Work): Promise<void> {
    const still = await database.tenant((sql) => getDocumentWork(sql, work.document.id));
    if (still) return;
    await blobs.remove(textKey(work.document.id, work.begun.document_version));
    await options.embedded.forget(work.children);
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
