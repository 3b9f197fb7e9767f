-- Who exists. Tenants, accounts and refresh tokens are looked up before any tenant is known, so they are global tables
-- that only dreamhub_system may touch; memberships are tenant rows.
create table tenants (
  id uuid primary key,
  name text not null check (length(name) between 1 and 100),
  created_at timestamptz not null default now()
);
create unique index tenants_name on tenants (lower(name));

create table accounts (
  id uuid primary key,
  tenant_id uuid not null references tenants on delete cascade,
  email text not null check (length(email) between 3 and 320),
  password_hash text not null,
  created_at timestamptz not null default now(),
  unique (tenant_id, id)
);
create unique index accounts_email on accounts (tenant_id, lower(email));
-- A login names an e-mail and perhaps no tenant.
create index accounts_by_email on accounts (lower(email));

create table refresh_tokens (
  token_hash bytea primary key,
  -- All tokens that descend from one login; reuse of a spent one revokes them all.
  family_id uuid not null,
  tenant_id uuid not null,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  revoked_at timestamptz,
  foreign key (tenant_id, user_id) references accounts (tenant_id, id) on delete cascade
);
create index refresh_tokens_family on refresh_tokens (family_id);

create table memberships (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  user_id uuid not null,
  role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
  created_at timestamptz not null default now(),
  primary key (tenant_id, user_id),
  foreign key (tenant_id, user_id) references accounts (tenant_id, id) on delete cascade
);

alter table tenants enable row level security;
alter table tenants force row level security;
alter table accounts enable row level security;
alter table accounts force row level security;
alter table refresh_tokens enable row level security;
alter table refresh_tokens force row level security;
alter table memberships enable row level security;
alter table memberships force row level security;

-- Registration and login happen before there is a tenant to be in.
create policy system_all on tenants to dreamhub_system using (true) with check (true);
create policy system_all on accounts to dreamhub_system using (true) with check (true);
create policy system_all on refresh_tokens to dreamhub_system using (true) with check (true);
create policy system_register on memberships for insert to dreamhub_system with check (true);
create policy tenant_rows on memberships to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
-- A signed-in person sees the name of the own tenant and the own account's e-mail.
create policy tenant_self on tenants for select to dreamhub_tenant
  using (id = current_setting('app.tenant_id')::uuid);
create policy tenant_rows on accounts for select to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid);

grant select, insert on tenants, accounts to dreamhub_system;
grant update (password_hash) on accounts to dreamhub_system;
grant select, insert, update, delete on refresh_tokens to dreamhub_system;
grant insert on memberships to dreamhub_system;
grant select (id, name, created_at) on tenants to dreamhub_tenant;
grant select (id, tenant_id, email, created_at) on accounts to dreamhub_tenant;
grant select, insert, update, delete on memberships to dreamhub_tenant;
