/** What the operator sends of embedding spaces. */
import { Type } from '@sinclair/typebox';

/** An id that is no number is answered as one that names nothing. */
export const SpaceParams = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,9}$' }) });

export const SpaceBody = Type.Object(
  {
    provider: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        description: '`openai` or `builtin`; by default the active space’s',
      }),
    ),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'By default the active space’s' })),
    dimensions: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 4_000, description: 'By default the active space’s' }),
    ),
    pipeline: Type.Optional(
      Type.Unsafe<'active' | 'current'>({
        type: 'string',
        enum: ['active', 'current'],
        description:
          '`current`: every document is read and cut anew by this release’s extractors and chunker; `active`, the default: the chunks that there are',
      }),
    ),
    shadow_share: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 1,
        description: 'Share of live questions that are also asked there; default 0.05',
      }),
    ),
    observe_hours: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 8_760,
        description: 'For how long it is kept up to date after another took over; default 24',
      }),
    ),
  },
  { example: { model: 'text-embedding-3-large', dimensions: 3_072, shadow_share: 0.1 } },
);
