-- Secrets of webhooks are sealed from now on (AES-256-GCM, bound to their row): a backup alone signs nothing. Those that are
-- there are sealed when they are next used, and so are those that were sealed under an older key.
alter table webhooks drop constraint webhooks_secret_check;
alter table webhooks
  add column sealed boolean not null default false,
  add constraint webhooks_secret_check check (length(secret) between 24 and 300);

grant update (secret, sealed) on webhooks to dreamhub_system;
