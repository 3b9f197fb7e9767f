-- What searches read. Text and vectors live apart: vectors belong to an embedding space, are partitioned by it and then
-- by shard, and can be rebuilt without touching text. Shard 0 is never indexed approximately, so ingestion never waits.
create table embedding_spaces (
  id integer generated always as identity primary key,
  provider text not null,
  model text not null,
  dimensions integer not null check (dimensions between 1 and 4000),
  -- Parser and chunker that cut the text.
  pipeline text not null,
  state text not null check (state in ('building', 'active', 'read_only', 'retired')),
  created_at timestamptz not null default now(),
  unique (provider, model, dimensions, pipeline)
);
create unique index embedding_spaces_active on embedding_spaces ((true)) where state = 'active';

create table chunks (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  id uuid not null,
  document_id uuid not null,
  version integer not null,
  ordinal integer not null,
  private_to uuid,
  text text not null,
  -- UTF-16 code units into the document's extracted text; end is exclusive.
  start_offset integer not null,
  end_offset integer not null,
  page integer,
  headings text[] not null default '{}',
  tokens integer not null,
  -- Length in words, two Chinese characters to a word: what BM25 normalises by.
  terms real not null,
  -- Lexemes are made by the application: PostgreSQL's parsers know no Chinese. Positions carry term frequencies.
  tsv tsvector not null,
  primary key (tenant_id, id),
  unique (tenant_id, document_id, version, ordinal),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade
);
-- Within a tenant the lexical scan must not detoast what it only matches against.
alter table chunks alter column tsv set storage main;

create table chunk_vectors (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  chunk_id uuid not null,
  space_id integer not null,
  shard smallint not null default 0,
  document_id uuid not null,
  version integer not null,
  private_to uuid,
  -- SHA-256 of the embedded text: the same text of a tenant is bought once a space.
  content_hash bytea not null,
  embedding halfvec not null,
  primary key (tenant_id, chunk_id, space_id, shard),
  foreign key (tenant_id, chunk_id) references chunks (tenant_id, id) on delete cascade
) partition by list (space_id);
create index chunk_vectors_hash on chunk_vectors (tenant_id, content_hash);
create index chunk_vectors_document on chunk_vectors (tenant_id, document_id, version);

alter table embedding_spaces enable row level security;
alter table embedding_spaces force row level security;
alter table chunks enable row level security;
alter table chunks force row level security;
alter table chunk_vectors enable row level security;
alter table chunk_vectors force row level security;

-- Spaces belong to the installation: everybody reads them, the owner makes them.
create policy everybody_reads on embedding_spaces for select to dreamhub_tenant, dreamhub_system using (true);
create policy owner_makes on embedding_spaces to dreamhub_owner using (true) with check (true);
create policy visible_rows on chunks to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy visible_rows on chunk_vectors to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));

grant select on embedding_spaces to dreamhub_tenant, dreamhub_system;
grant select, insert, update, delete on chunks, chunk_vectors to dreamhub_tenant;
