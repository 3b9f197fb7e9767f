-- Where documents are pulled from, and what of it is here. A source is synced by whoever holds its lease; each sync takes
-- the next number, and whatever it writes is checked against it, so one that was thought dead changes nothing any more.
create table sources (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  id uuid not null,
  -- In whose name its documents are taken in.
  user_id uuid not null default current_setting('app.user_id')::uuid,
  visibility text not null check (visibility in ('tenant', 'private')),
  private_to uuid generated always as (case when visibility = 'private' then user_id end) stored,
  kind text not null,
  name text not null,
  settings jsonb not null,
  -- Credentials, encrypted with a key of the installation, which no database and no backup of it holds.
  secret bytea,
  -- Null: synced when somebody asks for it.
  interval_minutes integer check (interval_minutes between 5 and 525600),
  -- What the provider wants to know at the next sync.
  cursor jsonb,
  -- Fencing number.
  attempt integer not null default 0,
  next_sync_at timestamptz,
  leased_until timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  -- What the last sync did: added, updated, unchanged, removed, failed.
  counts jsonb,
  error text,
  -- Syncs that failed one after another.
  failures integer not null default 0,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  foreign key (tenant_id, user_id) references accounts (tenant_id, id) on delete cascade
);
create index sources_due on sources (next_sync_at) where next_sync_at is not null;

create table source_items (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  source_id uuid not null,
  key text not null check (octet_length(key) between 1 and 2000),
  private_to uuid,
  -- Equal means unchanged: an ETag, a hash, whatever the provider compares.
  fingerprint text,
  -- What the provider keeps of it.
  state jsonb,
  document_id uuid,
  -- Why its newest content could not be taken in; null: it was.
  error text,
  updated_at timestamptz not null default now(),
  primary key (tenant_id, source_id, key),
  foreign key (tenant_id, source_id) references sources (tenant_id, id) on delete cascade
);
create index source_items_failed on source_items (tenant_id, source_id) where error is not null;

alter table sources enable row level security;
alter table sources force row level security;
alter table source_items enable row level security;
alter table source_items force row level security;
create policy visible_rows on sources to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
              and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy visible_rows on source_items to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
              and (private_to is null or private_to = current_setting('app.user_id')::uuid));
-- Whoever syncs finds what is due over all tenants and leases it; the work is done in the scope of the source's user.
create policy syncing on sources for select to dreamhub_system using (true);
create policy leasing on sources for update to dreamhub_system using (true) with check (true);

grant select, insert, update, delete on sources, source_items to dreamhub_tenant;
grant select (tenant_id, id, user_id, attempt, next_sync_at, leased_until) on sources to dreamhub_system;
grant update (attempt, leased_until, started_at) on sources to dreamhub_system;
