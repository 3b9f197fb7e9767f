-- What happened, for others to learn of: a row of the same transaction as the change that it tells of, so that neither is
-- there without the other. A relay publishes a tenant's rows in order and deletes them; while Redis is away they wait.
create table outbox (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  -- The order of publication. What was committed before something else began has the lower number; of transactions that
  -- overlapped either may be first, as either might have happened first.
  seq bigint generated always as identity,
  -- Consumers know an event that comes twice by it. UUIDv7, made here: the clock of all events is the database's.
  id uuid not null default encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
    substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1),
    'hex')::uuid,
  type text not null,
  data jsonb not null,
  occurred_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, seq)
);

-- Who publishes a tenant's events: one relay at a time, or their order would be lost. A lease and not a lock, because
-- nobody waits for Redis inside a transaction.
create table outbox_leases (
  tenant_id uuid primary key references tenants on delete cascade,
  holder uuid not null,
  leased_until timestamptz not null
);

alter table outbox enable row level security;
alter table outbox force row level security;
alter table outbox_leases enable row level security;
alter table outbox_leases force row level security;

create policy tenant_rows on outbox to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
-- The relay serves all tenants: it reads what is to be published and deletes what was.
create policy relay on outbox to dreamhub_system using (true);
create policy relay on outbox_leases to dreamhub_system using (true) with check (true);

grant insert on outbox to dreamhub_tenant;
grant select, delete on outbox to dreamhub_system;
grant select, insert, update, delete on outbox_leases to dreamhub_system;
