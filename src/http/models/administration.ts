/** What administrators send. */
import { Type } from '@sinclair/typebox';
import { BUDGET_PERIODS, type BudgetPeriod, LOWEST_WEIGHT, Nullable } from '../../contracts/index.ts';

const Change = {
  max_outstanding: Type.Optional(
    Nullable(Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'Null: as many as granted' })),
  ),
  max_outstanding_bytes: Type.Optional(
    Nullable(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Null: as many as granted' })),
  ),
  max_tokens: Type.Optional(
    Nullable(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Null: as many as granted' })),
  ),
  max_cost: Type.Optional(
    Nullable(
      Type.Number({ minimum: 0.000_001, maximum: 1_000_000, description: 'US dollars; null: as much as granted' }),
    ),
  ),
  budget_period: Type.Optional(
    Type.Unsafe<BudgetPeriod>({
      type: 'string',
      enum: [...BUDGET_PERIODS],
      description: 'What tokens and cost are bounded for; the operator’s to change where the operator has granted them',
    }),
  ),
};

const weightUpTo = (maximum: number) =>
  Type.Optional(Nullable(Type.Number({ minimum: LOWEST_WEIGHT, maximum, description: 'Null: what it was at first' })));

/** What a tenant may set at most is a ceiling of its own, so the schema's bound is only what anybody may be granted. */
export const QuotaChangeBody = Type.Object(
  { weight: weightUpTo(1_000), ...Change },
  { example: { weight: 2, max_outstanding: 2_000 } },
);
