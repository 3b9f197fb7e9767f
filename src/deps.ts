/** Wires everything, visibly: what both roles share, then the side of each. What a role does not need is not made. */

import type { AnyElysia } from 'elysia';
import { createWorkerApp } from './app.ts';
import { createServerSide } from './deps-server.ts';
import { createShared, type Environment } from './deps-shared.ts';
import { createWorkerSide } from './deps-worker.ts';
import type { Service } from './kernel/service.ts';
import type { Part } from './lifecycle.ts';

export interface Deps {
  app: AnyElysia;
  /** In the order in which they start; they stop in the opposite one. */
  parts: Part[];
  /** No new work from now on: load balancers look elsewhere. */
  leave(): Promise<void>;
}

const STAGING_MAX_AGE_MS = 86_400_000;

export async function createDeps(env: Environment): Promise<Deps> {
  const { config, backends, logger, metrics } = env;
  const { blobs } = backends;
  const shared = await createShared(env);
  const { turns, control, feeder, health } = shared;
  const base = { health, metrics: metrics.registry, metricsToken: config.metricsToken, logger };
  const server = config.role === 'worker' ? undefined : createServerSide(shared);
  const worker = turns && createWorkerSide(shared, turns);

  const sweeper: Service = {
    name: 'staging-sweep',
    start: async () => void (await blobs.sweepStaging(STAGING_MAX_AGE_MS)),
    stop: async () => {},
  };
  return {
    app: server?.app(base) ?? createWorkerApp(base),
    parts: [control, ...(server?.parts ?? []), feeder.service, sweeper, ...(worker ?? [])],
    async leave() {
      health.leave();
      await server?.leave();
    },
  };
}
