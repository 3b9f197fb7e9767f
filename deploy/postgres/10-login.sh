#!/bin/bash
# Runs once, as the superuser, when the database is made. Afterwards nobody signs in as the superuser: DreamHub's login
# has no rights of its own and takes on a role in each transaction; migrations run as dreamhub_owner.
set -euo pipefail

psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -v password="$(cat /run/dreamhub/database_password)" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
create extension if not exists vector;

create role dreamhub_owner nologin noinherit nosuperuser nobypassrls;
create role dreamhub_tenant nologin noinherit nosuperuser nobypassrls;
create role dreamhub_system nologin noinherit nosuperuser nobypassrls;
create role dreamhub_login nologin noinherit nosuperuser nobypassrls;
create role dreamhub_app login noinherit nosuperuser nobypassrls password :'password';
grant dreamhub_owner, dreamhub_tenant, dreamhub_system, dreamhub_login to dreamhub_app;

grant create, usage on schema public to dreamhub_owner;
SQL
