-- Resumable uploads: what was promised (size, name, fields), how much of it is here, and what became of it. The bytes are
-- blobs, one a part. An upload belongs to who began it, so its rows are that user's alone, whatever becomes visible later.
create table upload_sessions (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  id uuid not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  size bigint not null check (size >= 0),
  -- Bytes that are kept: where the client goes on.
  received bigint not null default 0 check (received between 0 and size),
  status text not null default 'open' check (status in ('open', 'finished', 'failed')),
  filename text not null,
  -- Upload-Metadata as it was sent, which every answer about the upload repeats.
  metadata text not null default '',
  -- The same as a form's fields.
  fields jsonb not null default '{}',
  -- Fencing number: each request that appends takes the next one, and each of its parts is kept only under it.
  writer integer not null default 0,
  document_id uuid,
  task_id uuid,
  duplicate boolean,
  error_kind text,
  error_message text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, user_id) references accounts (tenant_id, id) on delete cascade
);
create index upload_sessions_expired on upload_sessions (expires_at);
create index upload_sessions_open on upload_sessions (tenant_id, user_id) where status = 'open';

create table upload_parts (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  upload_id uuid not null,
  start_offset bigint not null,
  size bigint not null check (size > 0),
  -- Part of the blob's key, so that a request that lost its turn overwrites nothing.
  writer integer not null,
  primary key (tenant_id, upload_id, start_offset),
  foreign key (tenant_id, upload_id) references upload_sessions (tenant_id, id) on delete cascade
);

alter table upload_sessions enable row level security;
alter table upload_sessions force row level security;
alter table upload_parts enable row level security;
alter table upload_parts force row level security;

create policy own_rows on upload_sessions to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
create policy own_rows on upload_parts to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and exists (select from upload_sessions s where s.tenant_id = upload_parts.tenant_id and s.id = upload_parts.upload_id))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
              and exists (select from upload_sessions s where s.tenant_id = upload_parts.tenant_id and s.id = upload_parts.upload_id));
-- The sweep finds what has expired over all tenants; it is removed in its owner's scope.
create policy sweep on upload_sessions for select to dreamhub_system using (true);

grant select, insert, update, delete on upload_sessions to dreamhub_tenant;
grant select, insert, delete on upload_parts to dreamhub_tenant;
grant select (tenant_id, id, user_id, expires_at) on upload_sessions to dreamhub_system;
