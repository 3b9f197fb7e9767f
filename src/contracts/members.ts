/** Who is in a tenant, and the keys that stand for them. Schemas, like `resources.ts`. */
import { type Static, Type } from '@sinclair/typebox';
import { ROLES, type Role, SCOPES } from './principal.ts';
import { Id, Nullable, Timestamp } from './resources.ts';

export const RoleName = Type.Unsafe<Role>({ type: 'string', enum: [...ROLES] });

export const MemberResource = Type.Object({
  id: Type.String({ format: 'uuid', description: 'Stays the same when an invitation is accepted' }),
  email: Type.String(),
  role: RoleName,
  status: Type.Unsafe<'active' | 'invited'>({ type: 'string', enum: ['active', 'invited'] }),
  created_at: Timestamp,
  last_seen_at: Nullable(
    Type.String({ format: 'date-time', description: 'To about a quarter of an hour; null where it is not known' }),
  ),
  expires_at: Nullable(Type.String({ format: 'date-time', description: 'Of the invitation' })),
});
export type MemberResource = Static<typeof MemberResource>;

export const NewMember = Type.Object({
  ...MemberResource.properties,
  invite: Type.String({ description: 'For `POST /auth/register`, once; shown in this answer alone' }),
  link: Type.String({ description: 'The console’s registration form, filled in' }),
});
export type NewMember = Static<typeof NewMember>;

export const ApiKeyResource = Type.Object({
  id: Id,
  name: Type.String(),
  prefix: Type.String({ description: 'How the key begins' }),
  scopes: Type.Array(Type.Unsafe<(typeof SCOPES)[number]>({ type: 'string', enum: [...SCOPES] })),
  created_at: Timestamp,
  expires_at: Nullable(Timestamp),
  last_used_at: Nullable(Type.String({ format: 'date-time', description: 'To a minute' })),
});
export type ApiKeyResource = Static<typeof ApiKeyResource>;

export const NewApiKey = Type.Object({
  ...ApiKeyResource.properties,
  key: Type.String({ description: 'Shown in this answer alone' }),
});
export type NewApiKey = Static<typeof NewApiKey>;
