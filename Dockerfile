# One image for every role: DREAMHUB_ROLE says which (all, server, worker). Alone, with a volume on /data, it is a whole
# installation with the embedded database and Redis; docker-compose.yml is the distributed form.
FROM oven/bun:1.4.5-slim AS base
WORKDIR /app

FROM base AS packages
# A glob, so that a tree without patches builds too.
COPY package.json bun.lock ./
COPY patche[s] ./patches
RUN bun install --frozen-lockfile --production --ignore-scripts

FROM base
# For installations without REDIS_URL.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends redis-server \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o bun -g bun -m 0700 /data

COPY --from=packages /app/node_modules ./node_modules
COPY package.json tsconfig.json ./
COPY sql ./sql
COPY actors ./actors
COPY src ./src

# Secrets come as files only in production: NAME_FILE.
ENV NODE_ENV=production \
  HOST=0.0.0.0 \
  PORT=8080 \
  DATA_DIR=/data
USER 1000:1000
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["bun", "-e", "const r = await fetch(`http://127.0.0.1:${process.env.PORT}/readyz`); process.exit(r.ok ? 0 : 1)"]
# bun is process 1: it gets SIGTERM itself and stops in order.
CMD ["bun", "src/main.ts"]
