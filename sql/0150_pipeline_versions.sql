-- Another parser or chunker cuts the documents anew, beside what searches see: each space belongs to a cut, and spaces of one
-- cut show the same chunks. Which version of a document a cut shows is its row in lexical_documents; so a switch between
-- cuts is the switch of spaces, one row, whatever the number of documents. Until the space before is retired, both versions
-- of a document are there, each with its chunks, text and postings; a document that is published meanwhile has one version
-- for all cuts.
alter table embedding_spaces
  add column cut integer not null default 0,
  -- When what its cut had left was removed, after it was retired.
  add column cleared_at timestamptz;

-- Which pipeline cut which version, and how: of the live ones, of those beside them, and of those that are being cut.
create table document_versions (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  document_id uuid not null,
  version integer not null,
  private_to uuid,
  pipeline text not null,
  -- The version that was live when this one was cut beside it; null: it was published.
  beside integer,
  pages integer,
  -- Null: it is still being cut.
  chunks integer,
  -- As it was cut, and as its uploader asked for (null: as everybody's).
  chunking jsonb,
  wish jsonb,
  created_at timestamptz not null default now(),
  primary key (tenant_id, document_id, version),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade
);
create index document_versions_unfinished on document_versions (pipeline) where chunks is null;

-- Documents that another pipeline could not read: they keep their chunks in its space too.
create table space_failures (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  document_id uuid not null,
  space_id integer not null,
  private_to uuid,
  attempts integer not null default 1,
  -- It is not tried again.
  given_up boolean not null,
  code text not null,
  message text not null,
  failed_at timestamptz not null default now(),
  primary key (tenant_id, document_id, space_id),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade
);
create index space_failures_list on space_failures (space_id, tenant_id, document_id);

alter table document_versions enable row level security;
alter table document_versions force row level security;
alter table space_failures enable row level security;
alter table space_failures force row level security;
create policy visible_rows on document_versions to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy visible_rows on space_failures to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
-- What a retired pipeline had begun, and whose it is; what failed is told to the operator and goes with its space.
create policy retired on document_versions for select to dreamhub_system using (true);
create policy reports on space_failures for select to dreamhub_system using (true);
create policy retired on space_failures for delete to dreamhub_system using (true);
grant select, insert, update, delete on document_versions, space_failures to dreamhub_tenant;
grant select (tenant_id, document_id, version, private_to, pipeline, chunks) on document_versions to dreamhub_system;
grant select, delete on space_failures to dreamhub_system;

-- The text index of each cut is apart, so that what is built beside changes no statistics of what searches see.
alter table lexical_documents add column cut integer not null default 0;
alter table lexical_documents drop constraint lexical_documents_pkey;
alter table lexical_documents add primary key (tenant_id, document_id, cut);
drop index lexical_documents_loose;
create index lexical_documents_loose on lexical_documents (tenant_id, cut, private_to, document_id) where segment_id is null;
alter table lexical_segments add column cut integer not null default 0;
grant select (document_id, version, cut) on lexical_documents to dreamhub_system;
grant select (cut) on lexical_segments to dreamhub_system;

-- As before, and what was cut beside the version that is replaced goes. Where a retired cut is cleared away, live_version
-- follows to what searches have seen since the switch (app.clearing), and nothing is recorded anew.
create or replace function record_document_spaces() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('app.clearing', true), '') = 'on' then
    return null;
  end if;
  -- The number is SWITCH_LOCK of src/repositories/spaces.ts.
  perform pg_advisory_xact_lock_shared(7261005112);
  delete from document_spaces s
  where s.tenant_id = new.tenant_id and s.document_id = new.id and s.version <> new.live_version;
  delete from document_versions v
  where v.tenant_id = new.tenant_id and v.document_id = new.id and v.version <> new.live_version;
  delete from space_failures f where f.tenant_id = new.tenant_id and f.document_id = new.id;
  insert into document_spaces (tenant_id, document_id, space_id, version, private_to, chunks)
  select new.tenant_id, new.id, v.space_id, new.live_version, new.private_to, count(*)
  from chunk_vectors v
  where v.tenant_id = new.tenant_id and v.document_id = new.id and v.version = new.live_version
  group by v.space_id
  having count(*) = (select count(*) from chunks c
    where c.tenant_id = new.tenant_id and c.document_id = new.id and c.version = new.live_version)
  on conflict (tenant_id, document_id, space_id) do nothing;
  return null;
end $$;

create or replace function keep_lexical_document() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('app.clearing', true), '') = 'on' then
    return null;
  end if;
  if new.live_version is null then
    delete from lexical_documents where tenant_id = new.tenant_id and document_id = new.id;
  else
    insert into lexical_documents (tenant_id, document_id, version, private_to, chunks, cut)
    select new.tenant_id, new.id, new.live_version, new.private_to, coalesce(new.chunks, 0), cuts.cut
    from (
      select distinct e.cut from embedding_spaces e where e.state <> 'retired'
      union select 0 where not exists (select from embedding_spaces)
    ) cuts
    on conflict (tenant_id, document_id, cut) do update
      set version = excluded.version, private_to = excluded.private_to, chunks = excluded.chunks, segment_id = null;
  end if;
  return null;
end $$;
