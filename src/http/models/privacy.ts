import { Type } from '@sinclair/typebox';
import { PrivacyScopeName } from '../../contracts/index.ts';

export const ErasureBody = Type.Object(
  {
    scope: PrivacyScopeName,
    confirm: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: 'For the scope `tenant`: the name of the tenant' }),
    ),
  },
  { example: { scope: 'tenant', confirm: 'Analytical Engines' } },
);

export const ExportBody = Type.Object(
  { scope: Type.Optional(PrivacyScopeName) },
  { example: { scope: 'user' }, description: 'Default: `user`' },
);
