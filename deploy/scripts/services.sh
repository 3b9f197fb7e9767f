#!/usr/bin/env bash
# A real PostgreSQL (>= 15) with pgvector and a real Redis for tests and benchmarks, by the first way that works:
# given URLs, a Docker engine, system packages, a Debian chroot. Says which. What runs already is used again.
#
#   services.sh start   starts what is missing, prints the URLs, writes them to STATE/postgres.url and STATE/redis.url
#   services.sh stop    stops what `start` started, and nothing else
#
# STATE is ${XDG_CACHE_HOME:-$HOME/.cache}/dreamhub/services; the chroot is kept beside it. The cluster is for tests:
# fsync is off, everybody on this machine is trusted, and stopping it loses its databases.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/dreamhub"
state="$cache/services"
chroot_dir="$cache/debian-trixie-pg17"
image="pgvector/pgvector:pg17"
settings=(
  -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300
  -c max_locks_per_transaction=256 -c shared_buffers=128MB -c jit=off -c timezone=UTC -c log_timezone=UTC
)

say() { printf '%s\n' "$*" >&2; }

# The probe is ours, because a machine without PostgreSQL has no psql either.
probe() { bun "$root/test/support/probe.ts" "$1" "${2:-0}"; }

free_port() {
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  printf '%s' "$port"
}

# Runs a talkative command; says what it said only when it failed. Descriptor 9 is our lock, which no server may inherit.
quietly() {
  "$@" >"$state/last.log" 2>&1 9>&- || {
    tail -n 20 "$state/last.log" >&2
    return 1
  }
}

apt_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  say "installing $*"
  quietly apt-get update && quietly env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

docker_works() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

# --- PostgreSQL ------------------------------------------------------------------------------------------------------

started_postgres() { # HOW URL
  printf '%s\n' "$1" >"$state/postgres.how"
  printf '%s\n' "$2" >"$state/postgres.url"
}

postgres_in_docker() {
  docker_works || return 1
  local name="dreamhub-test-postgres-$$" port
  docker run --detach --name "$name" --publish 127.0.0.1::5432 --tmpfs /var/lib/postgresql/data \
    --env POSTGRES_HOST_AUTH_METHOD=trust "$image" "${settings[@]}" >/dev/null || return 1
  port=$(docker port "$name" 5432/tcp | sed 's/.*://' | head -n 1)
  started_postgres "docker $name" "postgres://postgres@127.0.0.1:$port/postgres"
}

# The newest installed server (>= 15) that has pgvector beside it; prints its bin directory.
installed_postgres() {
  local bin version
  for bin in $(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -t/ -k5 -n -r); do
    version=$(basename "$(dirname "$bin")")
    if [ "$version" -ge 15 ] && [ -e "/usr/share/postgresql/$version/extension/vector.control" ]; then
      printf '%s' "$bin"
      return 0
    fi
  done
  return 1
}

# pgvector before 0.8 has no iterative scans: a suite that offers only that is passed over.
packaged_pgvector() {
  local package version
  command -v apt-cache >/dev/null || return 1
  for package in $(apt-cache pkgnames postgresql- | grep -E '^postgresql-[0-9]+-pgvector$' | sort -t- -k2 -n -r); do
    version=$(apt-cache policy "$package" | sed -n 's/^ *Candidate: *//p')
    if [ "$version" != '(none)' ] && dpkg --compare-versions "$version" ge 0.8; then
      printf '%s' "$package"
      return 0
    fi
  done
  return 1
}

as_postgres() { if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --init-groups -- "$@"; else "$@"; fi; }

postgres_from_packages() {
  local bin package data port
  if ! bin=$(installed_postgres); then
    package=$(packaged_pgvector) && apt_install "$package" && bin=$(installed_postgres) || return 1
  fi
  # The server's user must reach it, which a home directory does not grant.
  data=$(mktemp -d "${TMPDIR:-/tmp}/dreamhub-postgres.XXXXXX")
  [ "$(id -u)" = 0 ] && chown postgres: "$data"
  port=$(free_port 54329)
  quietly as_postgres "$bin/initdb" -D "$data/data" -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync || return 1
  quietly as_postgres "$bin/pg_ctl" -D "$data/data" -l "$data/log" -w -t 60 \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= ${settings[*]}" start || return 1
  started_postgres "packages $bin $data" "postgres://postgres@127.0.0.1:$port/postgres"
}

make_chroot() {
  [ -x "$chroot_dir/usr/lib/postgresql/17/bin/postgres" ] && return 0
  command -v debootstrap >/dev/null || apt_install debootstrap || return 1
  say "making a Debian chroot with PostgreSQL 17 and pgvector in $chroot_dir (about a minute, once)"
  rm -rf "$chroot_dir.partial"
  mkdir -p "$cache"
  quietly debootstrap --variant=minbase --include=postgresql-17-pgvector trixie "$chroot_dir.partial" || return 1
  mv "$chroot_dir.partial" "$chroot_dir"
}

in_chroot() { chroot --userspec=postgres:postgres "$chroot_dir" /usr/bin/env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 "$@"; }

