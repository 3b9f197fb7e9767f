# What people and CI run; each target says what it does in contract terms. Recipes are in deploy/scripts.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Where deploy/scripts/setup.sh puts Bun when it may not install it for everybody.
export PATH := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dreamhub/bun/node_modules/.bin:$(PATH)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 26

.PHONY: dev-up
dev-up: ## install what is missing and start everything on http://localhost:8080; Ctrl-C stops
	@deploy/scripts/setup.sh
	@DEMO=$${DEMO:-true} exec bun src/main.ts

.PHONY: test
test: ## install what is missing and run every test on real PostgreSQL + pgvector and real Redis
	@deploy/scripts/setup.sh tests
	@deploy/scripts/services.sh start
	@exec bun test/support/run.ts

.PHONY: check
check: ## format, lint, types, import ranks, dead code
	@deploy/scripts/setup.sh packages
	bun x biome check --error-on-warnings .
	bun x tsc --noEmit
	bun test test/unit/architecture.test.ts
	bun x knip

.PHONY: bench
bench: ## the benchmarks, each beside its peer or limit; ARGS names some, or --rounds=N
	@deploy/scripts/setup.sh
	@deploy/scripts/services.sh start >/dev/null
	@exec bun test/bench/run.ts $(ARGS)

.PHONY: chaos
chaos: ## fault runs: RUNS=n of them (20), from SEED=s (1) on; a seed repeats what happens and when
	@deploy/scripts/setup.sh
	@deploy/scripts/services.sh start >/dev/null
	@RUNS=$(or $(RUNS),20) SEED=$(or $(SEED),1) exec bun test test/chaos/seeded.test.ts

.PHONY: soak
soak: ## the long form: 200 fault runs and 500 streams, from a random seed on, which is printed; hours
	@$(MAKE) --no-print-directory chaos RUNS=$(or $(RUNS),200) SEED=$(or $(SEED),$$RANDOM)
	@SOAK=1 bun test test/chaos/shared-transactions.test.ts test/chaos/webhooks.test.ts
	@$(MAKE) --no-print-directory soak-streams SEED=$(or $(SEED),$$RANDOM)

.PHONY: soak-streams
soak-streams: ## streams through cuts, kills, slow readers and a Redis that forgets: 500 seeds of each, or RUNS, from SEED on
	@deploy/scripts/setup.sh
	@deploy/scripts/services.sh start >/dev/null
	@echo "streams from seed $(or $(SEED),1) on"
	@SOAK=1 SEED=$(or $(SEED),1) $(and $(RUNS),RUNS=$(RUNS)) exec bun test test/integration/realtime-property.test.ts test/integration/ws-crowd.test.ts test/e2e/streams-property.test.ts

.PHONY: backup
backup: ## database and blobs into a new folder, TO=folder, while everything runs; reads the environment of the server
	@bun src/command.ts backup "$(or $(TO),backups/$(shell date -u +%Y%m%dT%H%M%SZ))"

.PHONY: restore
restore: ## a backup, FROM=folder, into an empty database and an empty blob store
	@bun src/command.ts restore "$(FROM)"

.PHONY: services
services: ## real PostgreSQL + pgvector and Redis for tests, by the first way that works
	@deploy/scripts/setup.sh
	@deploy/scripts/services.sh start

.PHONY: services-stop
services-stop: ## stop what `make services` started
	@deploy/scripts/services.sh stop
