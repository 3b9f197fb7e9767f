-- Replacing what searches read without stopping them: a space is built beside the active one, watched on live questions,
-- switched to in one transaction, and the one before is kept up to date for a while, so that the way back is as short.
alter table embedding_spaces drop constraint embedding_spaces_state_check;
alter table embedding_spaces add constraint embedding_spaces_state_check
  check (state in ('building', 'active', 'standby', 'read_only', 'retired'));
-- What was retired may be built anew.
alter table embedding_spaces drop constraint embedding_spaces_provider_model_dimensions_pipeline_key;
create unique index embedding_spaces_identity on embedding_spaces (provider, model, dimensions, pipeline)
  where state <> 'retired';
alter table embedding_spaces
  -- Share of live questions that are also asked here while it is not the active one.
  add column shadow_share real not null default 0.05 check (shadow_share between 0 and 1),
  -- For how long it is kept up to date after it stopped being the active one.
  add column observe_hours real not null default 24 check (observe_hours >= 0),
  -- The space that it took over from: where a rollback leads.
  add column previous_id integer,
  add column activated_at timestamptz,
  -- When it entered the state that it is in.
  add column changed_at timestamptz not null default now(),
  -- Who builds it.
  add column holder uuid,
  add column leased_until timestamptz;
update embedding_spaces set activated_at = created_at where state = 'active';

-- What shadow reads saw: sums, of which the mean is told.
create table space_shadows (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  space_id integer not null,
  compared bigint not null default 0,
  -- Share of the first ten that both found, and how much their order agrees (rank-biased overlap): each 0…1 a question.
  overlap double precision not null default 0,
  agreement double precision not null default 0,
  failed bigint not null default 0,
  primary key (tenant_id, space_id)
);
alter table space_shadows enable row level security;
alter table space_shadows force row level security;
create policy tenant_rows on space_shadows to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
create policy reports on space_shadows for select to dreamhub_system using (true);
create policy retired on space_shadows for delete to dreamhub_system using (true);
grant select, insert, update on space_shadows to dreamhub_tenant;
grant select, delete on space_shadows to dreamhub_system;

-- A publication and a switch never overlap: what is published before is counted by the switch, what comes after knows it.
create or replace function record_document_spaces() returns trigger language plpgsql as $$
begin
  -- The number is SWITCH_LOCK of src/repositories/spaces.ts.
  perform pg_advisory_xact_lock_shared(7261005112);
  delete from document_spaces s
  where s.tenant_id = new.tenant_id and s.document_id = new.id and s.version <> new.live_version;
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

-- The switch and what leads up to it span tenants: which documents a space still lacks, and whose they are.
create policy switches on embedding_spaces for update to dreamhub_system using (true) with check (true);
grant update on embedding_spaces to dreamhub_system;
create policy published on documents for select to dreamhub_system using (live_version is not null);
grant select (tenant_id, id, live_version, private_to) on documents to dreamhub_system;
-- What a retired space has left.
create policy retired on document_spaces for delete to dreamhub_system
  using (exists (select from embedding_spaces e where e.id = space_id and e.state = 'retired'));
grant delete on document_spaces to dreamhub_system;
