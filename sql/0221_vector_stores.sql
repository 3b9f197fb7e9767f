-- Vector stores, as clients of OpenAI's API know them: sets of documents under a name, each document with attributes of its
-- own in each. They hold no text and no vector: what is found in one is what a search over its documents finds.
create table vector_stores (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  id uuid not null,
  owner_id uuid not null default current_setting('app.user_id')::uuid,
  name text not null default '',
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  last_active_at timestamptz not null default now(),
  primary key (tenant_id, id)
);

-- Which documents are in which store. It is gone with either.
create table vector_store_files (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  store_id uuid not null,
  document_id uuid not null,
  attributes jsonb not null default '{}',
  -- Of the files that were added together with it.
  batch_id uuid,
  created_at timestamptz not null default now(),
  primary key (tenant_id, store_id, document_id),
  foreign key (tenant_id, store_id) references vector_stores (tenant_id, id) on delete cascade,
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade
);
create index vector_store_files_document on vector_store_files (tenant_id, document_id);
create index vector_store_files_batch on vector_store_files (tenant_id, batch_id) where batch_id is not null;

alter table vector_stores enable row level security;
alter table vector_stores force row level security;
alter table vector_store_files enable row level security;
alter table vector_store_files force row level security;

create policy tenant_rows on vector_stores to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
-- A private document is in a store for its owner alone: to everybody else it is not there. The look at documents goes through
-- their own policy.
create policy visible_rows on vector_store_files to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and exists (select from documents d where d.tenant_id = vector_store_files.tenant_id and d.id = vector_store_files.document_id))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and exists (select from documents d where d.tenant_id = vector_store_files.tenant_id and d.id = vector_store_files.document_id));

grant select, insert, update, delete on vector_stores, vector_store_files to dreamhub_tenant;
