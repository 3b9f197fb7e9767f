-- How tasks went and how tenants grew, for administrators: sums of hours and days that a sweep of the system makes once they
-- are over, so that a year is read as quickly as a day. What is not over is counted when somebody asks. A row is one
-- measure: how many there were, or how many lasted as long as its class says (`src/services/statistics.ts`).
create table statistics (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  grain text not null check (grain in ('hour', 'day')),
  start timestamptz not null,
  measure text not null,
  -- Of durations, in steps of a quarter each: see DURATION_STEP. Else 0.
  class smallint not null,
  n bigint not null,
  primary key (tenant_id, grain, start, measure, class)
);
-- The same of all tenants together: the operator's sums must not grow with their number.
create table installation_statistics (
  grain text not null check (grain in ('hour', 'day')),
  start timestamptz not null,
  measure text not null,
  class smallint not null,
  n bigint not null,
  primary key (grain, start, measure, class)
);
-- Up to when each kind is added up.
create table statistics_progress (
  name text primary key check (name in ('task hours', 'task days', 'growth days')),
  until timestamptz not null
);

alter table statistics enable row level security;
alter table statistics force row level security;
alter table installation_statistics enable row level security;
alter table installation_statistics force row level security;
alter table statistics_progress enable row level security;
alter table statistics_progress force row level security;

-- Asked for by administrators alone, as the queue is (0020): as dreamhub_system, which says whose. A tenant's role has no grant.
create policy tenant_rows on statistics to dreamhub_tenant using (tenant_id = current_setting('app.tenant_id')::uuid);
create policy sweep on statistics to dreamhub_system using (true) with check (true);
create policy sweep on installation_statistics to dreamhub_system using (true) with check (true);
create policy sweep on statistics_progress to dreamhub_system using (true) with check (true);
grant select, insert, update, delete on statistics, installation_statistics to dreamhub_system;
grant select, insert, update on statistics_progress to dreamhub_system;

-- What grows is counted by when it came; nothing of what it is can be read.
create policy counted on documents for select to dreamhub_system using (true);
create policy counted on conversations for select to dreamhub_system using (true);
grant select (tenant_id, id, size, chunks, created_at) on documents to dreamhub_system;
grant select (tenant_id, id, created_at) on conversations to dreamhub_system;

-- What ended since; a task is entered once, when it ends.
create index tasks_finished on tasks (finished_at, tenant_id) where finished_at is not null;
