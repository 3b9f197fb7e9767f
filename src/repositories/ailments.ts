/** What the doctor asks of the database, as `dreamhub_system`: whether work stands still, and what the server is. */
import type { Sql } from '../db/database.ts';

export interface StuckWork {
  /** Tasks and turns whose time has come and that nobody was given for so long. */
  waiting: number;
  /** Running ones whose lease ended so long ago. */
  abandoned: number;
  dead: number;
  /** Events that nobody has published. */
  events: number;
  /** Deliveries of webhooks that are long overdue. */
  deliveries: number;
  /** Erasures past their deadline. */
  erasures: number;
}

/** Counts what has not moved for `minutes`. */
export async function findStuckWork(sql: Sql, minutes: number): Promise<StuckWork> {
  const since = sql`now() - ${minutes} * interval '1 minute'`;
  const [row] = await sql<StuckWork[]>`
    select
      (select count(*) from tasks where status = 'queued' and run_at < ${since})::int
        + (select count(*) from turns where status = 'queued' and run_at < ${since})::int as waiting,
      (select count(*) from tasks where status = 'running' and leased_until < ${since})::int
        + (select count(*) from turns where status = 'running' and leased_until < ${since})::int as abandoned,
      (select count(*) from tasks where status = 'dead')::int as dead,
      (select count(*) from outbox where occurred_at < ${since})::int as events,
      (select count(*) from webhook_deliveries where status = 'pending' and next_at < ${since})::int as deliveries,
      (select count(*) from erasures where finished_at is null and deadline < now())::int as erasures`;
  return row ?? { waiting: 0, abandoned: 0, dead: 0, events: 0, deliveries: 0, erasures: 0 };
}

export interface ServerHealth {
  now: Date;
  /** Roles of ours, and the login, that row-level security does not bind. */
  unbound: string[];
  /** Tables whose policies are not forced. */
  unforced: string[];
}

export async function examineServer(sql: Sql): Promise<ServerHealth> {
  const [row] = await sql<ServerHealth[]>`
    select clock_timestamp() as now,
      array(select rolname::text from pg_roles
        where (rolname like 'dreamhub\_%' and rolname in ('dreamhub_tenant', 'dreamhub_system', 'dreamhub_owner', 'dreamhub_login')
          or rolname = session_user) and (rolsuper or rolbypassrls) order by 1) as unbound,
      array(select c.relname::text from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
          and not (c.relrowsecurity and c.relforcerowsecurity) and c.relname <> 'schema_migrations' order by 1) as unforced`;
  return row ?? { now: new Date(0), unbound: [], unforced: [] };
}
