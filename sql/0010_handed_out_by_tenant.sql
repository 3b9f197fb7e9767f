-- The feeder asks of one tenant how much of its work is handed out, the reconciler walks what is handed out tenant by
-- tenant, because each tenant's stream is read once: both need the tenant in front, and nobody needs the time in front.
-- A running row counts even where its hand-out was withdrawn meanwhile, so that it is found when its lease expires.
drop index tasks_handed_out;
create index tasks_handed_out on tasks (tenant_id, id)
  where status = 'running' or (status = 'queued' and handed_out_at is not null);
drop index turns_handed_out;
create index turns_handed_out on turns (tenant_id, id)
  where status = 'running' or (status = 'queued' and handed_out_at is not null);
