-- What was answered to requests that carried an `Idempotency-Key`, so that the same request gets the same answer and has no
-- effect again. A row: running (leased) → answered, for a day. Only what succeeded is kept: a failure had no effect.
create table idempotency_keys (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  -- SHA-256 of what the client sent: any length, and nothing of it is kept.
  key_hash bytea not null check (length(key_hash) = 32),
  -- Method, path and query: the same key with another one is a mistake of the client's.
  target text not null,
  -- SHA-256 of the body; null while one is running that is hashed as it arrives.
  body_hash bytea check (length(body_hash) = 32),
  -- Fencing: who runs it. Whoever takes over after a crash takes a new one.
  attempt uuid not null,
  -- Until when the one that runs it is believed to live; null once it is answered.
  leased_until timestamptz,
  status smallint,
  -- Headers and body, sealed: some answers hold what is shown only once.
  answer bytea check (length(answer) <= 300000),
  created_at timestamptz not null default now(),
  primary key (tenant_id, user_id, key_hash),
  check ((leased_until is null) = (status is not null)),
  foreign key (tenant_id, user_id) references accounts (tenant_id, id) on delete cascade
);
create index idempotency_keys_expired on idempotency_keys (created_at);

alter table idempotency_keys enable row level security;
alter table idempotency_keys force row level security;

create policy own_rows on idempotency_keys to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
-- The sweep sees of all tenants only what has expired, and of that not what was answered.
create policy sweep on idempotency_keys to dreamhub_system using (created_at < now() - interval '24 hours');

grant select, insert, update, delete on idempotency_keys to dreamhub_tenant;
grant select (tenant_id, user_id, key_hash, created_at), delete on idempotency_keys to dreamhub_system;
