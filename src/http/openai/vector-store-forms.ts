/** What vector stores take and answer, in OpenAI's forms. */
import { Type } from '@sinclair/typebox';
import type { DocumentStatus, VectorStore, VectorStoreFile } from '../../contracts/index.ts';
import type { StoreBatch, StoreHit } from '../../services/vector-stores.ts';
import { toBatchId, toFileId, toStoreId } from './ids.ts';
import { seconds } from './lists.ts';

export const Name = Type.String({ maxLength: 256 });
export const Metadata = Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: 512 }), {
  maxProperties: 16,
});
export const Attributes = Type.Record(
  Type.String({ maxLength: 64 }),
  Type.Union([Type.String({ maxLength: 512 }), Type.Number(), Type.Boolean()]),
  { maxProperties: 16 },
);

const countsOf = ({ working, ready, failed }: VectorStore['files']) => ({
  in_progress: working,
  completed: ready,
  failed,
  cancelled: 0,
  total: working + ready + failed,
});

export const toStore = ({ id, name, metadata, size, files, created_at, last_active_at }: VectorStore) => ({
  id: toStoreId(id),
  object: 'vector_store',
  created_at: seconds(created_at),
  name,
  usage_bytes: size,
  file_counts: countsOf(files),
  status: files.working > 0 ? 'in_progress' : 'completed',
  expires_after: null,
  expires_at: null,
  last_active_at: seconds(last_active_at),
  metadata,
});

const STATES: Record<DocumentStatus, string> = {
  queued: 'in_progress',
  processing: 'in_progress',
  ready: 'completed',
  quarantined: 'failed',
  failed: 'failed',
};

/** The words that OpenAI has for why a file failed. */
const CAUSES: Record<string, string> = { unsupported_media_type: 'unsupported_file', internal: 'server_error' };

export const toStoreFile = (file: VectorStoreFile) => ({
  id: toFileId(file.document_id),
  object: 'vector_store.file',
  created_at: seconds(file.created_at),
  vector_store_id: toStoreId(file.store_id),
  usage_bytes: file.size,
  status: STATES[file.status],
  last_error:
    STATES[file.status] === 'failed'
      ? { code: CAUSES[file.error?.code ?? ''] ?? 'invalid_file', message: file.error?.message ?? 'It is quarantined.' }
      : null,
  attributes: file.attributes,
  chunking_strategy: { type: 'other' },
});

export const toBatch = ({ id, store_id, files, created_at }: StoreBatch) => ({
  id: toBatchId(id),
  object: 'vector_store.file_batch',
  created_at: seconds(created_at),
  vector_store_id: toStoreId(store_id),
  status: files.working > 0 ? 'in_progress' : 'completed',
  file_counts: countsOf(files),
});

export const toStoreHit = ({ hit, attributes }: StoreHit) => ({
  file_id: toFileId(hit.document_id),
  filename: hit.title,
  score: hit.score,
  attributes,
  content: [{ type: 'text', text: hit.text }],
});

const STORE = 'vs_01985f2c-40aa-7be5-93d0-a1b2c3d4e00a';
const FILE = 'file-01985f2c-40aa-7be5-93d0-a1b2c3d4e001';
const counts = { in_progress: 0, completed: 1, failed: 0, cancelled: 0, total: 1 };

export const storeExample = {
  id: STORE,
  object: 'vector_store',
  created_at: 1_795_305_600,
  name: 'Handbooks',
  usage_bytes: 48_213,
  file_counts: counts,
  status: 'completed',
  expires_after: null,
  expires_at: null,
  last_active_at: 1_795_305_600,
  metadata: {},
};
export const storeFileExample = {
  id: FILE,
  object: 'vector_store.file',
  created_at: 1_795_305_600,
  vector_store_id: STORE,
  usage_bytes: 48_213,
  status: 'completed',
  last_error: null,
  attributes: { department: 'people' },
  chunking_strategy: { type: 'other' },
};
export const batchExample = {
  id: 'vsfb_01985f2c-40aa-7be5-93d0-a1b2c3d4e00b',
  object: 'vector_store.file_batch',
  created_at: 1_795_305_600,
  vector_store_id: STORE,
  status: 'completed',
  file_counts: counts,
};
export const hitExample = {
  file_id: FILE,
  filename: 'handbook.pdf',
  score: 1,
  attributes: { department: 'people' },
  content: [{ type: 'text', text: 'Everybody has 30 days of paid leave.' }],
};
