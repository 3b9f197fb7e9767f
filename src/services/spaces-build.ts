/**
 * Fills the spaces that are written beside the active one: each publication writes to all of them (`alsoWrite`), and a loop
 * brings what was published before, or while a provider was away. A document is the checkpoint: its record in a space is
 * written when all of its vectors are, and within it each batch that was bought is there for good. So a builder that is
 * killed is gone on with at the next batch, and nothing is bought twice.
 *
 * A space of another pipeline gets chunks of its own: each document is cut anew beside its live version
 * (`spaces-recut.ts`), by a process whose pipeline it is. What cannot be read so is recorded, and keeps its chunks there too.
 */
import type { Database } from '../db/database.ts';
import { analyseSpace } from '../db/spaces-shards.ts';
import { ExtractError } from '../ingest/extract-error.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { claimSpace, endPhases, listMissing, type MissingDocument, releaseSpace } from '../repositories/spaces.ts';
import { dropVersion, forgetFailure, readChoice, recordFailure } from '../repositories/spaces-cuts.ts';
import {
  chunksWithoutVector,
  type DocumentVersion,
  insertVectors,
  recordWhole,
} from '../repositories/spaces-documents.ts';
import { textKey } from '../storage/blob-keys.ts';
import { createTextVectors, embeddedText } from './batch-embedder.ts';
import { keepLease } from './lease.ts';
import type { OpenSpace, Spaces } from './spaces.ts';
import { createSpaceClearing } from './spaces-clear.ts';
import { createRecut, type RecutOptions } from './spaces-recut.ts';
import type { Bought } from './usage-meter.ts';

export interface SpaceBuilder extends Service {
  /** Builds what is missing in every space that is written; returns how many documents became whole. */
  build(signal?: AbortSignal): Promise<number>;
  /** Ends phases whose time is over, and removes what retired spaces have left. */
  tidy(): Promise<void>;
  /**
   * Writes the vectors of a version into every space that is written and lacks them, before it is published, in the
   * ambient scope. Throws where the active one's cannot be had; the others' come later.
   */
  alsoWrite(document: Omit<DocumentVersion, 'spaceId'>, signal: AbortSignal): Promise<void>;
}

export interface SpaceBuilderOptions extends RecutOptions {
  database: Database;
  spaces: Spaces;
  /** What reads and cuts in this process (`pipelineVersion`). */
  pipeline: string;
  clock: Clock;
  ids: Ids;
  logger: Logger;
  metrics: Pick<Metrics, 'embeddingSeconds'>;
  everyMs?: number;
  leaseMs?: number;
}

/** Chunks of one request, and of one transaction: what a crash may buy twice. */
const MAX_BATCH = 64;
const DOCUMENTS_AT_ONCE = 100;
/** How long a space that is not written any more is kept, in hours. */
const KEEP_READ_ONLY_HOURS = 7 * 24;
/** What is not the document's fault for certain is tried so often before it keeps its chunks. */
const MOST_TRIES = 3;
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** What we stand on is away: no document's failure. */
const isElsewhere = (error: unknown) =>
  error instanceof AppError &&
  (error.kind === 'provider_unavailable' || error.kind === 'unavailable' || error.kind === 'quota_exceeded');

