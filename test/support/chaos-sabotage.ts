/**
 * Makes PostgreSQL fail statements of DreamHub: with the errors that a server has of itself (deadlocks, a full disk, no
 * memory), or by ending the backend in the middle of a transaction. Triggers on the tables look into a table of what is
 * to fail now, so that nothing has to be altered while work is going on.
 */
import type postgres from 'postgres';

export const SABOTAGED = [
  'tasks',
  'documents',
  'chunks',
  'chunk_vectors',
  'task_logs',
  'outbox',
  'tenant_load',
  'turns',
  'messages',
  'conversations',
  'idempotency_keys',
  'outbox_leases',
  'webhook_deliveries',
] as const;

/** Whose rows may be refused at the end of a transaction too, as by a deferred constraint. */
const DEFERRED: readonly string[] = ['tasks', 'documents', 'turns', 'messages'];

/**
 * Deadlock, serialization failure, lock timeout, cancelled, full disk, no memory; or the backend's end; or it stands still
 * for as long as the sabotage lasts.
 */
export const SABOTAGE_CODES = ['40P01', '40001', '55P03', '57014', '53100', '53200', 'terminate', 'hold'] as const;

export interface Sabotage {
  readonly table: (typeof SABOTAGED)[number];
  /** Only as the transaction ends, where that table can: else with the statement. */
  readonly atCommit: boolean;
  readonly code: (typeof SABOTAGE_CODES)[number];
  /** Of the statements (of the rows, at a commit). */
  readonly share: number;
}

export interface Saboteur {
  begin(sabotage: Sabotage): Promise<void>;
  /** Backends that are held. */
  held(): Promise<number[]>;
  /** That of one table, at once or at a commit; else all of it. */
  end(table?: Sabotage['table']): Promise<void>;
}

/** `sql` is the superuser's, in the database of an installation. */
export async function createSaboteur(sql: postgres.Sql): Promise<Saboteur> {
  await sql`create schema sabotage`;
  await sql`create table sabotage.plans (place text primary key, code text not null, share float8 not null)`;
  // With the superuser's rights: the table of plans is nobody else's, and DreamHub's roles may end no backend.
  await sql.unsafe(`
    create function sabotage.spoil() returns trigger language plpgsql security definer
      set search_path = pg_catalog as $$
    declare plan sabotage.plans;
    begin
      select * into plan from sabotage.plans where place = tg_argv[0];
      if plan.place is not null and random() < plan.share then
        if plan.code = 'terminate' then perform pg_terminate_backend(pg_backend_pid());
        elsif plan.code = 'hold' then
          while exists (select from sabotage.plans where place = tg_argv[0]) loop perform pg_sleep(0.02); end loop;
        else raise exception 'sabotage of %', tg_argv[0] using errcode = plan.code;
        end if;
      end if;
      return null;
    end $$`);
  for (const table of SABOTAGED) {
    await sql.unsafe(`create trigger sabotage before insert or update or delete on ${table}
      for each statement execute function sabotage.spoil('${table}')`);
  }
  for (const table of DEFERRED) {
    await sql.unsafe(`create constraint trigger sabotage_commit after insert or update on ${table}
      deferrable initially deferred for each row execute function sabotage.spoil('${table} at commit')`);
  }
  return {
    async begin({ table, atCommit, code, share }) {
      const place = atCommit && DEFERRED.includes(table) ? `${table} at commit` : table;
      await sql`insert into sabotage.plans values (${place}, ${code}, ${share})
        on conflict (place) do update set code = excluded.code, share = excluded.share`;
    },
    async held() {
      const rows = await sql<{ pid: number }[]>`
        select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`;
      return rows.map(({ pid }) => pid);
    },
    async end(table) {
      if (table === undefined) await sql`delete from sabotage.plans`;
      else await sql`delete from sabotage.plans where place in (${table}, ${`${table} at commit`})`;
    },
  };
}
