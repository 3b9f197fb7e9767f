/** What users send about themselves. */
import { Type } from '@sinclair/typebox';
import { Nullable } from '../../contracts/index.ts';

export const UserConfigBody = Type.Object(
  {
    default_model: Type.Optional(
      Nullable(Type.String({ maxLength: 200, description: "The provider's name of it; null: the installation's" })),
    ),
    openai_api_key: Type.Optional(
      Nullable(
        Type.String({
          minLength: 8,
          maxLength: 512,
          pattern: '^[\\x21-\\x7e]+$',
          description: 'Kept encrypted, never shown again; null removes it',
        }),
      ),
    ),
    custom_prompt: Type.Optional(
      Nullable(Type.String({ maxLength: 4_000, description: 'Wishes for every answer; null removes them' })),
    ),
    language: Type.Optional(
      Nullable(Type.String({ maxLength: 35, description: 'A BCP 47 tag to answer in; null: that of the question' })),
    ),
  },
  { example: { language: 'zh-CN', custom_prompt: 'Call me Ada, and keep to three sentences.', default_model: null } },
);

export const FeedbackBody = Type.Object(
  {
    rating: Type.Union([Type.Literal(1), Type.Literal(-1)], { description: '1: good, -1: bad' }),
    comment: Type.Optional(Type.String({ maxLength: 2_000, description: 'Why' })),
  },
  { example: { rating: -1, comment: 'It cites the old handbook.' } },
);

const Value = Type.Unknown({ description: 'Any JSON, of at most 4096 bytes' });

export const FactBody = Type.Object(
  {
    key: Type.String({
      minLength: 1,
      maxLength: 100,
      description: 'Letters and digits of any script, and `.` `_` `:` `-` after the first',
    }),
    value: Value,
  },
  { example: { key: 'home.city', value: 'Beijing' } },
);

export const FactValueBody = Type.Object({ value: Value }, { example: { value: 'Shanghai' } });

export const KeyParams = Type.Object({ key: Type.String({ minLength: 1 }) });
