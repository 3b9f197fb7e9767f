/** What administrators see: the queue, its dead letters and its limits. Schemas, like `resources.ts`. */
import { type Static, Type } from '@sinclair/typebox';
import { LANES } from './jobs.ts';
import { Failure, Id, Nullable, Timestamp } from './resources.ts';

/** How far an administrator sees: the operator over the installation, an owner or admin over the own tenant. */
export type Reach = { readonly kind: 'installation' } | { readonly kind: 'tenant'; readonly tenantId: string };

export const LaneState = Type.Object({
  lane: Type.Unsafe<(typeof LANES)[number]>({ type: 'string', enum: [...LANES] }),
  queued: Type.Integer({ description: 'Could run now and waits' }),
  running: Type.Integer(),
  delayed: Type.Integer({ description: 'Waits for its next attempt' }),
  oldest_seconds: Type.Number({ description: 'For how long the first of the queued has been waiting' }),
  outstanding: Type.Integer({ description: 'Unfinished, as admission counts it' }),
  outstanding_bytes: Type.Integer(),
  limit: Nullable(Type.Integer({ description: 'Most unfinished ones of the tenant; null where nothing bounds them' })),
  limit_bytes: Nullable(Type.Integer()),
});
export type LaneState = Static<typeof LaneState>;

export const BusyTenant = Type.Object({
  tenant_id: Id,
  name: Type.String(),
  outstanding: Type.Integer(),
  outstanding_bytes: Type.Integer(),
  limit: Type.Integer(),
  limit_bytes: Type.Integer(),
  weight: Type.Number(),
});
export type BusyTenant = Static<typeof BusyTenant>;

export const QueueState = Type.Object({
  lanes: Type.Array(LaneState),
  top_tenants: Nullable(
    Type.Array(BusyTenant, { description: 'For the operator: who has most unfinished, first. Null for a tenant' }),
  ),
});
export type QueueState = Static<typeof QueueState>;

export const DeadLetter = Type.Object({
  id: Type.String({ format: 'uuid', description: 'Of the task' }),
  tenant_id: Id,
  kind: Type.String(),
  document_id: Id,
  size: Type.Integer({ description: 'Bytes' }),
  priority: Type.Integer({ minimum: 0, maximum: 9 }),
  attempt: Type.Integer({ description: 'Of the last attempt' }),
  retry_count: Type.Integer(),
  reason: Failure,
  created_at: Timestamp,
  died_at: Timestamp,
});
export type DeadLetter = Static<typeof DeadLetter>;

export const LOWEST_WEIGHT = 0.1;
/** What a tenant may give itself where the operator has granted nothing else. */
export const HIGHEST_WEIGHT = 10;

const Limits = {
  weight: Type.Number({ description: 'Share of the workers beside other tenants that have work' }),
  max_outstanding: Type.Integer({ description: 'Unfinished documents' }),
  max_outstanding_bytes: Type.Integer({ description: 'Bytes of unfinished documents' }),
};

export const BUDGET_PERIODS = ['day', 'month'] as const;
export type BudgetPeriod = (typeof BUDGET_PERIODS)[number];

const Budget = {
  max_tokens: Nullable(Type.Integer({ description: 'Tokens of models in a period; null: not bounded' })),
  max_cost: Nullable(Type.Number({ description: 'US dollars for models in a period; null: not bounded' })),
};

export const Quotas = Type.Object({
  ...Limits,
  ...Budget,
  budget_period: Type.Unsafe<BudgetPeriod>({ type: 'string', enum: [...BUDGET_PERIODS], description: 'In UTC' }),
  used_tokens: Type.Integer({ description: 'In this period' }),
  used_cost: Type.Number(),
  reserved_tokens: Type.Integer({ description: 'What turns and documents under way are taken to need' }),
  reserved_cost: Type.Number(),
  budget_resets_at: Timestamp,
  outstanding: Type.Integer({ description: 'Unfinished documents there are' }),
  outstanding_bytes: Type.Integer(),
  ceilings: Type.Object(
    { ...Limits, ...Budget },
    { description: 'The most that the tenant may set; the operator changes them' },
  ),
});
export type Quotas = Static<typeof Quotas>;

/** What is absent stays as it is; null sets it back: to the ceiling, and a ceiling to the installation's. */
export interface QuotaChange {
  weight?: number | null;
  max_outstanding?: number | null;
  max_outstanding_bytes?: number | null;
  max_tokens?: number | null;
  /** US dollars. */
  max_cost?: number | null;
  budget_period?: BudgetPeriod;
}
