/** Erasing a user or a tenant, and taking one's data along. Schemas, like `resources.ts`. */
import { type Static, Type } from '@sinclair/typebox';
import { Id, Nullable, Timestamp } from './resources.ts';

const PRIVACY_SCOPES = ['user', 'tenant'] as const;
export type PrivacyScope = (typeof PRIVACY_SCOPES)[number];
export const PrivacyScopeName = Type.Unsafe<PrivacyScope>({ type: 'string', enum: [...PRIVACY_SCOPES] });

/** Names nobody: it is still read when there is nobody any more. */
export const ErasureResource = Type.Object({
  id: Id,
  scope: PrivacyScopeName,
  whole_tenant: Type.Boolean({ description: 'The tenant goes too: it was asked for, or it had no other member' }),
  status: Type.Unsafe<'queued' | 'running' | 'done'>({ type: 'string', enum: ['queued', 'running', 'done'] }),
  requested_at: Timestamp,
  deadline: Type.String({ format: 'date-time', description: 'When all is gone at the latest' }),
  finished_at: Nullable(Timestamp),
  settled_at: Nullable(
    Type.String({
      format: 'date-time',
      description:
        'When it was looked once more for what was on its way meanwhile; from then on the report names nobody',
    }),
  ),
  attempts: Type.Integer(),
  deleted: Type.Record(Type.String(), Type.Integer(), { description: 'How much of what was removed, by kind' }),
});
export type ErasureResource = Static<typeof ErasureResource>;
