import { Type } from '@sinclair/typebox';
import { RoleName, SCOPES } from '../../contracts/index.ts';
import { Email } from './auth.ts';

export const InviteBody = Type.Object(
  { email: Email, role: RoleName },
  { example: { email: 'grace@example.com', role: 'member' } },
);

export const RoleBody = Type.Object({ role: RoleName }, { example: { role: 'viewer' } });

export const ApiKeyBody = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100, description: 'What it is for' }),
    scopes: Type.Optional(
      Type.Array(Type.Unsafe<(typeof SCOPES)[number]>({ type: 'string', enum: [...SCOPES] }), {
        minItems: 1,
        maxItems: SCOPES.length,
        description: 'Default: `read`, `write` and `chat`',
      }),
    ),
    expires_at: Type.Optional(
      Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description: 'Default: never' }),
    ),
  },
  { example: { name: 'nightly import', scopes: ['read', 'write'], expires_at: '2027-01-01T00:00:00Z' } },
);
