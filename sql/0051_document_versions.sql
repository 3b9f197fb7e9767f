-- Where a document came from, and its next version while that is being built. A document of a source item (a file by its
-- caller's own key, an item of a source, a file inside another document) keeps its id when its bytes change: searches see
-- the old version until the new one is published, and go on seeing it where the new one fails.
alter table documents
  add column source_id uuid,
  -- Which item of its source, or of the caller's own system, the document is. Bounded so that an index can hold it.
  add column source_item text check (octet_length(source_item) between 1 and 2000),
  -- The document that this one was found in, and goes with.
  add column parent_id uuid,
  -- Names the blob of its bytes; null: its id does. Each version that brings new bytes has a blob of its own.
  add column original_id uuid,
  add foreign key (tenant_id, parent_id) references documents (tenant_id, id) on delete cascade;
create index documents_children on documents (tenant_id, parent_id) where parent_id is not null;
create index documents_source on documents (tenant_id, source_id) where source_id is not null;

-- Identity is tenant + bytes + owner if private, and the source item where there is one: then its bytes may change.
drop index documents_identity;
create unique index documents_identity on documents
  (tenant_id, sha256, source_type, coalesce(private_to, '00000000-0000-0000-0000-000000000000'::uuid))
  where source_item is null;
create unique index documents_item on documents
  (tenant_id, coalesce(source_id, parent_id, '00000000-0000-0000-0000-000000000000'::uuid), source_type, source_item,
   coalesce(private_to, '00000000-0000-0000-0000-000000000000'::uuid))
  where source_item is not null;

-- What a document becomes when `version` is published; at most one waits, the newest. Kept apart, so that nobody sees the
-- new name, size or bytes beside the old chunks.
create table document_revisions (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  document_id uuid not null,
  private_to uuid,
  version integer not null,
  original_id uuid not null,
  title text not null,
  filename text not null,
  media_type text not null,
  size bigint not null,
  sha256 bytea not null check (length(sha256) = 32),
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (tenant_id, document_id),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade
);

alter table document_revisions enable row level security;
alter table document_revisions force row level security;
create policy visible_rows on document_revisions to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
grant select, insert, update, delete on document_revisions to dreamhub_tenant;
