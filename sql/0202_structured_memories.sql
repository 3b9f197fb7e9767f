-- What a user has noted for the own chats to know: facts by name. They go with the membership.
create table structured_memories (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  -- Compared by its bytes, as cursors are.
  key text collate "C" not null check (length(key) between 1 and 100),
  value jsonb not null,
  -- Of the value as JSON, UTF-8.
  bytes integer not null check (bytes between 1 and 4096),
  -- Counts the changes, from 1.
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, user_id, key),
  foreign key (tenant_id, user_id) references memberships (tenant_id, user_id) on delete cascade
);

alter table structured_memories enable row level security;
alter table structured_memories force row level security;

create policy own_rows on structured_memories to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);

grant select, insert, update, delete on structured_memories to dreamhub_tenant;
