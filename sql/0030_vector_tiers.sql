-- Vector search chosen by size: which documents are whole in which space, a short code of each vector of a large tenant,
-- and which of the ways of searching a tenant's vectors is in force. The vectors themselves stay where they were written.

-- A document whose chunks of `version` all have their vector in the space: what vector search may find there. It is kept
-- by the trigger below, in the transaction that publishes, so nobody can forget it. Narrower than documents, because each
-- exact search reads all of a tenant's.
create table document_spaces (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  document_id uuid not null,
  space_id integer not null,
  version integer not null,
  private_to uuid,
  chunks integer not null,
  -- Where the codes of its vectors are: null, there are none; 0, in the shard that is scanned; else in the tenant's own.
  shard smallint,
  primary key (tenant_id, document_id, space_id),
  unique (tenant_id, document_id, space_id, version),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade
);
-- What a search adds to the codes, and what the next round encodes.
create index document_spaces_by_shard on document_spaces (tenant_id, space_id, shard);

-- One bit for each dimension: a sixteenth of a halfvec, so a scan reads a sixteenth of the pages. Never written by
-- ingestion. Shard 0 is scanned; another one belongs to one tenant alone and has a graph index. A code goes with its
-- document's record: what is deleted or published anew takes its codes along in the same transaction.
create table chunk_codes (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  document_id uuid not null,
  chunk_id uuid not null,
  space_id integer not null,
  shard smallint not null default 0,
  version integer not null,
  private_to uuid,
  code bit varying not null,
  primary key (tenant_id, document_id, chunk_id, space_id, shard),
  foreign key (tenant_id, document_id, space_id, version)
    references document_spaces (tenant_id, document_id, space_id, version) on delete cascade
) partition by list (space_id);

-- How a tenant's vectors are searched in a space; no row: exactly. Kept by whoever holds the lease.
create table vector_tiers (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  space_id integer not null,
  tier text not null default 'exact' check (tier in ('exact', 'bits', 'indexed')),
  -- The tenant's own shard, from the moment when rows may be moved there.
  shard smallint check (shard > 0),
  -- Codes that are looked at again by their vectors: as many as the recall measured here took.
  candidates integer not null default 0,
  recall real,
  chunks bigint not null default 0,
  -- Codes were found not to tell this tenant's vectors apart: exact until the tenant has grown by half.
  refused_at_chunks bigint,
  holder uuid,
  leased_until timestamptz,
  changed_at timestamptz not null default now(),
  primary key (tenant_id, space_id)
);
create unique index vector_tiers_shard on vector_tiers (space_id, shard);

-- Replaces the document's records by those of its new live version; the codes of the old ones go with them. Not so while a
-- switch of spaces changes what is live: then the versions of both spaces are kept.
create function record_document_spaces() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('app.space_switch', true), '') <> 'on' then
    delete from document_spaces s
    where s.tenant_id = new.tenant_id and s.document_id = new.id and s.version <> new.live_version;
  end if;
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
create trigger documents_record_spaces after update of live_version on documents for each row
  when (new.live_version is not null and new.live_version is distinct from old.live_version)
  execute function record_document_spaces();

-- What was published before: the owner sees no rows while the policies are forced, and nobody else may write these.
alter table documents no force row level security;
alter table chunk_vectors no force row level security;
insert into document_spaces (tenant_id, document_id, space_id, version, private_to, chunks)
select d.tenant_id, d.id, v.space_id, d.live_version, d.private_to, count(*)
from documents d join chunk_vectors v on v.tenant_id = d.tenant_id and v.document_id = d.id and v.version = d.live_version
group by 1, 2, 3, 4, 5;
alter table documents force row level security;
alter table chunk_vectors force row level security;

-- The codes of the spaces that there are: partitioned as their vectors are, by space and then by shard.
do $$
declare space record;
begin
  for space in select id from embedding_spaces loop
    execute format('create table chunk_codes_s%s partition of chunk_codes for values in (%s) partition by list (shard)',
      space.id, space.id);
    execute format('create table chunk_codes_s%s_0 partition of chunk_codes_s%s for values in (0)', space.id, space.id);
    execute format('alter table chunk_codes_s%s_0 alter column code set storage plain', space.id);
    -- See src/db/spaces.ts for the reasons of these.
    execute format('alter table chunk_codes_s%s_0 set (autovacuum_vacuum_scale_factor = 0.05,
      autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)', space.id);
    execute format('alter table chunk_vectors_s%s_0 set (autovacuum_vacuum_scale_factor = 0.05,
      autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)', space.id);
  end loop;
end $$;

alter table document_spaces enable row level security;
alter table document_spaces force row level security;
alter table chunk_codes enable row level security;
alter table chunk_codes force row level security;
alter table vector_tiers enable row level security;
alter table vector_tiers force row level security;

create policy visible_rows on document_spaces to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy visible_rows on chunk_codes to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy tenant_rows on vector_tiers for select to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid);
-- Who has grown or shrunk, and in whose scope the work goes on: sizes and owners, nothing of what is in a document.
create policy sizes on document_spaces for select to dreamhub_system using (true);
create policy tiers on vector_tiers to dreamhub_system using (true) with check (true);

grant select, insert, update, delete on document_spaces, chunk_codes to dreamhub_tenant;
grant select on vector_tiers to dreamhub_tenant;
grant select on document_spaces to dreamhub_system;
grant select, insert, update, delete on vector_tiers to dreamhub_system;
