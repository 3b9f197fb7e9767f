-- Where a tenant's administrators want its events sent, and what became of each.
create table webhooks (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  id uuid not null,
  url text not null,
  -- Signs what is sent, so it cannot be kept as a hash. The tenant's role writes it and cannot read it again.
  secret bytea not null check (length(secret) between 24 and 64),
  -- Empty: all.
  event_types text[] not null default '{}',
  active boolean not null default true,
  deactivated_reason text,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id)
);

create table webhook_deliveries (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  id uuid not null default encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
    substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1),
    'hex')::uuid,
  webhook_id uuid not null,
  event_id uuid not null,
  event_type text not null,
  -- The body, byte for byte the same at each attempt: the signature is over it.
  payload text not null,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  -- Fencing number: taken by each attempt, checked when its result is written.
  attempt integer not null default 0,
  -- When it is tried next; while an attempt runs, when that attempt counts as lost.
  next_at timestamptz not null default now(),
  last_status integer,
  last_error text,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  primary key (tenant_id, id),
  -- An event that the relay publishes twice is delivered once.
  unique (tenant_id, webhook_id, event_id),
  foreign key (tenant_id, webhook_id) references webhooks (tenant_id, id) on delete cascade
);
create index webhook_deliveries_due on webhook_deliveries (next_at) where status = 'pending';
create index webhook_deliveries_list on webhook_deliveries (tenant_id, webhook_id, id desc);
create index webhook_deliveries_ended on webhook_deliveries (finished_at) where finished_at is not null;

alter table webhooks enable row level security;
alter table webhooks force row level security;
alter table webhook_deliveries enable row level security;
alter table webhook_deliveries force row level security;

create policy tenant_rows on webhooks to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
create policy tenant_rows on webhook_deliveries to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
-- The relay makes deliveries of events, and the sender sends them, for all tenants.
create policy sender on webhooks to dreamhub_system using (true) with check (true);
create policy sender on webhook_deliveries to dreamhub_system using (true) with check (true);

grant select (tenant_id, id, url, event_types, active, deactivated_reason, created_at), insert, delete
  on webhooks to dreamhub_tenant;
grant select on webhook_deliveries to dreamhub_tenant;
grant select, update (active, deactivated_reason) on webhooks to dreamhub_system;
grant select, insert, update, delete on webhook_deliveries to dreamhub_system;
