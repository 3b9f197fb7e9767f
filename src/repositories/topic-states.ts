/** The states of turns and tasks of several tenants, for whoever knows them by name alone. As `dreamhub_system`. */
import type { Sql } from '../db/database.ts';

export interface TopicState {
  tenantId: string;
  id: string;
  userId: string;
  status: string;
}

/** Those that there are, in no order. */
export async function readTopicStates(
  sql: Sql,
  table: 'turns' | 'tasks',
  wanted: readonly { tenantId: string; id: string }[],
): Promise<TopicState[]> {
  if (wanted.length === 0) return [];
  return sql<TopicState[]>`
    select t.tenant_id as "tenantId", t.id, t.user_id as "userId", t.status
    from unnest(${wanted.map(({ tenantId }) => tenantId)}::uuid[], ${wanted.map(({ id }) => id)}::uuid[]) w(tenant_id, id)
    join ${sql(table)} t on t.tenant_id = w.tenant_id and t.id = w.id`;
}
