/** Sets of documents, as clients of OpenAI's API make them (`http/openai/` renders them). */
import type { DocumentStatus, Failure } from './resources.ts';

/** What clients attach to a document in a store, and filter searches by. */
export type Attributes = Record<string, string | number | boolean>;

export interface VectorStore {
  id: string;
  owner_id: string;
  name: string;
  metadata: Record<string, string>;
  /** Bytes of the originals that the caller may see. */
  size: number;
  /** Of those, how many are in which state. */
  files: { working: number; ready: number; failed: number };
  created_at: Date;
  last_active_at: Date;
}

export interface VectorStoreFile {
  store_id: string;
  document_id: string;
  filename: string;
  size: number;
  status: DocumentStatus;
  error: Failure | null;
  attributes: Attributes;
  batch_id: string | null;
  created_at: Date;
}

export interface NewVectorStoreFile {
  document_id: string;
  attributes: Attributes;
}

/** A page of a list in the order of ids, which is that of time. */
export interface IdPage {
  /** 1…100 */
  limit: number;
  order: 'asc' | 'desc';
  /** The id that the page before ended with. */
  after?: string | undefined;
  /** The id that the page after began with. */
  before?: string | undefined;
}
