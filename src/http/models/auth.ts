import { Type } from '@sinclair/typebox';

export const Email = Type.String({ minLength: 3, maxLength: 254, description: 'Letter case does not matter' });
const Password = Type.String({ minLength: 8, maxLength: 256 });
const TenantName = Type.String({
  minLength: 1,
  maxLength: 200,
  description: '1 to 100 characters; letter case does not matter',
});

export const RegisterBody = Type.Object(
  { tenant: TenantName, email: Email, password: Password, invite: Type.Optional(Type.String({ maxLength: 512 })) },
  { example: { tenant: 'Analytical Engines', email: 'ada@example.com', password: 'correct horse battery' } },
);

export const LoginBody = Type.Object(
  { email: Email, password: Type.String({ minLength: 1, maxLength: 256 }), tenant: Type.Optional(TenantName) },
  { example: { email: 'ada@example.com', password: 'correct horse battery' } },
);

export const RefreshBody = Type.Object(
  { refresh_token: Type.String({ minLength: 1, maxLength: 512 }) },
  { example: { refresh_token: 'Zk1vR3…' } },
);
