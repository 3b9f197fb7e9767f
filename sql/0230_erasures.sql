-- Orders to erase a user or a whole tenant, and what came of them. An order outlives whom it is about, so it belongs to no
-- tenant's tables (its columns are no tenant_id); once it was looked at a second time it names nobody any more.
create table erasures (
  id uuid primary key,
  -- As it was asked for; `whole`: the tenant goes, also with its only member.
  scope text not null check (scope in ('user', 'tenant')),
  whole boolean not null,
  -- Null once it is settled.
  of_tenant uuid,
  of_user uuid,
  requested_at timestamptz not null default now(),
  deadline timestamptz not null default now() + interval '72 hours',
  started_at timestamptz,
  finished_at timestamptz,
  -- When what was on its way at that moment had been looked for, too.
  settled_at timestamptz,
  -- Fencing number: taken by each attempt, checked by each of its writes.
  attempt integer not null default 0,
  run_at timestamptz not null default now(),
  leased_until timestamptz,
  failures integer not null default 0,
  -- How much of what was removed, by kind.
  deleted jsonb not null default '{}',
  check (settled_at is null or (of_tenant is null and of_user is null and finished_at is not null)),
  check (settled_at is not null or (of_tenant is not null and of_user is not null))
);
create index erasures_due on erasures (run_at) where settled_at is null;
create index erasures_of on erasures (of_tenant) where settled_at is null;

-- Folders of blobs whose rows are gone: written by the transaction that deletes the rows, so that a crash in between leaves no
-- blob behind, and kept until the second look, for what was being written meanwhile.
create table erasure_blobs (
  erasure_id uuid not null references erasures on delete cascade,
  folder text not null,
  primary key (erasure_id, folder)
);

alter table erasures enable row level security;
alter table erasures force row level security;
alter table erasure_blobs enable row level security;
alter table erasure_blobs force row level security;
create policy erasing on erasures to dreamhub_system using (true) with check (true);
create policy erasing on erasure_blobs to dreamhub_system using (true) with check (true);
grant select, insert, update on erasures to dreamhub_system;
grant select, insert, delete on erasure_blobs to dreamhub_system;

-- Whether there is an open order about this tenant, or this account of it. In policies: nobody can delete what nobody has
-- asked to be deleted, whatever the code says.
create function is_erased(tenant uuid, account uuid) returns boolean language sql stable as $$
  select exists (select from erasures e
    where e.of_tenant = tenant and e.settled_at is null and (e.whole or e.of_user = account))
$$;

create policy erased on tenants as restrictive for delete to dreamhub_system using (is_erased(id, null));
create policy renamed on tenants as restrictive for update to dreamhub_system using (is_erased(id, null)) with check (true);
create policy erased on accounts as restrictive for delete to dreamhub_system using (is_erased(tenant_id, id));
create policy erased on memberships for delete to dreamhub_system using (is_erased(tenant_id, user_id));
create policy erased on corpus_generations to dreamhub_system using (is_erased(tenant_id, null));
grant delete, update (name) on tenants to dreamhub_system;
grant delete on accounts, memberships to dreamhub_system;
-- By the triggers of what goes with a tenant.
grant select, update on corpus_generations to dreamhub_system;

-- Everything of a tenant goes with its row: these had no way there yet.
alter table lexical_segments add foreign key (tenant_id) references tenants on delete cascade;
alter table corpus_generations add foreign key (tenant_id) references tenants on delete cascade;
