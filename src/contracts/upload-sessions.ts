/** Resumable uploads as the REST API shows them beside the tus protocol. */
import { type Static, Type } from '@sinclair/typebox';
import { Failure, Id, Nullable, Timestamp } from './resources.ts';

export const UPLOAD_STATUSES = ['open', 'finished', 'failed'] as const;

export const ResumableUpload = Type.Object({
  id: Id,
  filename: Type.String(),
  size: Type.Integer({ description: 'Bytes that were announced' }),
  offset: Type.Integer({ description: 'Bytes that are kept' }),
  status: Type.Unsafe<(typeof UPLOAD_STATUSES)[number]>({ type: 'string', enum: [...UPLOAD_STATUSES] }),
  document_id: Nullable(Id),
  task_id: Nullable(Id),
  duplicate: Nullable(Type.Boolean({ description: 'The same bytes were there already' })),
  error: Nullable(Failure),
  created_at: Timestamp,
  expires_at: Timestamp,
});
export type ResumableUpload = Static<typeof ResumableUpload>;
