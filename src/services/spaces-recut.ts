/**
 * Cuts a document anew beside its live version, for a space of another pipeline: read again from the bytes that are kept,
 * chunked by this process's chunker, written a batch at a time under a number of its own. Nothing of it is a task, and the
 * tenant's queue and counters know nothing of it. What a killed builder has written is gone on with. Files inside of the
 * document are documents of their own already, and are left alone.
 */
import type { BlobStore, Chunker, Extractor, TextStructure } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { ExtractError } from '../ingest/extract-error.ts';
import { textPieces } from '../ingest/text-pieces.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { deleteVersion, writtenChunks } from '../repositories/chunks.ts';
import { insertChunks } from '../repositories/chunks-write.ts';
import { type DocumentWork, getDocumentWork } from '../repositories/documents.ts';
import { type BegunVersion, beginVersion, finishVersion, holdVersion } from '../repositories/spaces-cuts.ts';
import { originalKey, textKey } from '../storage/blob-keys.ts';
import { createBatchEmbedder } from './batch-embedder.ts';
import { type ChunkPlan, createChunkPlan } from './chunk-plan.ts';
import { type DocumentText, storeText } from './document-text.ts';
import type { OpenSpace } from './spaces.ts';
import type { Bought, UsageMeter } from './usage-meter.ts';

export interface RecutOptions {
  database: Database;
  blobs: BlobStore;
  extractor: Extractor;
  chunker: Chunker;
  ids: Ids;
  metrics: Pick<Metrics, 'embeddingSeconds'>;
  meter: Pick<UsageMeter, 'embedded'>;
}

export interface Recutting {
  documentId: string;
  /** The version that it is cut beside. */
  live: number;
  /** What an earlier try began. */
  begun: number | null;
}

/** The finished version; undefined where the document was published anew or deleted meanwhile. In its owner's scope. */
export type Recut = (space: OpenSpace, document: Recutting, signal: AbortSignal) => Promise<number | undefined>;

const MAX_BATCH = 64;
const breathe = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Rejects with `ExtractError` for what this pipeline cannot read, and as `createTextVectors` does. */
export function createRecut({ database, blobs, extractor, chunker, ids, metrics, meter }: RecutOptions): Recut {
  const embedChunks = createBatchEmbedder({ database, ids, metrics });

  async function begin({ pipeline }: OpenSpace, { documentId, live, begun }: Recutting) {
    return database.tenant(async (sql) => {
      const document = await getDocumentWork(sql, documentId);
      if (document?.live_version !== live) return undefined;
      const version =
        begun === null
          ? await beginVersion(sql, documentId, { live, pipeline })
          : await holdVersion(sql, documentId, begun);
      return version && { document, ...version };
    });
  }

  async function extract(document: DocumentWork, version: number, signal: AbortSignal) {
    const file = await blobs.asFile(originalKey(document.original));
    try {
      const { media_type: mediaType, filename } = document;
      const extracted = await extractor.extractFile({ path: file.path, mediaType, filename }, signal);
      try {
        const { headings, pages, chars } = extracted;
        const key = textKey(document.id, version);
        const text = await storeText(blobs, key, textPieces(extracted), { chars, signal });
        return { text, structure: { headings, pages } };
      } finally {
        await extracted.release();
      }
    } finally {
      await file.release();
    }
  }

  async function chunk(
    text: DocumentText,
    structure: TextStructure,
    { wish, signal }: Pick<BegunVersion, 'wish'> & { signal: AbortSignal },
  ): Promise<ChunkPlan> {
    const plan = createChunkPlan();
    const stream = await chunker.stream(structure, wish ?? chunker.defaults);
    for await (const piece of text.pieces()) {
      for (const made of stream.push(piece)) plan.add(made);
      await breathe();
      signal.throwIfAborted();
    }
    for (const made of stream.end()) plan.add(made);
    if (plan.size === 0) throw new ExtractError('empty', 'The document has no text.');
    return plan;
  }

  /** How many chunks are there that this text gives too; others are thrown away. */
  async function resume(documentId: string, version: number, made: { text: DocumentText; plan: ChunkPlan }) {
    const { count, lastText } = await database.tenant((sql) => writtenChunks(sql, documentId, version));
    if (count === 0) return 0;
    const [last] = await made.plan.read(made.text, count - 1, count);
    if (last?.text === lastText) return count;
    await database.tenant((sql) => deleteVersion(sql, documentId, version));
    return 0;
  }

  /** False where the version was overtaken. */
  async function write(
    space: OpenSpace,
    document: DocumentWork,
    made: { version: number; text: DocumentText; plan: ChunkPlan },
    signal: AbortSignal,
  ): Promise<boolean> {
    const { version, text, plan } = made;
    const target = { documentId: document.id, version, privateTo: document.private_to, spaceId: space.id };
    for (let written = await resume(document.id, version, made); written < plan.size; ) {
      signal.throwIfAborted();
      const batch = await plan.read(text, written, written + Math.min(MAX_BATCH, space.embeddings.maxBatch));
      const bought: Bought[] = [];
      const rows = await embedChunks(space, batch, signal, undefined, (one) => void bought.push(one));
      const usage = bought.map((one) => ({ ...one, sourceId: ids.uuid(), attempt: 0, part: 0 }));
      const held = await database.tenant((sql) =>
        insertChunks(sql, target, rows, database.copies, async () => {
          if ((await holdVersion(sql, document.id, version)) === undefined) return false;
          await meter.embedded(sql, usage);
          return true;
        }),
      );
      if (!held) return false;
      written += batch.length;
    }
    return true;
  }

  return async (space, recutting, signal) => {
    const begun = await begin(space, recutting);
    if (!begun) return undefined;
    const { document, version, wish } = begun;
    const { text, structure } = await extract(document, version, signal);
    const plan = await chunk(text, structure, { wish, signal });
    const pages = structure.pages.length > 0 ? structure.pages.length : null;
    const made = { version, pages, chunks: plan.size, chunking: wish ?? chunker.defaults };
    const whole =
      (await write(space, document, { version, text, plan }, signal)) &&
      (await database.tenant((sql) => finishVersion(sql, document.id, made)));
    if (whole) return version;
    // Whoever overtook it may have removed its text before it was written.
    await blobs.remove(textKey(document.id, version));
    return undefined;
  };
}
