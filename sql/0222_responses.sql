-- Turns that were asked for as responses of OpenAI's API, and are to be found as such again: what was said with the question,
-- as its client is told it back. A response goes with its turn.
create table responses (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  turn_id uuid not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  previous_turn_id uuid,
  background boolean not null,
  request jsonb not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, turn_id),
  foreign key (tenant_id, turn_id) references turns (tenant_id, id) on delete cascade
);

alter table responses enable row level security;
alter table responses force row level security;

create policy own_rows on responses to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);

grant select, insert on responses to dreamhub_tenant;
