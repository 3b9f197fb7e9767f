import type { QuotaChange } from '../contracts/index.ts';
import { HIGHEST_WEIGHT } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { byteLimitOf, limitOf, type QueueLimits } from './admission.ts';

/** Of the queue; budgets are `budgets.ts`. */
export interface QueueQuotas {
  weight: number;
  max_outstanding: number;
  max_outstanding_bytes: number;
  outstanding: number;
  outstanding_bytes: number;
  ceilings: { weight: number; max_outstanding: number; max_outstanding_bytes: number };
}

type QuotaRow = Omit<QueueQuotas, 'ceilings'> & {
  granted_weight: number;
  granted_outstanding: number;
  granted_outstanding_bytes: number;
};

/** The limits in force, how much of them is taken, and what bounds them. Undefined where the tenant is gone. */
export async function getQuotas(sql: Sql, limits: QueueLimits): Promise<QueueQuotas | undefined> {
  const [row] = await sql<QuotaRow[]>`
    select weight, ${limitOf(sql, limits)} as max_outstanding, ${byteLimitOf(sql, limits)} as max_outstanding_bytes,
      outstanding, outstanding_bytes, coalesce(granted_weight, ${HIGHEST_WEIGHT}) as granted_weight,
      coalesce(granted_outstanding, ${limits.maxOutstanding}::int) as granted_outstanding,
      coalesce(granted_outstanding_bytes, ${limits.maxOutstandingBytes}::bigint) as granted_outstanding_bytes
    from tenant_load where tenant_id = current_setting('app.tenant_id')::uuid`;
  if (!row) return undefined;
  const { granted_weight, granted_outstanding, granted_outstanding_bytes, ...inForce } = row;
  return {
    ...inForce,
    ceilings: {
      weight: granted_weight,
      max_outstanding: granted_outstanding,
      max_outstanding_bytes: granted_outstanding_bytes,
    },
  };
}

/** Changes the tenant's own settings; what is absent stays, null is the ceiling (of the weight: what it was at first). */
export async function setQuotas(sql: Sql, change: QuotaChange): Promise<void> {
  const { weight, max_outstanding: outstanding, max_outstanding_bytes: bytes } = change;
  await sql`
    update tenant_load set
      weight = ${weight === undefined ? sql`weight` : (weight ?? sql`coalesce(granted_weight, 1)`)},
      max_outstanding = ${outstanding === undefined ? sql`max_outstanding` : outstanding},
      max_outstanding_bytes = ${bytes === undefined ? sql`max_outstanding_bytes` : bytes}
    where tenant_id = current_setting('app.tenant_id')::uuid`;
}
