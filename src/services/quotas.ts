/**
 * How much of the installation a tenant may take: its share of the workers, and what it may have waiting. A tenant sets its
 * own below its ceilings; the ceilings are the installation's unless the operator has granted others. What is set counts
 * from the next upload and the next hand-out on.
 */
import type { QuotaChange, Quotas } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { runAs } from '../kernel/context.ts';
import { AppError, type FieldError } from '../kernel/errors.ts';
import type { QueueLimits } from '../repositories/admission.ts';
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
}

/** The operator is no user of the tenants. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

function assertBelow(ceilings: Quotas['ceilings'], change: QuotaChange): void {
  const errors: FieldError[] = [];
  for (const name of ['weight', 'max_outstanding', 'max_outstanding_bytes'] as const) {
    const wanted = change[name];
    if (typeof wanted === 'number' && wanted > ceilings[name]) {
      errors.push({ path: `/${name}`, message: `at most ${ceilings[name]}` });
    }
  }
  if (errors.length > 0) throw new AppError('invalid_request', 'More is asked for than was granted.', { errors });
}

export function createQuotaSettings({ database, limits }: QuotaSettingsOptions): QuotaSettings {
  const noTenant = () => new AppError('not_found', 'There is no such tenant.');

  async function get(): Promise<Quotas> {
    const quotas = await database.tenant((sql) => getQuotas(sql, limits));
    if (!quotas) throw noTenant();
    return quotas;
  }

  return {
    get,

    async set(change) {
      assertBelow((await get()).ceilings, change);
      // A ceiling that is lowered in between binds all the same: admission takes the lower of the two.
      await database.tenant((sql) => setQuotas(sql, change));
      return get();
    },

    async grant(tenantId, change, traceId) {
      if (!(await database.system((sql) => grantLimits(sql, tenantId, change)))) throw noTenant();
      return runAs({ tenantId, userId: NOBODY, traceId }, get);
    },
  };
}
