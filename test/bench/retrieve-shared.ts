/**
 * The peer: what most do. All tenants' vectors in one table with one HNSW index, row-level security, and iterative scans
 * until enough rows of the tenant have been met. The same vectors, the same kind of transaction.
 */
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import type { VectorTenant } from '../support/vector-tenants.ts';
import { type Ask, type Installation, NEAREST } from './retrieve-tenants.ts';

/** Copies the vectors of these tenants and indexes them; takes a minute for 40,000 × 1,536. */
export async function buildShared({ admin, space }: Installation, tenants: readonly VectorTenant[]): Promise<void> {
  const ids = tenants.map(({ tenantId }) => tenantId);
  await admin.unsafe(
    `create table shared_vectors (tenant_id uuid, chunk_id uuid, embedding halfvec(${space.dimensions}))`,
  );
  await admin`insert into shared_vectors select tenant_id, chunk_id, embedding from chunk_vectors where tenant_id = any(${ids}::uuid[])`;
  await admin.unsafe(`
    set maintenance_work_mem = '512MB'; set max_parallel_maintenance_workers = 2;
    create index shared_vectors_graph on shared_vectors using hnsw (embedding halfvec_ip_ops);
    create index shared_vectors_tenant on shared_vectors (tenant_id);
    alter table shared_vectors enable row level security;
    alter table shared_vectors force row level security;
    create policy tenant_rows on shared_vectors to dreamhub_tenant using (tenant_id = current_setting('app.tenant_id')::uuid);
    grant select on shared_vectors to dreamhub_tenant;
    analyze shared_vectors`);
}

export function askedShared({ database }: Installation, { tenantId, userId }: VectorTenant): Ask {
  return ({ text: embedding }) =>
    runAs({ tenantId, userId, traceId: newTraceId() }, () =>
      database.tenant(async (sql) => {
        // Its planner would take the tenant's index for so few rows; the peer is the shared graph.
        const [, rows] = await Promise.all([
          sql`select set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('enable_sort', 'off', true),
            set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)`,
          sql<{ id: string; score: number }[]>`
            select chunk_id as id, -(embedding <#> ${embedding}::halfvec) as score from shared_vectors
            where tenant_id = current_setting('app.tenant_id')::uuid
            order by embedding <#> ${embedding}::halfvec limit ${NEAREST}`,
        ]);
        return rows;
      }),
    );
}
