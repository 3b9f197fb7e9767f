/** How documents are cut into chunks: what a person may choose, and the port. Offsets are UTF-16 code units. */
import { type Static, Type } from '@sinclair/typebox';
import type { ExtractedDocument, TextSpan } from './ingest.ts';

export const CHUNKING_STRATEGIES = ['structural', 'sentence', 'fixed'] as const;
export type ChunkingStrategy = (typeof CHUNKING_STRATEGIES)[number];

/** A chunk of fewer tokens says nothing; more than an embedding model reads at once would be lost. */
export const CHUNK_TOKENS = { minimum: 32, maximum: 4000 } as const;

export const Chunking = Type.Object({
  strategy: Type.Unsafe<ChunkingStrategy>({
    type: 'string',
    enum: [...CHUNKING_STRATEGIES],
    description:
      'structural: by sections, paragraphs, tables, lists and code, then sentences; sentence: as many whole sentences as fit; fixed: windows of a length, cut at words',
  }),
  chunk_tokens: Type.Integer({ ...CHUNK_TOKENS, description: 'The most tokens of a chunk' }),
  chunk_overlap: Type.Integer({
    minimum: 0,
    description: 'The most tokens repeated from the chunk before: at most half of chunk_tokens',
  }),
});
export type Chunking = Static<typeof Chunking>;

export interface Chunk extends TextSpan {
  /** 0, 1, 2 … in reading order. */
  ordinal: number;
  /** Exactly `document.text.slice(start, end)`. */
  text: string;
  /** The page on which the chunk starts. */
  page: number | null;
  headings: readonly string[];
  /** Tokens of `text`: the embedding model's own where its vocabulary is known, else estimated. */
  tokens: number;
}

/** What a text is structured by, in the order of the text. */
export type TextStructure = Pick<ExtractedDocument, 'headings' | 'pages'>;

/** Cuts one text that arrives in pieces. However it is divided into pieces, the chunks are the same. */
export interface ChunkStream {
  /** The chunks that no later text can change. A piece may end anywhere. */
  push(piece: string): Chunk[];
  /** The rest. */
  end(): Chunk[];
}

export interface Chunker {
  /** Part of the pipeline's identity: another value means that the same document would be cut differently. */
  readonly version: string;
  /** What is used where nobody chose. */
  readonly defaults: Chunking;
  /** Memory is bounded by the structure and some 300 KB, however long the text. */
  stream(structure: TextStructure, chunking?: Chunking): Promise<ChunkStream>;
}
