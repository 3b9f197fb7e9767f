#!/usr/bin/env bash
# Installs what a fresh machine with Node, npm, make and apt is missing: Bun, redis-server (unless REDIS_URL names one)
# and the packages of package.json. Quick and quiet where everything is there.
#
#   setup.sh            for running DreamHub
#   setup.sh packages   Bun and packages alone: for checking the sources
#   setup.sh tests      for running the tests: PgBouncer and clamd too; their tests are skipped where they cannot be had
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# The Makefile looks here first.
local_prefix="${XDG_CACHE_HOME:-$HOME/.cache}/dreamhub/bun"
bun_version=$(sed -n 's/.*"packageManager": *"bun@\([0-9.]*\)".*/\1/p' package.json)

say() { printf '%s\n' "$*" >&2; }

bun_is_fit() {
  local found
  found=$(bun --version 2>/dev/null) || return 1
  [ "$(printf '%s\n%s\n' "$bun_version" "$found" | sort -V | head -n 1)" = "$bun_version" ]
}

# npm may refuse to run a package's install script; Bun's then has to be run by hand, or there is no binary.
finish_bun() { # MODULES_DIR
  hash -r
  "$1/bun/bin/bun.exe" --version >/dev/null 2>&1 || node "$1/bun/install.js"
}

install_bun() {
  command -v npm >/dev/null || { say 'Bun is missing and there is no npm to install it with: see https://bun.com'; exit 1; }
  say "installing Bun $bun_version"
  if ! command -v bun >/dev/null && { [ "$(id -u)" = 0 ] || [ -w "$(npm root --global)" ]; }; then
    npm install --global --no-fund --no-audit --loglevel=error "bun@$bun_version" >&2
    finish_bun "$(npm root --global)"
  else
    mkdir -p "$local_prefix"
    npm install --prefix "$local_prefix" --no-fund --no-audit --loglevel=error "bun@$bun_version" >&2
    finish_bun "$local_prefix/node_modules"
    say "Bun is in $local_prefix/node_modules/.bin: add it to your PATH to use it without make"
    export PATH="$local_prefix/node_modules/.bin:$PATH"
  fi
  hash -r
  bun_is_fit || { say "Bun $bun_version was installed and does not run"; exit 1; }
}

install_redis() {
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }; then
    say 'installing redis-server'
    "${as_root[@]}" apt-get update -qq >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null
  else
    say 'redis-server is missing: install redis (or valkey) with the packages of this system, or set REDIS_URL'
    exit 1
  fi
}

# For tests alone: they run one of their own, so the one that the package starts is stopped again.
install_pgbouncer() {
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  command -v apt-get >/dev/null || return 1
  say 'installing pgbouncer'
  "${as_root[@]}" apt-get update -qq >&2 || return 1
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends pgbouncer >/dev/null || return 1
  if command -v systemctl >/dev/null; then "${as_root[@]}" systemctl disable --now pgbouncer >/dev/null 2>&1 || true; fi
}

# For tests alone, too: they run a daemon of their own, with a signature of their own. 7 MB; the signatures' updater is left out.
install_clamd() {
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  command -v apt-get >/dev/null || return 1
  say 'installing clamd'
  "${as_root[@]}" apt-get update -qq >&2 || return 1
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends clamav-daemon >/dev/null || return 1
  if command -v systemctl >/dev/null; then "${as_root[@]}" systemctl disable --now clamav-daemon >/dev/null 2>&1 || true; fi
}

bun_is_fit || install_bun
if [ "${1:-}" != packages ] && [ -z "${REDIS_URL:-}${REDIS_URL_FILE:-}" ]; then
  command -v redis-server >/dev/null || command -v valkey-server >/dev/null || install_redis
fi
if [ "${1:-}" = tests ] && ! command -v pgbouncer >/dev/null && [ ! -x /usr/sbin/pgbouncer ]; then
  install_pgbouncer || say 'pgbouncer is missing and could not be installed: what must hold behind it is NOT tested'
fi
if [ "${1:-}" = tests ] && ! command -v clamd >/dev/null && [ ! -x /usr/sbin/clamd ]; then
  install_clamd || say 'clamd is missing and could not be installed: what a real scanner finds is NOT tested'
fi
# Bun compares quickly, but not for free: the lockfile's age tells the same.
if [ ! -e node_modules/.dreamhub-installed ] || [ bun.lock -nt node_modules/.dreamhub-installed ] || [ package.json -nt node_modules/.dreamhub-installed ]; then
  bun install --frozen-lockfile >&2
  touch node_modules/.dreamhub-installed
fi
