-- People join a tenant by invitation, leave it, and call it with keys of their own.

-- Who leaves keeps the account's row, without a password: documents say whose they are, and what was private stays that
-- user's and nobody's else. The e-mail becomes free, for another account that has nothing of the first one.
alter table accounts add column removed_at timestamptz;
drop index accounts_email;
create unique index accounts_email on accounts (tenant_id, lower(email)) where removed_at is null;
drop index accounts_by_email;
create index accounts_by_email on accounts (lower(email)) where removed_at is null;
grant update (removed_at) on accounts to dreamhub_system;
grant select (removed_at) on accounts to dreamhub_tenant;

-- Ends all sessions of one user, and tells when each was last there.
create index refresh_tokens_user on refresh_tokens (tenant_id, user_id);

-- A credential is looked up before its tenant is known, with what its user may do at this moment.
create policy standing on memberships for select to dreamhub_system using (true);
grant select (tenant_id, user_id, role) on memberships to dreamhub_system;

-- Whatever the code forgot, and whoever else is leaving at this moment: a tenant keeps an owner. Not asked where a whole
-- tenant or account goes, which is not done as dreamhub_tenant.
create function keep_an_owner() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and new.role = 'owner' then
    return null;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('owners ' || old.tenant_id::text, 0));
  if not exists (select from memberships m where m.tenant_id = old.tenant_id and m.role = 'owner') then
    raise exception 'a tenant keeps an owner' using errcode = 'check_violation', constraint = 'memberships_keep_an_owner';
  end if;
  return null;
end $$;
create trigger keep_an_owner after update of role or delete on memberships
  for each row when (old.role = 'owner' and current_user = 'dreamhub_tenant') execute function keep_an_owner();

-- Who may join. The row goes when its token is used; its id is then the id of the account. It goes too when the one who
-- invited leaves.
create table invitations (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  id uuid not null,
  email text not null check (length(email) between 3 and 320),
  role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
  token_hash bytea not null check (length(token_hash) = 32),
  invited_by uuid not null default current_setting('app.user_id')::uuid,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, invited_by) references memberships (tenant_id, user_id) on delete cascade
);
create unique index invitations_email on invitations (tenant_id, lower(email));
create unique index invitations_token on invitations (token_hash);

-- Keys that stand for a user, by the hash of their text. They go with the membership.
create table api_keys (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  id uuid not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  name text not null check (length(name) between 1 and 100),
  -- How the key begins, by which its user knows it again.
  prefix text not null,
  key_hash bytea not null check (length(key_hash) = 32),
  scopes text[] not null check (cardinality(scopes) > 0 and scopes <@ array['read', 'write', 'chat', 'admin']),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  -- Written at most once a minute.
  last_used_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, user_id) references memberships (tenant_id, user_id) on delete cascade
);
create unique index api_keys_hash on api_keys (key_hash);
create index api_keys_user on api_keys (tenant_id, user_id);

alter table invitations enable row level security;
alter table invitations force row level security;
alter table api_keys enable row level security;
alter table api_keys force row level security;

create policy tenant_rows on invitations to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
create policy own_rows on api_keys to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
-- Both are looked up by what a stranger presents; who joins takes the invitation away.
create policy joining on invitations to dreamhub_system using (true);
create policy credentials on api_keys to dreamhub_system using (true);

grant select (tenant_id, id, email, role, invited_by, created_at, expires_at), insert, delete,
  update (role, token_hash, invited_by, created_at, expires_at) on invitations to dreamhub_tenant;
grant select, delete on invitations to dreamhub_system;
grant select (tenant_id, id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at), insert, delete
  on api_keys to dreamhub_tenant;
grant select, update (last_used_at) on api_keys to dreamhub_system;
