-- What work with models has cost, and who asked for it. A row is written in the transaction that records the work: the end of
-- a turn's attempt, the batch of vectors that becomes rows. Nothing else is locked there: counters that all work of a tenant
-- shares would make publications wait for each other. A sweep of the system moves the rows into sums of a day, and who
-- reads adds both up in one statement, so that each row is seen once.
create table usage_records (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  -- Of a turn or a task; of work that is neither, an id of its own.
  source_id uuid not null,
  attempt integer not null,
  -- Which batch of the attempt: the ordinal of its first chunk.
  part integer not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  at timestamptz not null default now(),
  model text not null,
  prompt_tokens bigint not null check (prompt_tokens >= 0),
  completion_tokens bigint not null check (completion_tokens >= 0),
  embedding_tokens bigint not null check (embedding_tokens >= 0),
  -- Counted by us, because the provider did not say.
  counted boolean not null,
  -- Billionths of a US dollar; null: no price is known.
  cost_nanos bigint check (cost_nanos >= 0),
  primary key (tenant_id, source_id, attempt, part)
);

create table usage_daily (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  -- In UTC.
  day date not null,
  user_id uuid not null,
  model text not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  embedding_tokens bigint not null,
  -- Of all of them: those that we counted, and those without a known price.
  counted_tokens bigint not null,
  unpriced_tokens bigint not null,
  cost_nanos bigint not null,
  requests bigint not null,
  primary key (tenant_id, day, user_id, model)
);

alter table usage_records enable row level security;
alter table usage_records force row level security;
alter table usage_daily enable row level security;
alter table usage_daily force row level security;

create policy own_rows on usage_records to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
create policy own_rows on usage_daily for select to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
-- The tenant's sums, for administrators: a transaction says that this is what it looks for (`repositories/usage.ts`, alone).
create policy overseen on usage_records for select to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and current_setting('app.oversees', true) = 'usage');
create policy overseen on usage_daily for select to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and current_setting('app.oversees', true) = 'usage');
-- The sweep adds up what is there, of whatever tenant.
create policy sweep on usage_records to dreamhub_system using (true) with check (false);
create policy sweep on usage_daily to dreamhub_system using (true) with check (true);

grant select, insert on usage_records to dreamhub_tenant;
grant select on usage_daily to dreamhub_tenant;
grant select, delete on usage_records to dreamhub_system;
grant select, insert, update on usage_daily to dreamhub_system;
