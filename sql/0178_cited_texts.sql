-- An answer cites places in the text of one version of a document, and stays checkable: the texts of versions that searches
-- no longer see are kept while an answer cites them. Texts that none cites go after a day: what was found a moment ago may
-- still be read, or cited by an answer that is being written.

-- Versions whose text is kept although no search shows them. The text itself is a blob.
create table kept_texts (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  document_id uuid not null,
  version integer not null,
  private_to uuid,
  replaced_at timestamptz not null default now(),
  -- When somebody looks whether it is still cited.
  look_at timestamptz not null default now() + interval '1 day',
  primary key (tenant_id, document_id, version),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade
);
create index kept_texts_due on kept_texts (look_at);

-- Which texts the answers of a turn cite. Without a key to documents: one may go while an answer is written.
create table turn_citations (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  turn_id uuid not null,
  document_id uuid not null,
  version integer not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  primary key (tenant_id, turn_id, document_id, version),
  foreign key (tenant_id, turn_id) references turns (tenant_id, id) on delete cascade
);
create index turn_citations_of_text on turn_citations (tenant_id, document_id, version);

alter table kept_texts enable row level security;
alter table kept_texts force row level security;
alter table turn_citations enable row level security;
alter table turn_citations force row level security;
create policy visible_rows on kept_texts to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy own_rows on turn_citations to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
-- The sweep finds what is due over all tenants, and whether anybody's answer cites it, which no user could see.
create policy sweep on kept_texts for select to dreamhub_system using (true);
create policy sweep on turn_citations for select to dreamhub_system using (true);
grant select, insert, update, delete on kept_texts, turn_citations to dreamhub_tenant;
grant select (tenant_id, document_id, version, private_to, look_at) on kept_texts to dreamhub_system;
grant select (tenant_id, document_id, version) on turn_citations to dreamhub_system;

-- Answers of before say by their chunks which version they cite, as far as these are still there; and texts stay of
-- versions that a retired pipeline had shown. The owner sees no rows while the policies are forced.
alter table chunks no force row level security;
alter table documents no force row level security;
alter table document_versions no force row level security;
alter table lexical_documents no force row level security;
alter table messages no force row level security;
alter table turns no force row level security;
alter table kept_texts no force row level security;
alter table turn_citations no force row level security;

update messages m set sources = (
  select jsonb_agg(case when c.version is null then s.source else s.source || jsonb_build_object('version', c.version) end
    order by s.place)
  from jsonb_array_elements(m.sources) with ordinality as s(source, place)
  left join chunks c on c.tenant_id = m.tenant_id and c.id = (s.source ->> 'chunk_id')::uuid)
where m.sources <> '[]';
update turns t set sources = (
  select jsonb_agg(case when c.version is null then s.source else s.source || jsonb_build_object('version', c.version) end
    order by s.place)
  from jsonb_array_elements(t.sources) with ordinality as s(source, place)
  left join chunks c on c.tenant_id = t.tenant_id and c.id = (s.source ->> 'chunk_id')::uuid)
where t.sources <> '[]';
insert into turn_citations (tenant_id, turn_id, document_id, version, user_id)
select distinct t.tenant_id, t.id, (s.source ->> 'document_id')::uuid, (s.source ->> 'version')::integer, t.user_id
from turns t cross join lateral jsonb_array_elements(t.sources) as s(source)
where s.source ? 'version';
insert into kept_texts (tenant_id, document_id, version, private_to)
select v.tenant_id, v.document_id, v.version, v.private_to
from document_versions v join documents d on d.tenant_id = v.tenant_id and d.id = v.document_id
where v.chunks is not null and v.version <> d.live_version
  and not exists (select from lexical_documents l
    where l.tenant_id = v.tenant_id and l.document_id = v.document_id and l.version = v.version);

alter table chunks force row level security;
alter table documents force row level security;
alter table document_versions force row level security;
alter table lexical_documents force row level security;
alter table messages force row level security;
alter table turns force row level security;
alter table kept_texts force row level security;
alter table turn_citations force row level security;
