-- What a user sets for the own chats. It goes with the membership.
create table user_settings (
  tenant_id uuid not null default current_setting('app.tenant_id')::uuid references tenants on delete cascade,
  user_id uuid not null default current_setting('app.user_id')::uuid,
  default_model text check (length(default_model) between 1 and 200),
  custom_prompt text check (length(custom_prompt) between 1 and 4000),
  -- A BCP 47 tag in its canonical form.
  language text check (length(language) between 2 and 35),
  -- Sealed for this row alone (src/kernel/sealing.ts); by its last characters its user knows it again.
  openai_key bytea,
  openai_key_last4 text check (length(openai_key_last4) = 4),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, user_id),
  check (openai_key is not null or openai_key_last4 is null),
  foreign key (tenant_id, user_id) references memberships (tenant_id, user_id) on delete cascade
);

alter table user_settings enable row level security;
alter table user_settings force row level security;

create policy own_rows on user_settings to dreamhub_tenant
  using (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid)
  with check (tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid);

grant select, insert, update on user_settings to dreamhub_tenant;
