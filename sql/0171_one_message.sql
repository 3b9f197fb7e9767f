-- What a search in a process's own memory asks last: whether what it found may be shown now. A transaction of its own took
-- four statements and two round trips for one small look: three quarters of such a search. These functions enter the scope
-- that they are given and look, in one statement, which is a transaction by itself. They have their caller's rights, which are
-- none but to take on the roles: who calls them could as well have entered by statements of its own.
--
-- The settings keep to the keys: a plan is made once a session and used for every tenant, and reading a small table whole
-- calls current_setting once for each of its rows. They are assigned and not performed, since a sum of calls needs no executor.

-- The tenant's generation; null for a tenant that has none.
create function corpus_generation(tenant uuid, whose uuid) returns bigint language plpgsql as $$
declare
  entered text;
  found_generation bigint;
begin
  entered := set_config('role', 'dreamhub_tenant', true) || set_config('app.tenant_id', tenant::text, true)
    || set_config('app.user_id', whose::text, true) || set_config('enable_seqscan', 'off', true)
    || set_config('plan_cache_mode', 'force_generic_plan', true);
  select g.generation into found_generation from corpus_generations g where g.tenant_id = tenant;
  return found_generation;
end $$;

-- The same where all these versions of documents may be found in the space, as of one moment; else null.
create function confirm_documents(tenant uuid, whose uuid, space integer, documents uuid[], versions integer[])
  returns bigint language plpgsql as $$
declare
  entered text;
  found_generation bigint;
begin
  entered := set_config('role', 'dreamhub_tenant', true) || set_config('app.tenant_id', tenant::text, true)
    || set_config('app.user_id', whose::text, true) || set_config('enable_seqscan', 'off', true)
    || set_config('plan_cache_mode', 'force_generic_plan', true);
  select g.generation into found_generation from corpus_generations g
  where g.tenant_id = tenant
    and cardinality(documents) = (
      select count(*) from document_spaces s
      where s.tenant_id = tenant and s.document_id = any(documents) and s.space_id = space
        and s.version = versions[array_position(documents, s.document_id)]);
  return found_generation;
end $$;

-- The best `most` of these chunks by their vectors, without those that the scope may not find now, best first, and the
-- tenant's generation. The chunks are looked up in one pass over their key and not one by one. Only the best are joined with
-- their documents: all of them, and a planner that expects few rows reads the tenant's every vector instead.
create function confirm_chunks(tenant uuid, whose uuid, space integer, question halfvec, most integer, chunks uuid[])
  returns json language plpgsql as $$
declare
  entered text;
  answer json;
begin
  entered := set_config('role', 'dreamhub_tenant', true) || set_config('app.tenant_id', tenant::text, true)
    || set_config('app.user_id', whose::text, true) || set_config('enable_seqscan', 'off', true)
    || set_config('enable_hashjoin', 'off', true) || set_config('enable_mergejoin', 'off', true)
    || set_config('enable_bitmapscan', 'off', true) || set_config('jit', 'off', true)
    || set_config('plan_cache_mode', 'force_generic_plan', true);
  select json_build_object(
    'generation', (select g.generation from corpus_generations g where g.tenant_id = tenant),
    'ids', coalesce(array_agg(found.id order by found.distance, found.id), '{}'),
    'scores', coalesce(array_agg(-found.distance order by found.distance, found.id), '{}'))
  into answer
  from (
    select best.id, best.distance from (
      select v.chunk_id as id, v.document_id, v.version, v.embedding <#> question as distance
      from chunk_vectors v
      where v.tenant_id = tenant and v.chunk_id = any(chunks) and v.space_id = space and v.shard = 0
      order by distance, id limit most) best
    join document_spaces s on s.tenant_id = tenant and s.space_id = space and s.document_id = best.document_id
      and s.version = best.version) found;
  return answer;
end $$;
