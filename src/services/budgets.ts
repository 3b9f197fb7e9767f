/**
 * Keeps tenants within their budgets: a turn when it is accepted, a batch of vectors before it is bought. Each reserves what it
 * is taken to need, and may begin as long as less than the budget is spent and reserved; so of any number that come at once,
 * what is spent in the end is above the budget by no more than one of them needs. Models without a known price count by
 * their tokens alone.
 */
import type { Database, Sql } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import { createLru } from '../kernel/lru.ts';
import { estimateTokens } from '../kernel/text/tokens.ts';
import type { Prices } from '../llm/prices.ts';
import { type Amount, type Budget, getBudget, getSpent, reserve } from '../repositories/budgets.ts';

export interface Need {
  /** The turn or task. */
  sourceId: string;
  model: string;
  tokens: { input: number; output: number };
}

export interface Budgets {
  /** In the transaction that accepts a turn. Throws `quota_exceeded`, with the time until the period ends. */
  admitTurn(sql: Sql, turnId: string, turn: { content: string; model: string | null }): Promise<void>;
  /** In the ambient scope, before a batch is bought for a task. Throws as above. A new budget is seen within seconds. */
  admitBatch(taskId: string, batch: { model: string; tokens: number }): Promise<void>;
  /** In the ambient scope, before something small is bought beside turns and tasks: it reserves nothing. Throws as above. */
  assertLeft(): Promise<void>;
}

export interface BudgetsOptions {
  database: Pick<Database, 'tenant' | 'read'>;
  prices: Prices;
  /** What answers where a message names no other. */
  chatModel: string;
  clock: Clock;
}

/** Passages with what stands around them, earlier messages and instructions; and an answer. */
const TURN_INPUT = 12_000;
const TURN_OUTPUT = 1_000;
/** For how long a process believes that a tenant has no budget. */
const BELIEVED_MS = 5_000;
const REMEMBERED = 10_000;

const isUsedUp = ({ max_tokens: tokens, max_cost_nanos: cost }: Budget, total: Amount) =>
  (tokens !== null && total.tokens >= tokens) || (cost !== null && total.costNanos >= cost);

export function createBudgets({ database, prices, chatModel, clock }: BudgetsOptions): Budgets {
  const free = createLru<string, number>(REMEMBERED);

  /** Throws where what is spent and reserved, but for a source's own reservation, is all of the budget. */
  async function assertUnder(sql: Sql, budget: Budget, sourceId: string | null): Promise<void> {
    const { used, reserved } = await getSpent(sql, budget.period, sourceId);
    const total = { tokens: used.tokens + reserved.tokens, costNanos: used.costNanos + reserved.costNanos };
    if (isUsedUp(budget, total)) {
      throw new AppError('quota_exceeded', `The budget of this ${budget.period} is used up.`, {
        retryAfterMs: Math.max(1_000, budget.left_ms),
      });
    }
  }

  async function admit(sql: Sql, { sourceId, model, tokens }: Need): Promise<void> {
    const known = await getBudget(sql, { lock: false });
    if (!known || (known.max_tokens === null && known.max_cost_nanos === null)) return;
    // Once more, locked: who reserved meanwhile is seen.
    const budget = (await getBudget(sql, { lock: true })) ?? known;
    await assertUnder(sql, budget, sourceId);
    const costNanos = prices.nanosOf(model, tokens) ?? 0;
    await reserve(sql, sourceId, { tokens: tokens.input + tokens.output, costNanos });
  }

  return {
    assertLeft: () =>
      database.tenant(async (sql) => {
        const budget = await getBudget(sql, { lock: false });
        if (budget && (budget.max_tokens !== null || budget.max_cost_nanos !== null))
          await assertUnder(sql, budget, null);
      }),

    admitTurn: (sql, sourceId, { content, model }) =>
      admit(sql, {
        sourceId,
        model: model ?? chatModel,
        tokens: { input: TURN_INPUT + estimateTokens(content), output: TURN_OUTPUT },
      }),

    async admitBatch(sourceId, { model, tokens }) {
      const { tenantId } = currentScope();
      if ((free.get(tenantId) ?? 0) > clock.now()) return;
      const budget = await database.read((sql) => getBudget(sql, { lock: false }));
      if (!budget || (budget.max_tokens === null && budget.max_cost_nanos === null)) {
        free.set(tenantId, clock.now() + BELIEVED_MS, 1);
        return;
      }
      await database.tenant((sql) => admit(sql, { sourceId, model, tokens: { input: tokens, output: 0 } }));
    },
  };
}
