/**
 * How much of the installation a tenant may take: its share of the workers, and what it may have waiting. A tenant sets its
 * own below its ceilings; the ceilings are the installation's unless the operator has granted others. What is set counts
 * from the next upload and the next hand-out on.
 */
import type { QuotaChange, Quotas } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { currentScope, runAs } from '../kernel/context.ts';
import { AppError, type FieldError } from '../kernel/errors.ts';
import type { QueueLimits } from '../repositories/admission.ts';
import {
  type BudgetSetting,
  getBudget,
  getSpent,
  grantBudget,
  setBudget,
  wakeWaiting,
} from '../repositories/budgets.ts';
import { grantLimits } from '../repositories/installation.ts';
import { getQuotas, setQuotas } from '../repositories/quotas.ts';

export interface QuotaSettings {
  get(): Promise<Quotas>;
  /** `invalid_request` where a value is above its ceiling. */
  set(change: QuotaChange): Promise<Quotas>;
  /** Changes a tenant's ceilings, for the operator; `not_found` where there is no such tenant. */
  grant(tenantId: string, change: QuotaChange, traceId: string): Promise<Quotas>;
}

export interface QuotaSettingsOptions {
  database: Database;
  limits: QueueLimits;
  /** Told of a tenant whose waiting tasks may go on. */
  feeder: { nudge(lane: 'ingest', tenantId: string): void };
}

const NANOS = 1e9;
const NO_BUDGET = {
  period: 'month',
  max_tokens: null,
  max_cost_nanos: null,
  granted_tokens: null,
  granted_cost_nanos: null,
} as const;

const dollarsOf = (nanos: number | null) => (nanos === null ? null : nanos / NANOS);

/** Undefined where nothing of the change is about budgets. */
function settingOf({
  max_tokens: maxTokens,
  max_cost: cost,
  budget_period: period,
}: QuotaChange): BudgetSetting | undefined {
  if (maxTokens === undefined && cost === undefined && period === undefined) return undefined;
  return { period, maxTokens, maxCostNanos: typeof cost === 'number' ? Math.max(1, Math.round(cost * NANOS)) : cost };
}

/** The end of this day or month, in UTC. */
function endOfMonth(): Date {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1));
}

/** The operator is no user of the tenants. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

function assertBelow(ceilings: Quotas['ceilings'], change: QuotaChange): void {
  const errors: FieldError[] = [];
  for (const name of ['weight', 'max_outstanding', 'max_outstanding_bytes', 'max_tokens', 'max_cost'] as const) {
    const wanted = change[name];
    const most = ceilings[name];
    if (typeof wanted === 'number' && most !== null && wanted > most) {
      errors.push({ path: `/${name}`, message: `at most ${most}` });
    }
  }
  const isGranted = ceilings.max_tokens !== null || ceilings.max_cost !== null;
  if (isGranted && change.budget_period !== undefined) {
    errors.push({ path: '/budget_period', message: 'is the operator’s, who has granted a budget' });
  }
  if (errors.length > 0) throw new AppError('invalid_request', 'More is asked for than was granted.', { errors });
}

export function createQuotaSettings({ database, limits, feeder }: QuotaSettingsOptions): QuotaSettings {
  const noTenant = () => new AppError('not_found', 'There is no such tenant.');

  async function get(): Promise<Quotas> {
    const [quotas, budget, spent] = await database.tenant(async (sql) => {
      const row = await getBudget(sql, { lock: false });
      return [await getQuotas(sql, limits), row, await getSpent(sql, row?.period ?? NO_BUDGET.period)];
    });
    if (!quotas) throw noTenant();
    const bounds = budget ?? NO_BUDGET;
    return {
      ...quotas,
      max_tokens: bounds.max_tokens,
      max_cost: dollarsOf(bounds.max_cost_nanos),
      budget_period: bounds.period,
      used_tokens: spent.used.tokens,
      used_cost: spent.used.costNanos / NANOS,
      reserved_tokens: spent.reserved.tokens,
      reserved_cost: spent.reserved.costNanos / NANOS,
      budget_resets_at: (budget?.ends_at ?? endOfMonth()).toISOString(),
      ceilings: {
        ...quotas.ceilings,
        max_tokens: bounds.granted_tokens,
        max_cost: dollarsOf(bounds.granted_cost_nanos),
      },
    };
  }

  /** What waits for a budget looks again: it may be larger now, or gone. */
  async function wake(tenantId: string): Promise<void> {
    await database.system((sql) => wakeWaiting(sql, tenantId));
    feeder.nudge('ingest', tenantId);
  }

  return {
    get,

    async set(change) {
      assertBelow((await get()).ceilings, change);
      // A ceiling that is lowered in between binds all the same: admission takes the lower of the two.
      const setting = settingOf(change);
      await database.tenant(async (sql) => {
        await setQuotas(sql, change);
        if (setting) await setBudget(sql, setting);
      });
      if (setting) await wake(currentScope().tenantId);
      return get();
    },

    async grant(tenantId, change, traceId) {
      const setting = settingOf(change);
      const isThere = await database.system(async (sql) => {
        if (!(await grantLimits(sql, tenantId, change))) return false;
        if (setting) await grantBudget(sql, tenantId, setting);
        return true;
      });
      if (!isThere) throw noTenant();
      if (setting) await wake(tenantId);
      return runAs({ tenantId, userId: NOBODY, traceId }, get);
    },
  };
}
