-- Text search that does not read a large tenant's every chunk. Published documents are put together into segments, whose
-- postings (which chunks hold a term, how often) are rows keyed by tenant and term: equality of uuid and text is leakproof,
-- so the key is used below the policies, where a GIN index over tsvectors is not. Segments are never changed, only
-- written and replaced (as in O'Neil et al., "The Log-Structured Merge-Tree", 1996); a document that is in none yet is
-- read by its chunks' tsvectors. Whether a chunk may be found is decided by documents and chunks alone, so a segment may
-- name what is gone, and a job that is late costs time, never a result.

create table lexical_segments (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  id uuid not null,
  -- A segment holds documents of one audience: what all may see, or one owner's private ones.
  private_to uuid,
  chunks integer not null check (chunks > 0),
  documents integer not null check (documents > 0),
  -- Sum of the chunks' lengths in words.
  length double precision not null,
  -- For each chunk, by its number in the segment: 16 bytes id, 4 bytes number of its document, 4 bytes length (float).
  members bytea not null,
  primary key (tenant_id, id)
);

-- One row a published document, kept by the trigger below in the transaction that publishes.
create table lexical_documents (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  document_id uuid not null,
  version integer not null,
  private_to uuid,
  chunks integer not null,
  -- Null: in no segment yet.
  segment_id uuid,
  primary key (tenant_id, document_id),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade,
  foreign key (tenant_id, segment_id) references lexical_segments (tenant_id, id) on delete set null (segment_id)
);
create index lexical_documents_loose on lexical_documents (tenant_id, private_to, document_id) where segment_id is null;
create index lexical_documents_by_segment on lexical_documents (tenant_id, segment_id) where segment_id is not null;

create table lexical_postings (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  term text collate "C" not null,
  segment_id uuid not null,
  private_to uuid,
  -- Chunks of the segment that hold the term.
  df integer not null,
  -- 4 bytes each, ascending: the chunk's number times 256, plus how often it holds the term (at most 255).
  postings bytea not null,
  primary key (tenant_id, term, segment_id),
  foreign key (tenant_id, segment_id) references lexical_segments (tenant_id, id) on delete cascade
);
create index lexical_postings_by_segment on lexical_postings (tenant_id, segment_id);

-- Grows with every change of what the tenant's searches could answer; caches are worth nothing under another number.
create table corpus_generations (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid primary key,
  generation bigint not null default 1
);

-- What was published before has a row too; the owner sees it while its own policies do not bind it.
alter table documents no force row level security;
insert into lexical_documents (tenant_id, document_id, version, private_to, chunks)
select tenant_id, id, live_version, private_to, coalesce(chunks, 0) from documents where live_version is not null;
insert into corpus_generations (tenant_id) select distinct tenant_id from documents;
alter table documents force row level security;

alter table lexical_segments enable row level security;
alter table lexical_segments force row level security;
alter table lexical_documents enable row level security;
alter table lexical_documents force row level security;
alter table lexical_postings enable row level security;
alter table lexical_postings force row level security;
alter table corpus_generations enable row level security;
alter table corpus_generations force row level security;

create policy visible_rows on lexical_segments to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy visible_rows on lexical_documents to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy visible_rows on lexical_postings to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy tenant_rows on corpus_generations to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
-- The job finds where documents wait over all tenants; what they say, only their scope sees.
create policy compactor on lexical_documents for select to dreamhub_system using (true);
create policy compactor on lexical_segments for select to dreamhub_system using (true);

grant select, insert, update, delete on lexical_segments, lexical_documents, lexical_postings to dreamhub_tenant;
grant select, insert, update on corpus_generations to dreamhub_tenant;
grant select (tenant_id, private_to, chunks, segment_id) on lexical_documents to dreamhub_system;
grant select (tenant_id, id, private_to, chunks, documents) on lexical_segments to dreamhub_system;

create function keep_lexical_document() returns trigger language plpgsql as $$
begin
  if new.live_version is null then
    delete from lexical_documents where tenant_id = new.tenant_id and document_id = new.id;
  else
    insert into lexical_documents (tenant_id, document_id, version, private_to, chunks)
    values (new.tenant_id, new.id, new.live_version, new.private_to, coalesce(new.chunks, 0))
    on conflict (tenant_id, document_id) do update
      set version = excluded.version, private_to = excluded.private_to, chunks = excluded.chunks, segment_id = null;
  end if;
  return null;
end $$;
create trigger keep_lexical_document after update of live_version on documents
  for each row when (new.live_version is distinct from old.live_version) execute function keep_lexical_document();

-- At the end of the transaction, so that its one row a tenant is the last that anything waits for. A tenant that goes takes
-- its documents along: then there is nothing to count.
create function count_generation() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    update corpus_generations set generation = generation + 1 where tenant_id = old.tenant_id;
  else
    insert into corpus_generations as g (tenant_id) values (new.tenant_id)
    on conflict (tenant_id) do update set generation = g.generation + 1;
  end if;
  return null;
end $$;
create constraint trigger count_generation after delete on documents
  deferrable initially deferred for each row execute function count_generation();
create constraint trigger count_change after update on documents
  deferrable initially deferred for each row
  when (new.live_version is distinct from old.live_version or new.title <> old.title or new.metadata <> old.metadata
        or new.visibility <> old.visibility or new.source_type <> old.source_type)
  execute function count_generation();
