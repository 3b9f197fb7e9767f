import { Type } from '@sinclair/typebox';
import { oneOf } from './one-of.ts';

export const Ticket = Type.Object(
  { ticket: Type.String(), expires_in: Type.Integer({ description: 'Seconds' }) },
  { example: { ticket: 'q0pW…', expires_in: 30 } },
);

export const Alive = Type.Object({ status: oneOf(['ok']) });

export const Readiness = Type.Object(
  {
    status: oneOf(['ok', 'degraded', 'unavailable']),
    checks: Type.Record(Type.String(), Type.String(), { description: '`ok`, or what is wrong' }),
  },
  { example: { status: 'ok', checks: { database: 'ok', redis: 'ok', blobs: 'ok' } } },
);
