-- Small documents are published several in one transaction (`services/ingestion-publication.ts`), so what each of them has done
-- for it counts. A tenant's changes are counted once a transaction: whoever searches sees all of them or none. And the first
-- version of a document that was never published replaces nothing: neither spaces nor versions nor failures of others are
-- there, since all three are of documents that were.
create or replace function count_generation() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    update corpus_generations set generation = generation + 1
    where tenant_id = old.tenant_id and xmin <> pg_current_xact_id()::xid;
  else
    insert into corpus_generations as g (tenant_id) values (new.tenant_id)
    on conflict (tenant_id) do update set generation = g.generation + 1 where g.xmin <> pg_current_xact_id()::xid;
  end if;
  return null;
end $$;

create or replace function record_document_spaces() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('app.clearing', true), '') = 'on' then
    return null;
  end if;
  -- The number is SWITCH_LOCK of src/repositories/spaces.ts.
  perform pg_advisory_xact_lock_shared(7261005112);
  if old.live_version is not null or new.live_version is distinct from 1 then
    delete from document_spaces s
    where s.tenant_id = new.tenant_id and s.document_id = new.id and s.version <> new.live_version;
    delete from document_versions v
    where v.tenant_id = new.tenant_id and v.document_id = new.id and v.version <> new.live_version;
    delete from space_failures f where f.tenant_id = new.tenant_id and f.document_id = new.id;
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
