/** Tenants of a running DreamHub, and rows put straight into their backlog: nobody waits for 50,000 uploads. */
import { createDatabase } from '../../../src/db/database.ts';
import { newTraceId, runAs } from '../../../src/kernel/context.ts';
import { systemIds } from '../../../src/kernel/ids.ts';
import type { TestDatabase } from '../../support/services.ts';

export interface Tenant {
  readonly tenantId: string;
  readonly userId: string;
  readonly token: string;
}

interface Registration {
  access_token: string;
  user: { id: string };
  tenant: { id: string };
}

export async function registerTenant(address: string, name: string): Promise<Tenant> {
  const response = await fetch(`${address}/api/v1/auth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ tenant: name, email: `${name}@example.com`, password: 'correct horse battery' }),
  });
  if (response.status !== 201) throw new Error(`Registering answered ${response.status}: ${await response.text()}`);
  const { access_token, user, tenant } = (await response.json()) as Registration;
  return { tenantId: tenant.id, userId: user.id, token: access_token };
}

const ROWS_A_STATEMENT = 5_000;

/** Inserts documents with a task each, as the tenant itself; returns the tasks' ids. `finished` ones are no backlog. */
export async function addTasks(
  { url }: TestDatabase,
  { tenantId, userId }: Tenant,
  { count, finished }: { count: number; finished: boolean },
): Promise<string[]> {
  const database = createDatabase({ url, max: 1, embedded: false });
  const tasks = Array.from({ length: count }, () => systemIds.uuid());
  try {
    await runAs({ tenantId, userId, traceId: newTraceId() }, async () => {
      for (let from = 0; from < count; from += ROWS_A_STATEMENT) {
        const taskIds = tasks.slice(from, from + ROWS_A_STATEMENT);
        const documentIds = taskIds.map(() => systemIds.uuid());
        await database.tenant(async (sql) => {
          await sql`
            insert into documents (id, visibility, title, filename, media_type, size, sha256, source_type, status, task_id)
            select document_id, 'tenant', 'notes', 'notes.txt', 'text/plain', 1000, sha256(document_id::text::bytea),
              'upload', ${finished ? 'ready' : 'queued'}, task_id
            from unnest(${documentIds}::uuid[], ${taskIds}::uuid[]) as rows (document_id, task_id)`;
          await sql`
            insert into tasks (id, kind, document_id, document_version, size, status, attempt, started_at, finished_at)
            select task_id, 'ingest', document_id, 1, 1000, ${finished ? 'succeeded' : 'queued'}, ${finished ? 1 : 0},
              case when ${finished} then now() end, case when ${finished} then now() end
            from unnest(${documentIds}::uuid[], ${taskIds}::uuid[]) as rows (document_id, task_id)`;
          if (!finished) {
            await sql`update tenant_load
              set outstanding = outstanding + ${taskIds.length}, outstanding_bytes = outstanding_bytes + ${taskIds.length * 1_000}
              where tenant_id = current_setting('app.tenant_id')::uuid`;
          }
        });
      }
    });
  } finally {
    await database.close();
  }
  return tasks;
}
