-- What a conversation came to, up to one of its messages; brought further as it goes on. It goes with the conversation.
create table conversation_summaries (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid,
  conversation_id uuid not null,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  summary text not null check (length(summary) between 1 and 8000),
  -- The last message that is in it, and how many are.
  up_to_position integer not null,
  up_to_message_id uuid not null,
  message_count integer not null,
  updated_at timestamptz not null default now(),
  primary key (tenant_id, conversation_id),
  foreign key (tenant_id, conversation_id) references conversations (tenant_id, id) on delete cascade
);

alter table conversation_summaries enable row level security;
alter table conversation_summaries force row level security;

create policy own_rows on conversation_summaries to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);

grant select, insert, update on conversation_summaries to dreamhub_tenant;
