-- Admission counts bytes as well as tasks, tenants set their own limits below what the operator grants, and whoever
-- administers sees the queue and the dead letters.

-- Null, as for max_outstanding: what the operator grants, and without that the installation's QUEUE_MAX_BYTES.
alter table tenant_load add column max_outstanding_bytes bigint check (max_outstanding_bytes > 0);
-- What a tenant's own settings are bounded by: null, the installation's.
alter table tenant_load add column granted_outstanding integer check (granted_outstanding > 0);
alter table tenant_load add column granted_outstanding_bytes bigint check (granted_outstanding_bytes > 0);
alter table tenant_load add column granted_weight real check (granted_weight > 0);

-- A tenant sets its own limits, the operator what they are bounded by; the check of the counters repairs them.
grant update (weight, max_outstanding, max_outstanding_bytes) on tenant_load to dreamhub_tenant;
create policy system_changes on tenant_load for update to dreamhub_system using (true) with check (true);
grant update (weight, granted_weight, granted_outstanding, granted_outstanding_bytes, outstanding, outstanding_bytes)
  on tenant_load to dreamhub_system;

-- The check of the counters adds sizes up, the list of dead letters says why each died. Both span tenants, or in a tenant
-- the private documents of its members, of which an administrator sees that they wait but never what is in them.
grant select (document_id, size, retry_count, error_code, error_message, started_at, finished_at) on tasks to dreamhub_system;

-- What the counters must equal, and how long the queue is, without reading all that ever ended.
create index tasks_unfinished on tasks (tenant_id) include (size) where status in ('queued', 'running');
