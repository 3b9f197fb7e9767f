/**
 * What a text or a document would be cut into, without keeping anything. A document's text is there already; its headings
 * are found in it again, as Markdown, which is what most extractors write; its pages are told by its chunks.
 */
import type {
  BlobStore,
  Chunk,
  Chunker,
  Chunking,
  ChunkPreview,
  ChunkPreviewRequest,
  PageSpan,
  TextStructure,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { readChunking } from '../ingest/chunk-rules.ts';
import { createHeadingScanner } from '../ingest/markdown-headings.ts';
import { AppError, type FieldError } from '../kernel/errors.ts';
import { listPageStarts } from '../repositories/chunks.ts';
import { getLiveVersion } from '../repositories/documents.ts';
import { textKey } from '../storage/blob-keys.ts';

export interface ChunkPreviews {
  /** Rejects with `invalid_request`, `not_found`, or `conflict` while the document has no text. */
  preview(request: ChunkPreviewRequest): Promise<ChunkPreview>;
}

export interface ChunkPreviewOptions {
  database: Pick<Database, 'tenant'>;
  blobs: Pick<BlobStore, 'read'>;
  chunker: Chunker;
}

/** Enough to see how a document is cut; a longer one would keep its asker waiting, and a processor busy. */
const MAX_CHARS = 2_000_000;
const PIECE_CHARS = 64 * 1024;
const DEFAULT_LIMIT = 50;

interface Source {
  text: string;
  pages: PageSpan[];
  /** Not all of it is in `text`. */
  cut: boolean;
  /** Plain text has no headings, whatever its lines begin with. */
  plain: boolean;
}

export function createChunkPreviews({ database, blobs, chunker }: ChunkPreviewOptions): ChunkPreviews {
  async function sourceOf({ text, document_id: id }: ChunkPreviewRequest): Promise<Source> {
    if (text !== undefined) return { text, pages: [], cut: false, plain: false };
    const found = await database.tenant(async (sql) => {
      const live = await getLiveVersion(sql, id ?? '');
      if (!live || live.live_version === null) return live;
      return { ...live, starts: await listPageStarts(sql, id ?? '', live.live_version) };
    });
    if (!found) throw new AppError('not_found', 'There is no such document.');
    if (!('starts' in found) || found.live_version === null) {
      throw new AppError('conflict', 'The document has no text yet.');
    }
    const beginning = await readBeginning(await blobs.read(textKey(id ?? '', found.live_version)));
    const pages = found.starts.map(({ page, start }, at) => ({
      page,
      start,
      end: found.starts[at + 1]?.start ?? Number.MAX_SAFE_INTEGER,
    }));
    return { ...beginning, pages, plain: found.media_type === 'text/plain' };
  }

  return {
    async preview(request) {
      const chunking = chunkingOf(request) ?? chunker.defaults;
      const source = await sourceOf(request);
      const stream = await chunker.stream(structureOf(source), chunking);
      const limit = request.limit ?? DEFAULT_LIMIT;
      const shown: Chunk[] = [];
      let total = 0;
      let tokens = 0;
      const take = (chunks: readonly Chunk[]) => {
        for (const chunk of chunks) {
          if (shown.length < limit) shown.push(chunk);
          total += 1;
          tokens += chunk.tokens;
        }
      };
      for (let at = 0; at < source.text.length; at += PIECE_CHARS) {
        take(stream.push(source.text.slice(at, at + PIECE_CHARS)));
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      take(stream.end());
      const chunks = shown.map((chunk) => ({ ...chunk, headings: [...chunk.headings] }));
      return { chunking, total, tokens, complete: !source.cut, chunks };
    },
  };
}

/** Throws `invalid_request` naming what is wrong, also where neither or both of text and document are given. */
function chunkingOf({ text, document_id: id, ...choice }: ChunkPreviewRequest): Chunking | null {
  const errors: FieldError[] = [];
  const { strategy, chunk_tokens, chunk_overlap } = choice;
  const chunking = readChunking({ strategy, chunk_tokens, chunk_overlap }, errors);
  if ((text === undefined) === (id === undefined)) errors.push({ path: 'text', message: 'either text or document_id' });
  if (errors.length > 0)
    throw new AppError('invalid_request', 'The request has fields that are not valid.', { errors });
  return chunking;
}

function structureOf({ text, pages, plain }: Source): TextStructure {
  if (plain) return { headings: [], pages };
  const scanner = createHeadingScanner();
  scanner.push(text);
  return { headings: scanner.end().headings, pages };
}

async function readBeginning(stream: ReadableStream<Uint8Array>): Promise<{ text: string; cut: boolean }> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let text = '';
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    // Leaving the loop cancels the stream.
    if (text.length > MAX_CHARS) return { text: text.slice(0, MAX_CHARS).toWellFormed(), cut: true };
  }
  return { text, cut: false };
}
