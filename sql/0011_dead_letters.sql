-- Dead letters are listed and counted over all tenants; finished tasks, which are many more, are not to be read for it.
create index tasks_dead on tasks (tenant_id, id) where status = 'dead';
