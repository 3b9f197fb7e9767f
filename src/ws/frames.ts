/**
 * What clients may send, as schemas. Nothing is coerced (`"0012"` is no number) and fields that are not known are
 * ignored, so that a newer client can talk to an older server.
 */
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler';
import { IF_BUSY } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';

const RequestId = Type.Union([Type.String({ maxLength: 200 }), Type.Number()]);
const Uuid = Type.String({ pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' });
const Topic = Type.String({ minLength: 1, maxLength: 100 });

const frame = <const T extends string, P extends Record<string, TSchema>>(type: T, fields: P) =>
  Type.Object({ type: Type.Literal(type), id: Type.Optional(RequestId), ...fields });

const SCHEMAS = {
  subscribe: frame('subscribe', {
    topic: Topic,
    after: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
    epoch: Type.Optional(Type.String({ maxLength: 64 })),
  }),
  unsubscribe: frame('unsubscribe', { topic: Topic }),
  'chat.send': frame('chat.send', {
    conversation_id: Type.Optional(Uuid),
    content: Type.String({ minLength: 1, maxLength: 32_000 }),
    client_message_id: Type.String({ minLength: 1, maxLength: 200 }),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    filter: Type.Optional(
      Type.Object({
        document_ids: Type.Optional(Type.Array(Uuid, { minItems: 1, maxItems: 200 })),
        source_type: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
        metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      }),
    ),
    if_busy: Type.Optional(Type.Union(IF_BUSY.map((way) => Type.Literal(way)))),
  }),
  'chat.cancel': frame('chat.cancel', { turn_id: Uuid }),
  'auth.refresh': frame('auth.refresh', { token: Type.String({ minLength: 1, maxLength: 8_192 }) }),
  ping: frame('ping', {}),
};

type Frames = { [T in keyof typeof SCHEMAS]: Static<(typeof SCHEMAS)[T]> };
export type CheckedFrame = Frames[keyof Frames];

const checks = new Map<string, TypeCheck<TSchema>>(
  Object.entries(SCHEMAS).map(([type, schema]) => [type, TypeCompiler.Compile<TSchema>(schema)]),
);

/** The `id` by which the client will know the answer, if the frame has a usable one. */
export function requestIdOf(frame: Record<string, unknown>): string | number | undefined {
  const { id } = frame;
  return (typeof id === 'string' && id.length <= 200) || (typeof id === 'number' && Number.isFinite(id))
    ? id
    : undefined;
}

/** Throws `invalid_request`, naming what is wrong. */
export function checkFrame(frame: Record<string, unknown>): CheckedFrame {
  const { type } = frame;
  const check = typeof type === 'string' ? checks.get(type) : undefined;
  if (!check) throw new AppError('invalid_request', 'The frame has no known "type".');
  if (check.Check(frame)) return frame as CheckedFrame;
  const first = check.Errors(frame).First();
  throw new AppError('invalid_request', `The frame does not fit: ${first?.path || '/'} ${first?.message ?? ''}`.trim());
}
