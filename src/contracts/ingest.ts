/** Ports of ingestion: bytes → typed text with positions → chunks. Offsets are UTF-16 code units, `end` exclusive. */
export interface TextSpan {
  start: number;
  end: number;
}

/** A heading in the extracted text; the path of a chunk is the headings open at its start. */
export interface Heading extends TextSpan {
  /** 1…6 */
  level: number;
  title: string;
}

/** A page in the extracted text, numbered from 1. */
export interface PageSpan extends TextSpan {
  page: number;
}

export interface ExtractedDocument {
  /** The whole text: well-formed, no NUL, newlines `\n`. What every offset counts in. */
  text: string;
  /** The document's own title, where it has one. */
  title: string | null;
  /** Empty where the format has no pages. In order, without overlap. */
  pages: PageSpan[];
  headings: Heading[];
}

export interface ExtractRequest {
  /** A local file with the original bytes. */
  path: string;
  mediaType: string;
  filename: string;
}

/**
 * Why a document cannot be read: the contract's `error.code` of a task. `internal`-like faults throw plainly; the
 * message is for the person who uploaded the document.
 */
export type ExtractFailureCode =
  | 'unsupported_media_type'
  | 'encrypted'
  | 'corrupt'
  | 'empty'
  | 'needs_ocr'
  | 'too_large'
  | 'limits_exceeded'
  | 'parser_timeout'
  | 'parser_crashed';

export interface Extractor {
  /** Rejects with `ExtractError` (see `ingest/extract-error.ts`) when the input is at fault. */
  extract(request: ExtractRequest, signal: AbortSignal): Promise<ExtractedDocument>;
}

export interface Chunk extends TextSpan {
  /** 0, 1, 2 … in reading order. */
  ordinal: number;
  /** Exactly `document.text.slice(start, end)`. */
  text: string;
  /** The page on which the chunk starts. */
  page: number | null;
  headings: string[];
  /** Estimated tokens of `text`. */
  tokens: number;
}

export interface Chunker {
  /** Part of the pipeline's identity: another value means that the same document would be cut differently. */
  readonly version: string;
  chunk(document: ExtractedDocument): Chunk[];
}
