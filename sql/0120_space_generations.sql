-- A document that becomes whole in a space which is searched (a builder finishes it after a switch) changes what the
-- tenant's searches could answer, though the document itself stays as it is. A publication has counted already.
create function count_space_change() returns trigger language plpgsql as $$
begin
  if exists (select from embedding_spaces e where e.id = new.space_id and e.state in ('active', 'standby')) then
    update corpus_generations set generation = generation + 1
    where tenant_id = new.tenant_id and xmin <> pg_current_xact_id()::xid;
  end if;
  return null;
end $$;
create constraint trigger count_space_change after insert on document_spaces
  deferrable initially deferred for each row execute function count_space_change();
