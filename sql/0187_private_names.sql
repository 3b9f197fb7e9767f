-- Administrators see that private documents are there, by name and size, and may delete them. A transaction says that this
-- is what it looks for (`repositories/documents-overseen.ts`, alone); text, chunks and vectors keep their own policies, so
-- it reads none of what is inside.
create policy overseen on documents for select to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and private_to is not null and current_setting('app.oversees', true) = 'names');
create index documents_private on documents (tenant_id, id) where private_to is not null;
