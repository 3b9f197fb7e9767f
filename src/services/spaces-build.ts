/**
 * Fills the spaces that are written beside the active one: each publication writes to all of them (`alsoWrite`), and a loop
 * brings what was published before, or while a provider was away. A document is the checkpoint: its record in a space is
 * written when all of its vectors are, and within it each batch that was bought is there for good. So a builder that is
 * killed is gone on with at the next batch, and nothing is bought twice.
 */
import type { Database } from '../db/database.ts';
import { dropSpace } from '../db/spaces.ts';
import { analyseSpace } from '../db/spaces-shards.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import {
  claimSpace,
  endPhases,
  forgetRetired,
  listMissing,
  listSpaces,
  type MissingDocument,
  releaseSpace,
} from '../repositories/spaces.ts';
import {
  chunksWithoutVector,
  type DocumentVersion,
  insertVectors,
  recordWhole,
} from '../repositories/spaces-documents.ts';
import { createTextVectors, embeddedText } from './batch-embedder.ts';
import type { OpenSpace, Spaces } from './spaces.ts';

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

export interface SpaceBuilderOptions {
  database: Database;
  spaces: Spaces;
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
const FORGOTTEN_AT_ONCE = 5_000;
const NOBODY = '00000000-0000-0000-0000-000000000000';

export function createSpaceBuilder(options: SpaceBuilderOptions): SpaceBuilder {
  const { database, spaces, clock, ids, logger, metrics, everyMs = 5_000, leaseMs = 60_000 } = options;
  const vectorsOf = createTextVectors({ database, metrics });

  /** One batch of a version; false when there is nothing left. */
  async function writeBatch(space: OpenSpace, document: DocumentVersion, signal: AbortSignal): Promise<boolean> {
    const size = Math.min(MAX_BATCH, space.embeddings.maxBatch);
    const chunks = await database.tenant((sql) => chunksWithoutVector(sql, document, size));
    if (chunks.length === 0) return false;
    const texts = chunks.map((chunk) => ({ id: chunk.id, ...embeddedText(chunk) }));
    const vectors = await vectorsOf(space, texts, signal);
    const rows = texts.flatMap(({ id, hash, key }) => {
      const embedding = vectors.get(key);
      return embedding ? [{ chunkId: id, contentHash: hash, embedding }] : [];
    });
    await database.tenant((sql) => insertVectors(sql, document, rows));
    return true;
  }

  async function writeVersion(space: OpenSpace, document: DocumentVersion, signal: AbortSignal): Promise<void> {
    for (let more = true; more; ) {
      signal.throwIfAborted();
      more = await writeBatch(space, document, signal);
    }
  }

  async function buildDocument(space: OpenSpace, missing: MissingDocument, signal: AbortSignal): Promise<boolean> {
    const document = { documentId: missing.id, version: missing.version, spaceId: space.id };
    const scope = { tenantId: missing.tenantId, userId: missing.privateTo ?? NOBODY, traceId: newTraceId() };
    return runAs(scope, async () => {
      await writeVersion(space, document, signal);
      return database.tenant((sql) => recordWhole(sql, document));
    });
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
        built += await buildSpace(space, holder, signal);
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
    const retired = (await database.system(listSpaces)).filter(({ state }) => state === 'retired');
    for (const { id } of retired) {
      if (!(await dropSpace(database, id))) continue;
      while ((await database.system((sql) => forgetRetired(sql, id, FORGOTTEN_AT_ONCE))) > 0);
    }
  }

  async function alsoWrite(document: Omit<DocumentVersion, 'spaceId'>, signal: AbortSignal): Promise<void> {
    for (const space of await spaces.written()) {
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
