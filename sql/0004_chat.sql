-- Conversations belong to a user; nobody else in the tenant sees them.
create table conversations (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  id uuid not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  title text,
  message_count integer not null default 0,
  -- Turn n owns positions 2n-1 (the question) and 2n (the answer), so an answer stands below its own question.
  turn_count integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create index conversations_list on conversations (tenant_id, user_id, id desc);

create table messages (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  id uuid not null,
  conversation_id uuid not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  -- 1, 2, 3 … in the conversation.
  position integer not null,
  role text not null check (role in ('user', 'assistant')),
  content text not null,
  sources jsonb not null default '[]',
  turn_id uuid,
  parent_id uuid,
  rating smallint check (rating in (1, -1)),
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  unique (tenant_id, conversation_id, position),
  foreign key (tenant_id, conversation_id) references conversations (tenant_id, id) on delete cascade
);

create table turns (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  id uuid not null,
  conversation_id uuid not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  -- The user's message that asks, and the assistant's that answers.
  message_id uuid not null,
  answer_id uuid not null,
  -- The client's own id of the message: sending it twice makes one turn.
  client_message_id text,
  status text not null default 'queued' check (status in ('queued', 'running', 'completed', 'failed', 'cancelled')),
  attempt integer not null default 0,
  retry_count integer not null default 0,
  model text,
  filter jsonb not null default '{}',
  text text not null default '',
  sources jsonb not null default '[]',
  usage jsonb not null default '{"prompt_tokens": 0, "completion_tokens": 0, "cost": 0}',
  error_code text,
  error_message text,
  run_at timestamptz not null default now(),
  handed_out_at timestamptz,
  leased_until timestamptz,
  cancel_requested boolean not null default false,
  traceparent text not null default '',
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, conversation_id) references conversations (tenant_id, id) on delete cascade
);
create unique index turns_client_message on turns (tenant_id, user_id, client_message_id) where client_message_id is not null;
-- A conversation has one running turn; the next is handed out when it has ended.
create unique index turns_one_running on turns (tenant_id, conversation_id) where status = 'running';
create index turns_unfinished on turns (tenant_id, conversation_id, id) where status in ('queued', 'running');
create index turns_due on turns (run_at, tenant_id) where status = 'queued' and handed_out_at is null;
create index turns_handed_out on turns (handed_out_at) where handed_out_at is not null and status in ('queued', 'running');

alter table conversations enable row level security;
alter table conversations force row level security;
alter table messages enable row level security;
alter table messages force row level security;
alter table turns enable row level security;
alter table turns force row level security;

create policy own_rows on conversations to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
create policy own_rows on messages to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
create policy own_rows on turns to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);
-- The feeder finds due turns over all tenants and marks them handed out.
create policy feeder on turns for select to dreamhub_system using (true);
create policy feeder_marks on turns for update to dreamhub_system using (true) with check (true);

grant select, insert, update, delete on conversations, messages, turns to dreamhub_tenant;
grant select (tenant_id, id, user_id, conversation_id, status, run_at, handed_out_at, leased_until, attempt, traceparent, created_at)
  on turns to dreamhub_system;
grant update (handed_out_at) on turns to dreamhub_system;
