#!/bin/sh
# Makes the secrets of the distributed form in a folder, each in a file of its own, and keeps those that are there:
#
#   make-secrets.sh FOLDER
#
# Runs in a container as root; the volume is mounted read-only, and only by services of the same compose file.
set -eu

folder=$1
mkdir -p "$folder"
cd "$folder"
umask 022

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# A value goes to its file at once or not at all.
put() { # NAME, value on standard input
  cat >"$1.new"
  mv "$1.new" "$1"
}

make() { # NAME
  [ -s "$1" ] || random | put "$1"
}

for name in postgres_password database_password redis_password jwt_secret operator_token metrics_token; do make "$name"; done
# Nobody can make up keys of providers, and a new encryption key would not open what the JWT secret has sealed: empty until
# somebody fills them in.
for name in openai_api_keys embedding_api_keys rerank_api_keys encryption_key; do [ -e "$name" ] || : >"$name"; done

# Derived, so that a password that somebody brings is used everywhere.
printf 'postgres://dreamhub_app:%s@postgres:5432/dreamhub' "$(cat database_password)" | put database_url
printf 'redis://:%s@redis:6379' "$(cat redis_password)" | put redis_url
put redis.conf <<EOF
requirepass $(cat redis_password)
dir /data
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
EOF
echo "secrets are in $folder"
