-- What a tenant may spend on models in a day or a month. What is spent is what the records of usage say (0210), so there is
-- no counter that could differ from them; what is under way is reserved here, a row for each turn and for each task that
-- buys vectors. Who reserves locks the tenant's budget, so no two pass on the same rest.
create table budgets (
  tenant_id uuid primary key default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  period text not null default 'month' check (period in ('day', 'month')),
  -- The tenant's own, and what the operator bounds it by; null: not bounded.
  max_tokens bigint check (max_tokens > 0),
  max_cost_nanos bigint check (max_cost_nanos > 0),
  granted_tokens bigint check (granted_tokens > 0),
  granted_cost_nanos bigint check (granted_cost_nanos > 0)
);

create table budget_reservations (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  -- The turn or task.
  source_id uuid not null,
  tokens bigint not null check (tokens >= 0),
  cost_nanos bigint not null check (cost_nanos >= 0),
  primary key (tenant_id, source_id)
);

alter table budgets enable row level security;
alter table budgets force row level security;
alter table budget_reservations enable row level security;
alter table budget_reservations force row level security;
create policy tenant_rows on budgets to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
create policy tenant_rows on budget_reservations to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
-- The operator grants, metrics read, tasks end together (0100).
create policy system_grants on budgets to dreamhub_system using (true) with check (true);
create policy system_ends on budget_reservations to dreamhub_system using (true) with check (false);
grant select, insert (tenant_id, period, max_tokens, max_cost_nanos), update (period, max_tokens, max_cost_nanos)
  on budgets to dreamhub_tenant;
grant select, insert, update on budgets to dreamhub_system;
grant select, insert, update, delete on budget_reservations to dreamhub_tenant;
grant select, delete on budget_reservations to dreamhub_system;

-- However it ends, or is put back, or is deleted: what it had reserved is free from that moment.
create function free_reservation() returns trigger language plpgsql as $$
begin
  delete from budget_reservations where tenant_id = old.tenant_id and source_id = old.id;
  return null;
end $$;
create trigger free_reservation after update of status on turns for each row
  when (old.status in ('queued', 'running') and new.status not in ('queued', 'running')) execute function free_reservation();
create trigger free_reservation_of_deleted after delete on turns for each row
  when (old.status in ('queued', 'running')) execute function free_reservation();
create trigger free_reservation after update of status on tasks for each row
  when (old.status = 'running' and new.status <> 'running') execute function free_reservation();
create trigger free_reservation_of_deleted after delete on tasks for each row
  when (old.status = 'running') execute function free_reservation();

-- What waits for a budget goes on at once when there is more of it.
grant update (run_at) on tasks to dreamhub_system;