postgres_in_chroot() {
  [ "$(id -u)" = 0 ] || { say 'a Debian chroot needs root'; return 1; }
  make_chroot || return 1
  local bin=/usr/lib/postgresql/17/bin data=/var/lib/postgresql/dreamhub-test port
  in_chroot "$bin/pg_ctl" -D "$data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$chroot_dir$data" "$chroot_dir$data.log"
  port=$(free_port 54329)
  quietly in_chroot "$bin/initdb" -D "$data" -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync || return 1
  # Nothing is mounted in there, so shared memory must not want /dev/shm.
  quietly in_chroot "$bin/pg_ctl" -D "$data" -l "$data.log" -w -t 60 \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c dynamic_shared_memory_type=mmap ${settings[*]}" \
    start || { tail -n 20 "$chroot_dir$data.log" >&2; return 1; }
  started_postgres "chroot $bin $data" "postgres://postgres@127.0.0.1:$port/postgres"
}

start_postgres() {
  if [ -n "${TEST_DATABASE_URL:-}" ]; then
    probe "$TEST_DATABASE_URL" 10000
    say 'PostgreSQL: as given by TEST_DATABASE_URL'
    TEST_POSTGRES=$TEST_DATABASE_URL
    return
  fi
  if [ -s "$state/postgres.url" ] && probe "$(cat "$state/postgres.url")" 2>/dev/null; then
    say "PostgreSQL: running already ($(cut -d' ' -f1 "$state/postgres.how"))"
  else
    rm -f "$state/postgres.url"
    postgres_in_docker || postgres_from_packages || postgres_in_chroot || {
      say 'No way to a PostgreSQL with pgvector: set TEST_DATABASE_URL, start a Docker engine, install'
      say 'postgresql-NN-pgvector, or run as root on Debian (a chroot is made then).'
      exit 1
    }
    probe "$(cat "$state/postgres.url")" 60000
    say "PostgreSQL: started from $(cut -d' ' -f1 "$state/postgres.how")"
  fi
  TEST_POSTGRES=$(cat "$state/postgres.url")
}

stop_postgres() {
  [ -s "$state/postgres.how" ] || return 0
  local how bin data
  read -r how bin data <"$state/postgres.how"
  case $how in
    docker) docker rm --force --volumes "$bin" >/dev/null || true ;;
    packages)
      as_postgres "$bin/pg_ctl" -D "$data/data" -m immediate stop >/dev/null 2>&1 || true
      rm -rf "$data"
      ;;
    chroot) in_chroot "$bin/pg_ctl" -D "$data" -m immediate stop >/dev/null 2>&1 || true ;;
  esac
  rm -f "$state/postgres.how" "$state/postgres.url"
  say "PostgreSQL: stopped ($how)"
}

# --- Redis -----------------------------------------------------------------------------------------------------------

start_redis() {
  local server port
  if [ -n "${TEST_REDIS_URL:-}" ]; then
    probe "$TEST_REDIS_URL" 10000
    say 'Redis: as given by TEST_REDIS_URL'
    TEST_REDIS=$TEST_REDIS_URL
    return
  fi
  if [ -s "$state/redis.url" ] && probe "$(cat "$state/redis.url")" 2>/dev/null; then
    say "Redis: running already ($(cut -d' ' -f1 "$state/redis.how"))"
  else
    rm -f "$state/redis.url"
    server=$(command -v redis-server || command -v valkey-server || true)
    if [ -z "$server" ] && apt_install redis-server; then server=$(command -v redis-server); fi
    if [ -n "$server" ]; then
      port=$(free_port 56379)
      "$server" --port "$port" --bind 127.0.0.1 --dir "$state" --save '' --appendonly no --maxmemory-policy noeviction \
        --daemonize yes --pidfile "$state/redis.pid" --logfile "$state/redis.log" >/dev/null 9>&-
      printf 'packages %s\n' "$state/redis.pid" >"$state/redis.how"
      printf 'redis://127.0.0.1:%s\n' "$port" >"$state/redis.url"
    elif docker_works; then
      docker run --detach --name "dreamhub-test-redis-$$" --publish 127.0.0.1::6379 redis:7 \
        redis-server --save '' --appendonly no --maxmemory-policy noeviction >/dev/null
      printf 'docker %s\n' "dreamhub-test-redis-$$" >"$state/redis.how"
      printf 'redis://127.0.0.1:%s\n' "$(docker port "dreamhub-test-redis-$$" 6379/tcp | sed 's/.*://' | head -n 1)" >"$state/redis.url"
    else
      say 'No way to a Redis: set TEST_REDIS_URL, install redis-server or valkey-server, or start a Docker engine.'
      exit 1
    fi
    probe "$(cat "$state/redis.url")" 30000
    say "Redis: started from $(cut -d' ' -f1 "$state/redis.how")"
  fi
  TEST_REDIS=$(cat "$state/redis.url")
}

stop_redis() {
  [ -s "$state/redis.how" ] || return 0
  local how what
  read -r how what <"$state/redis.how"
  case $how in
    docker) docker rm --force --volumes "$what" >/dev/null || true ;;
    packages) [ ! -s "$what" ] || kill "$(cat "$what")" 2>/dev/null || true ;;
  esac
  rm -f "$state/redis.how" "$state/redis.url"
  say "Redis: stopped ($how)"
}

# --- Commands --------------------------------------------------------------------------------------------------------

mkdir -p "$state"
# Test processes that start at once start the services once.
exec 9>"$state/lock"
if command -v flock >/dev/null; then flock 9; fi

case ${1:-} in
  start)
    start_postgres
    start_redis
    printf 'TEST_DATABASE_URL=%s\nTEST_REDIS_URL=%s\n' "$TEST_POSTGRES" "$TEST_REDIS"
    ;;
  stop)
    stop_redis
    stop_postgres
    ;;
  *)
    say 'usage: services.sh start|stop'
    exit 64
    ;;
esac
