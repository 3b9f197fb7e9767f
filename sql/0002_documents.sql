-- Documents, the tasks that make them searchable, and the counter that admits them.
-- `private_to` is the owner of a private document and null otherwise; every row that shows a document's content carries
-- it, so that one equality in the policy hides it from everybody else, whatever the query forgot.
create table tenant_load (
  tenant_id uuid primary key default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  -- Ingest tasks that are not finished. Raised in the accepting transaction, lowered in the finishing one: exact.
  outstanding integer not null default 0 check (outstanding >= 0),
  outstanding_bytes bigint not null default 0 check (outstanding_bytes >= 0),
  -- Null: the installation's QUEUE_MAX_DEPTH.
  max_outstanding integer check (max_outstanding > 0),
  -- Share of the workers in fair order.
  weight real not null default 1 check (weight > 0)
);

create table documents (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  id uuid not null,
  owner_id uuid not null default current_setting('app.user_id')::uuid,
  visibility text not null check (visibility in ('tenant', 'private')),
  private_to uuid generated always as (case when visibility = 'private' then owner_id end) stored,
  title text not null,
  filename text not null,
  media_type text not null,
  size bigint not null,
  sha256 bytea not null check (length(sha256) = 32),
  source_type text not null,
  metadata jsonb not null default '{}',
  status text not null default 'queued' check (status in ('queued', 'processing', 'quarantined', 'ready', 'failed')),
  pages integer,
  chunks integer,
  -- The version that searches see; null until the first is published. Rows of other versions are work in progress.
  live_version integer,
  last_version integer not null default 1,
  task_id uuid,
  error_code text,
  error_message text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
-- The identity of a document: the same bytes from the same kind of source, once for the tenant and once for each owner
-- who keeps them private.
create unique index documents_identity on documents
  (tenant_id, sha256, source_type, coalesce(private_to, '00000000-0000-0000-0000-000000000000'::uuid));
create index documents_list on documents (tenant_id, id desc);

create table tasks (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  id uuid not null,
  kind text not null check (kind in ('ingest')),
  document_id uuid not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  private_to uuid,
  status text not null default 'queued' check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead')),
  stage text,
  progress real not null default 0,
  chunks_done integer not null default 0,
  chunks_total integer,
  -- Fencing number: taken by each attempt at its start, checked by each of its writes.
  attempt integer not null default 0,
  -- Attempts that failed and were tried again; what MAX_ATTEMPTS bounds. A hand-back is not counted.
  retry_count integer not null default 0,
  priority smallint not null default 5 check (priority between 0 and 9),
  -- Version of the payload's meaning.
  version integer not null default 1,
  -- Version of the document that the task builds.
  document_version integer not null,
  size bigint not null,
  error_code text,
  error_message text,
  run_at timestamptz not null default now(),
  -- When it was put into the tenant's stream; null: it waits in the backlog.
  handed_out_at timestamptz,
  -- A running attempt renews it; past it the attempt counts as lost.
  leased_until timestamptz,
  cancel_requested boolean not null default false,
  traceparent text not null default '',
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, document_id) references documents (tenant_id, id) on delete cascade
);
-- What the feeder hands out next.
create index tasks_backlog on tasks (tenant_id, priority desc, run_at, id) where status = 'queued' and handed_out_at is null;
-- What was handed out and is not finished: the window, and what a lost stream is repaired from.
create index tasks_handed_out on tasks (handed_out_at) where handed_out_at is not null and status in ('queued', 'running');
-- The feeder's sweep finds due tenants without reading their backlogs.
create index tasks_due on tasks (run_at, tenant_id) where status = 'queued' and handed_out_at is null;
create index tasks_list on tasks (tenant_id, id desc);
create index tasks_by_document on tasks (tenant_id, document_id);

create table task_logs (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  task_id uuid not null,
  id bigint generated always as identity,
  attempt integer not null,
  at timestamptz not null default clock_timestamp(),
  level text not null,
  message text not null,
  primary key (tenant_id, task_id, id),
  foreign key (tenant_id, task_id) references tasks (tenant_id, id) on delete cascade
);

alter table tenant_load enable row level security;
alter table tenant_load force row level security;
alter table documents enable row level security;
alter table documents force row level security;
alter table tasks enable row level security;
alter table tasks force row level security;
alter table task_logs enable row level security;
alter table task_logs force row level security;

create policy tenant_rows on tenant_load to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid);
create policy visible_rows on documents to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy visible_rows on tasks to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid))
  with check (tenant_id = current_setting('app.tenant_id')::uuid
         and (private_to is null or private_to = current_setting('app.user_id')::uuid));
create policy visible_rows on task_logs to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid
         and exists (select from tasks t where t.tenant_id = task_logs.tenant_id and t.id = task_logs.task_id))
  with check (tenant_id = current_setting('app.tenant_id')::uuid);

-- The feeder finds due work over all tenants and marks it handed out; what the work is, only the tenant's scope sees.
create policy feeder on tasks for select to dreamhub_system using (true);
create policy feeder_marks on tasks for update to dreamhub_system using (true) with check (true);
-- Registration makes the counter; the feeder reads weights, metrics read depth.
create policy system_register on tenant_load for insert to dreamhub_system with check (true);
create policy system_reads on tenant_load for select to dreamhub_system using (true);

grant select, insert on tenant_load to dreamhub_tenant;
grant update (outstanding, outstanding_bytes) on tenant_load to dreamhub_tenant;
grant select, insert on tenant_load to dreamhub_system;
grant select, insert, update, delete on documents, tasks to dreamhub_tenant;
grant select, insert on task_logs to dreamhub_tenant;
grant select (tenant_id, id, user_id, kind, status, priority, version, run_at, handed_out_at, leased_until, attempt, traceparent, created_at)
  on tasks to dreamhub_system;
grant update (handed_out_at) on tasks to dreamhub_system;
