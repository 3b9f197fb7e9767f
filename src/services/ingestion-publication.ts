/**
 * Publication of a version: in one transaction its document shows it, its task ends and its event leaves, beside those of
 * other attempts where they are short. What a small document holds is written by the same transaction.
 */
import type { BlobStore, Chunker, TaskResource } from '../contracts/index.ts';
import type { Database, SharedTransaction, Sql } from '../db/database.ts';
import { createGroupCommit, type Member, withinScopes } from '../db/group-commit.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { done, type Outcome, superseded } from '../kernel/outcome.ts';
import { deleteOtherVersions } from '../repositories/chunks.ts';
import { insertOwnVersions } from '../repositories/chunks-together.ts';
import { getDocumentWork } from '../repositories/documents.ts';
import { FIRST_VERSION, publishVersion, type ReplacedVersion } from '../repositories/documents-versions.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import { type FirstPublication, publishFirstVersions } from '../repositories/publications.ts';
import { type OwnAttempt, succeedAttempts } from '../repositories/task-attempts.ts';
import { appendTaskLog, recordProgress } from '../repositories/tasks.ts';
import { originalKey, textKey } from '../storage/blob-keys.ts';
import type { Announcer } from './announcer.ts';
import type { Child, EmbeddedFiles } from './embedded-files.ts';
import type { IngestionAnnouncements } from './ingestion-announcements.ts';
import { chunkingOf, namesOf, type Work } from './ingestion-work.ts';
import { type IngestionWrites, MAX_BATCH, stageOf } from './ingestion-writes.ts';
import type { Spaces } from './spaces.ts';
import type { SpaceBuilder } from './spaces-build.ts';
import type { UsageMeter } from './usage-meter.ts';

export interface IngestionPublicationOptions {
  database: Database;
  blobs: Pick<BlobStore, 'remove'>;
  chunker: Pick<Chunker, 'defaults'>;
  /** What reads and cuts here: recorded with each version. */
  pipeline: string;
  spaces: Pick<Spaces, 'written'>;
  /** Writes a version into the spaces beside the active one before it is published. */
  alsoWrite: SpaceBuilder['alsoWrite'];
  embedded: EmbeddedFiles;
  announcer: Announcer;
  announcements: Pick<IngestionAnnouncements, 'announceTask'>;
  writes: IngestionWrites;
  meter: Pick<UsageMeter, 'embedded'>;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

/** Publications that share a transaction: meanwhile none of their leases can be renewed. */
const MAX_PUBLISHED_TOGETHER = 8;
/** Chunks of one of them that are parameters of a statement: more are copied, where the server can. */
const MAX_WRITTEN_TOGETHER = { copies: 4, embedded: 32 };

interface Publication extends OwnAttempt {
  readonly work: Work;
}

type Published = { replaced: ReplacedVersion; accepted: Child[]; task: TaskResource | undefined };

const publishedMessage = (chunks: number) => `Published ${chunks} chunks.`;

const pagesOf = ({ structure }: Work) => (structure.pages.length > 0 ? structure.pages.length : null);

export function createIngestionPublication(options: IngestionPublicationOptions) {
  const { database, blobs, spaces, announcer, meter, clock, logger, metrics } = options;
  const mostWritten = MAX_WRITTEN_TOGETHER[database.copies ? 'copies' : 'embedded'];
  const { announceTask } = options.announcements;
  const { recordStage, announceStage, writeChunks } = options.writes;

  /** Records that publishing begins, for readers of the task and of its topic alike, and writes what is held. */
  async function enter(work: Work): Promise<void> {
    const { held, space } = work;
    await database.tenant(async (sql) => {
      const record = async () => {
        await recordStage(sql, work, 'publishing');
        await meter.embedded(sql, work.bought);
        return true;
      };
      if (held && space) await writeChunks(sql, work, space, held, record);
      else await record();
    });
    work.held = undefined;
    work.bought = [];
    await announceStage(work, 'publishing');
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
      chunking: chunkingOf(work, options.chunker),
      wish: work.begun.chunking,
      pipeline: options.pipeline,
    });
    const accepted = await options.embedded.accept(sql, work.document, work.children);
    const message = publishedMessage(chunks);
    // Sent together: none of them needs what another one answers.
    await Promise.all([
      number === FIRST_VERSION ? undefined : deleteOtherVersions(sql, id, number),
      appendOutbox(sql, 'document.ready', { ...namesOf(work), pages, chunks }),
      appendTaskLog(sql, work.taskId, { attempt: work.attempt, level: 'info', message }),
      meter.embedded(sql, work.bought),
    ]);
    return { replaced, accepted, task };
  }

  /** The part of several documents of one scope that replace nothing and bring nothing more, each with its chunks. */
  async function publishFirst(sql: Sql, publications: readonly Publication[]): Promise<(Published | undefined)[]> {
    const published = new Map<Publication, Published | undefined>();
    for (const [spaceId, own] of Map.groupBy(publications, ({ work }) => work.space?.id ?? null)) {
      const tasks = await insertOwnVersions(sql, spaceId, own.map(versionOf));
      const replaced = { original: null, versions: [] };
      for (const [at, task] of tasks.entries())
        if (own[at]) published.set(own[at], task && { replaced, accepted: [], task });
    }
    const works = publications.filter((one) => published.get(one)).map(({ work }) => work);
    if (works.length > 0) {
      await Promise.all([
        publishFirstVersions(sql, options.pipeline, works.map(firstPublicationOf)),
        meter.embedded(
          sql,
          works.flatMap(({ bought }) => bought),
        ),
      ]);
    }
    return publications.map((one) => published.get(one));
  }

  const versionOf = ({ id, attempt, work }: Publication) => ({
    id,
    attempt,
    update: stageOf(work, 'publishing'),
    documentId: work.document.id,
    version: work.begun.document_version,
    privateTo: work.document.private_to,
    chunks: work.held ?? [],
  });

  function firstPublicationOf(work: Work): FirstPublication {
    const { taskId, attempt, plan, begun } = work;
    const [pages, chunks] = [pagesOf(work), plan.size];
    return {
      taskId,
      attempt,
      pages,
      chunks,
      chunking: chunkingOf(work, options.chunker),
      wish: begun.chunking,
      event: { ...namesOf(work), pages, chunks },
      message: publishedMessage(chunks),
    };
  }

  /** It replaces nothing and brings nothing, and what is to be written of it needs no table to be copied to. */
  const isFirst = ({ work: { begun, children, held } }: Publication) =>
    begun.document_version === FIRST_VERSION && children.length === 0 && (held?.length ?? 0) <= mostWritten;

  async function publishScope(sql: Sql, publications: readonly Publication[]): Promise<(Published | undefined)[]> {
    const [first, others] = [publications.filter(isFirst), publications.filter((one) => !isFirst(one))];
    const published = new Map<Publication, Published | undefined>();
    const firsts = first.length > 0 ? await publishFirst(sql, first) : [];
    for (const [place, one] of first.entries()) published.set(one, firsts[place]);
    for (const one of others) published.set(one, await publishDocument(sql, one));
    return publications.map((one) => published.get(one));
  }

  async function publishAll(shared: SharedTransaction, members: readonly Member<Publication>[]) {
    const published = await withinScopes(shared, members, publishScope);
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
    const isShort = plan.size <= (held ? mostWritten : MAX_BATCH);
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
    else await enter(work);
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

  return { publish, forgetTextOfDeleted };
}
