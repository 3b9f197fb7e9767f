/** What work with models has cost: sums over days in UTC. Schemas, like `resources.ts`. */
import { type Static, Type } from '@sinclair/typebox';
import { Id, Nullable } from './resources.ts';

export const USAGE_GROUPS = ['day', 'model', 'user'] as const;
export type UsageGrouping = (typeof USAGE_GROUPS)[number];

const Sums = {
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  embedding_tokens: Type.Integer(),
  counted_tokens: Type.Integer({
    description: 'Of all tokens those that we counted, because the provider did not say',
  }),
  unpriced_tokens: Type.Integer({ description: 'Of all tokens those of models without a known price' }),
  cost: Nullable(Type.Number({ description: 'US dollars of all tokens that have a price; null where none has' })),
  requests: Type.Integer({ description: 'Attempts at answers, and batches of texts that were embedded' }),
};

const Day = Type.String({ format: 'date', description: 'In UTC' });

export const UsageGroup = Type.Object({
  day: Type.Optional(Day),
  model: Type.Optional(Type.String()),
  user_id: Type.Optional(Id),
  ...Sums,
});
export type UsageGroup = Static<typeof UsageGroup>;

export const UsageReport = Type.Object({
  from: Day,
  to: Type.String({ format: 'date', description: 'The last day, in UTC' }),
  group_by: Type.Unsafe<UsageGrouping>({ type: 'string', enum: [...USAGE_GROUPS] }),
  scope: Type.Unsafe<'user' | 'tenant'>({
    type: 'string',
    enum: ['user', 'tenant'],
    description: 'Whose usage it is: `tenant` for owners and admins',
  }),
  groups: Type.Array(UsageGroup, {
    description: 'Days in their order, others by tokens, most first; at most 1,000. What used nothing is not there',
  }),
  totals: Type.Object({
    ...Sums,
    storage_bytes: Type.Integer({ description: 'Bytes of the documents that there are now' }),
  }),
});
export type UsageReport = Static<typeof UsageReport>;
