/**
 * The `Chunker`: three strategies over the same units. `structural` cuts by sections first, then paragraphs, tables,
 * lists and code, then sentences, and inside a sentence only where nothing else fits; `sentence` fills a chunk with whole
 * sentences, whatever they belong to; `fixed` cuts windows of a length at words.
 */
import type { Chunk, Chunker, Chunking, ExtractedDocument } from '../contracts/index.ts';
import { assertChunking, DEFAULT_CHUNKING } from './chunk-rules.ts';
import { createChunkStream } from './chunk-stream.ts';
import { estimatingCounter, type TokenCounter } from './token-counter.ts';

/** Grows with every change that cuts some document differently. */
const ALGORITHM = 2;

export interface ChunkerOptions {
  /** Counts as the embedding model does; asked for when a first text is cut. */
  counter?: () => Promise<TokenCounter>;
  /** Names what `counter` will give. */
  counterName?: string;
  defaults?: Chunking;
}

/** Throws `internal` for sizes that cannot be. */
export function createChunker({
  counter = () => Promise.resolve(estimatingCounter),
  counterName = estimatingCounter.name,
  defaults = DEFAULT_CHUNKING,
}: ChunkerOptions = {}): Chunker {
  assertChunking(defaults);
  const { strategy, chunk_tokens, chunk_overlap } = defaults;
  return {
    version: `${strategy}-${ALGORITHM}/${chunk_tokens}/${chunk_overlap}/${counterName}`,
    defaults,
    async stream(structure, chunking = defaults) {
      assertChunking(chunking);
      return createChunkStream(structure, chunking, await counter());
    },
  };
}

/** A whole document at once. */
export async function chunkDocument(
  chunker: Chunker,
  document: ExtractedDocument,
  chunking?: Chunking,
): Promise<Chunk[]> {
  const stream = await chunker.stream(document, chunking);
  const chunks = stream.push(document.text);
  // Not spread into a call: a long document has more chunks than a call may have arguments.
  return chunks.concat(stream.end());
}
