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

/** A file inside a document, such as a mail's attachment: a document of its own for whoever takes documents in. */
export interface EmbeddedFile {
  /** What its sender calls it: a label of up to 255 characters, never a path. */
  name: string;
  /** What its sender says it is; `sniffFile` decides. */
  mediaType: string;
  /** In bytes. */
  size: number;
  /** A local file with its bytes, until the extraction is released. */
  path: string;
}

/** An extraction whose text stays in a file, so that its length costs no memory. */
export interface ExtractedFile extends Omit<ExtractedDocument, 'text'> {
  /** The text in UTF-8, without a byte order mark; `ingest/text-pieces.ts` reads it piece by piece. */
  textPath: string;
  /** UTF-16 code units of the text. */
  chars: number;
  /** In the document's order; empty where the format holds none. */
  files: EmbeddedFile[];
  /** Removes the text and the files. Must be called; twice is fine. */
  release(): Promise<void>;
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
  /** Rejects with `ExtractError` (see `ingest/extract-error.ts`) when the input is at fault; `too_large` to be held. */
  extract(request: ExtractRequest, signal: AbortSignal): Promise<ExtractedDocument>;
  /** The same for a document of any length, with the files inside of it; the caller releases what it gets. */
  extractFile(request: ExtractRequest, signal: AbortSignal): Promise<ExtractedFile>;
}