export function createSpaceBuilder(options: SpaceBuilderOptions): SpaceBuilder {
  const { database, spaces, pipeline, clock, ids, logger, metrics, everyMs = 5_000, leaseMs = 60_000 } = options;
  const recut = createRecut(options);
  const clear = createSpaceClearing(options);
  const vectorsOf = createTextVectors({ database, metrics });

  /** One batch of a version; false when there is nothing left. */
  async function writeBatch(space: OpenSpace, document: DocumentVersion, signal: AbortSignal): Promise<boolean> {
    const size = Math.min(MAX_BATCH, space.embeddings.maxBatch);
    const chunks = await database.tenant((sql) => chunksWithoutVector(sql, document, size));
    if (chunks.length === 0) return false;
    const texts = chunks.map((chunk) => ({ id: chunk.id, ...embeddedText(chunk) }));
    const bought: Bought[] = [];
    const vectors = await vectorsOf(space, texts, signal, undefined, (batch) => void bought.push(batch));
    const rows = texts.flatMap(({ id, hash, key }) => {
      const embedding = vectors.get(key);
      return embedding ? [{ chunkId: id, contentHash: hash, embedding }] : [];
    });
    // Of no task: written once because its transaction is.
    const usage = bought.map((batch) => ({ ...batch, sourceId: ids.uuid(), attempt: 0, part: 0 }));
    await database.tenant(async (sql) => {
      await insertVectors(sql, document, rows);
      await options.meter.embedded(sql, usage);
    });
    return true;
  }

  async function writeVersion(space: OpenSpace, document: DocumentVersion, signal: AbortSignal): Promise<void> {
    for (let more = true; more; ) {
      signal.throwIfAborted();
      more = await writeBatch(space, document, signal);
    }
  }

  /** Which version of a document the space shows, cut anew where it must be; undefined: none yet. */
  async function versionFor(
    space: OpenSpace,
    documentId: string,
    signal: AbortSignal,
  ): Promise<{ live: number; version: number } | undefined> {
    const choice = await database.tenant((sql) => readChoice(sql, documentId, space));
    if (!choice) return undefined;
    const { live, shown, finished, begun, givenUp } = choice;
    if (!spaces.isRecut(space)) return { live, version: shown ?? live };
    if (finished !== null) return { live, version: finished };
    if (givenUp) return { live, version: live };
    if (space.pipeline !== pipeline) return undefined;
    try {
      const version = await recut(space, { documentId, live, begun }, signal);
      if (version === undefined) return undefined;
      await database.tenant((sql) => forgetFailure(sql, documentId, space.id));
      return { live, version };
    } catch (error) {
      if (signal.aborted || isElsewhere(error)) throw error;
      const isFinal =
        error instanceof ExtractError && error.code !== 'parser_timeout' && error.code !== 'parser_crashed';
      const code = error instanceof ExtractError ? error.code : 'internal';
      const message = error instanceof ExtractError ? error.message : 'Something went wrong on our side.';
      logger.warn({ err: error, space_id: space.id, document_id: documentId }, `not cut anew: ${messageOf(error)}`);
      const failure = { documentId, spaceId: space.id, code, message };
      const givenUp = await database.tenant((sql) => recordFailure(sql, failure, isFinal ? 1 : MOST_TRIES));
      if (!givenUp) return undefined;
      await forgetBegun(space, documentId);
      return { live, version: live };
    }
  }

  async function forgetBegun(space: OpenSpace, documentId: string): Promise<void> {
    const begun = await database.tenant(async (sql) => {
      const choice = await readChoice(sql, documentId, space);
      const version = choice?.begun ?? undefined;
      if (version !== undefined) await dropVersion(sql, documentId, version);
      return version;
    });
    if (begun !== undefined) await options.blobs.remove(textKey(documentId, begun));
  }

  async function buildDocument(space: OpenSpace, missing: MissingDocument, signal: AbortSignal): Promise<boolean> {
    const scope = { tenantId: missing.tenantId, userId: missing.privateTo ?? NOBODY, traceId: newTraceId() };
    return runAs(scope, async () => {
      const chosen = await versionFor(space, missing.id, signal);
      if (!chosen) return false;
      const document = { documentId: missing.id, version: chosen.version, spaceId: space.id };
      await writeVersion(space, document, signal);
      return database.tenant((sql) => recordWhole(sql, { ...document, live: chosen.live }));
    });
  }

  /** Renews the claim while `run` works, which is told when it is lost. */
  async function claimed<T>(
    { id }: OpenSpace,
    holder: string,
    signal: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const [done, lost] = [new AbortController(), new AbortController()];
    const renew = async () =>
      (await database.system((sql) => claimSpace(sql, id, holder, leaseMs))) ? { cancel_requested: false } : undefined;
    keepLease({ renew, leaseMs, clock, logger, signal: done.signal })
      .then(() => lost.abort(new Error('another process builds the space, or it is given up')))
      .catch(() => undefined);
    try {
      return await run(AbortSignal.any([signal, lost.signal]));
    } finally {
      done.abort();
    }
  }

  async function buildSpace(space: OpenSpace, holder: string, signal: AbortSignal): Promise<number> {
    let built = 0;
    let after: MissingDocument | undefined;
    for (;;) {
      const from = after;
      const missing = await database.system((sql) =>
        listMissing(sql, space.id, { after: from, limit: DOCUMENTS_AT_ONCE }),
      );
      for (const document of missing) {
        signal.throwIfAborted();
        if (!(await database.system((sql) => claimSpace(sql, space.id, holder, leaseMs)))) return built;
        if (await buildDocument(space, document, signal)) built += 1;
      }
      after = missing.at(-1);
      if (missing.length < DOCUMENTS_AT_ONCE) break;
    }
    if (built >= DOCUMENTS_AT_ONCE) await analyseSpace(database, space.id);
    return built;
  }

  async function build(signal: AbortSignal = new AbortController().signal): Promise<number> {
    spaces.forget();
    let built = 0;
    for (const space of await spaces.written()) {
      const holder = ids.uuid();
      if (!(await database.system((sql) => claimSpace(sql, space.id, holder, leaseMs)))) continue;
      try {
        built += await claimed(space, holder, signal, (lasting) => buildSpace(space, holder, lasting));
      } catch (error) {
        if (signal.aborted) throw error;
        logger.warn({ err: error, space_id: space.id }, `an embedding space is not built on: ${messageOf(error)}`);
      } finally {
        await database.system((sql) => releaseSpace(sql, space.id, holder)).catch(() => undefined);
      }
    }
    return built;
  }

  async function tidy(): Promise<void> {
    const ended = await database.system((sql) => endPhases(sql, KEEP_READ_ONLY_HOURS));
    for (const { id, state } of ended) logger.info({ space_id: id, state }, `an embedding space is ${state} now`);
    await clear();
  }

  async function alsoWrite(document: Omit<DocumentVersion, 'spaceId'>, signal: AbortSignal): Promise<void> {
    for (const space of await spaces.written()) {
      // What this process cuts is not what that space is for: a process of its pipeline cuts it anew.
      if (spaces.isRecut(space) && space.pipeline !== pipeline) continue;
      try {
        await writeVersion(space, { ...document, spaceId: space.id }, signal);
      } catch (error) {
        if (signal.aborted || space.state === 'active') throw error;
        logger.warn({ err: error, space_id: space.id }, `a document is not in the space yet: ${messageOf(error)}`);
      }
    }
  }

  const loop = createLoop({
    name: 'space-builder',
    everyMs,
    clock,
    logger,
    async round(signal) {
      await tidy();
      await build(signal);
    },
  });
  return { name: loop.name, start: loop.start, stop: loop.stop, build, tidy, alsoWrite };
}
