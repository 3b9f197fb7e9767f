/** Rows of the backlog for tests, written past the services: tenants with documents and tasks, conversations and turns. */
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { createTestDatabase } from './services.ts';

const uuid = () => Bun.randomUUIDv7();

export interface TaskSeed {
  priority?: number;
  /** Seconds from now. */
  runIn?: number;
  status?: string;
  /** Seconds from now; null: not handed out, no lease. */
  handedOut?: number | null;
  leasedFor?: number | null;
}

export type TestBacklog = Awaited<ReturnType<typeof startBacklog>>;

export async function startBacklog() {
  const testDatabase = await createTestDatabase();
  const database = createDatabase({ url: testDatabase.url, max: 10, embedded: false });
  const sql = postgres(testDatabase.adminUrl, { max: 2, onnotice: () => undefined });
  const at = (seconds: number | null | undefined) =>
    seconds === null || seconds === undefined ? sql`null` : sql`now() + ${seconds} * interval '1 second'`;

  return {
    database,
    sql,

    async tenant({ weight = 1 }: { weight?: number } = {}): Promise<string> {
      const [tenantId, userId] = [uuid(), uuid()];
      await sql`insert into tenants (id, name) values (${tenantId}, ${`tenant ${tenantId}`})`;
      await sql`insert into accounts (tenant_id, id, email, password_hash) values (${tenantId}, ${userId}, ${`${userId}@x.test`}, '')`;
      await sql`insert into tenant_load (tenant_id, weight) values (${tenantId}, ${weight})`;
      return tenantId;
    },

    /** Tasks of a tenant, in one statement; returns their ids in order. */
    async tasks(tenantId: string, seeds: readonly TaskSeed[]): Promise<string[]> {
      const documentId = uuid();
      const userId = uuid();
      await sql`
        insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type)
        values (${tenantId}, ${documentId}, ${userId}, 'tenant', '', '', 'text/plain', 1, ${Buffer.from(crypto.getRandomValues(new Uint8Array(32)))}, 'upload')`;
      const ids: string[] = [];
      for (const seed of seeds) {
        const id = uuid();
        ids.push(id);
        await sql`
          insert into tasks (tenant_id, id, kind, document_id, user_id, status, priority, run_at, handed_out_at, leased_until,
            document_version, size, traceparent)
          values (${tenantId}, ${id}, 'ingest', ${documentId}, ${userId}, ${seed.status ?? 'queued'}, ${seed.priority ?? 5},
            ${at(seed.runIn ?? 0)}, ${at(seed.handedOut)}, ${at(seed.leasedFor)}, 1, 1, 'trace')`;
      }
      await sql`update tenant_load set outstanding = outstanding + ${ids.length} where tenant_id = ${tenantId}`;
      return ids;
    },

    /** Many alike: waiting, or handed out so many seconds ago. */
    async manyTasks(tenantId: string, count: number, { handedOut }: { handedOut?: number } = {}): Promise<void> {
      const [seed] = await this.tasks(tenantId, [{}]);
      await sql`
        insert into tasks (tenant_id, id, kind, document_id, user_id, document_version, size, handed_out_at)
        select tenant_id, gen_random_uuid(), kind, document_id, user_id, 1, 1, ${at(handedOut)}
        from tasks, generate_series(1, ${count}) where id = ${seed ?? ''}`;
      await sql`delete from tasks where id = ${seed ?? ''}`;
      await sql`update tenant_load set outstanding = outstanding + ${count - 1} where tenant_id = ${tenantId}`;
    },

    async conversation(tenantId: string): Promise<string> {
      const id = uuid();
      await sql`insert into conversations (tenant_id, id, user_id) values (${tenantId}, ${id}, ${uuid()})`;
      return id;
    },

    async turn(tenantId: string, conversationId: string, status = 'queued'): Promise<string> {
      const id = uuid();
      await sql`
        insert into turns (tenant_id, id, conversation_id, user_id, message_id, answer_id, status)
        values (${tenantId}, ${id}, ${conversationId}, ${uuid()}, ${uuid()}, ${uuid()}, ${status})`;
      return id;
    },

    async end(table: 'tasks' | 'turns', ids: readonly string[]): Promise<void> {
      const status = table === 'tasks' ? 'succeeded' : 'completed';
      await sql`update ${sql(table)} set status = ${status}, finished_at = now(), leased_until = null where id = any(${[...ids]}::uuid[])`;
    },

    /** Ids of a tenant's rows that are handed out and not ended. */
    async handedOut(tenantId: string): Promise<string[]> {
      const rows = await sql<{ id: string }[]>`
        select id from tasks where tenant_id = ${tenantId} and handed_out_at is not null and status in ('queued', 'running')
        order by id`;
      return rows.map(({ id }) => id);
    },

    async stop() {
      await database.close();
      await sql.end({ timeout: 5 });
      await testDatabase.drop();
    },
  };
}
