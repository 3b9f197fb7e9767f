/** The queue side of delivery: what a job that was taken from a stream is done with, a lane each. */
import type { Delivery } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Service } from '../kernel/service.ts';
import type { Turns } from '../kernel/turns.ts';
import type { Control } from '../realtime/control.ts';
import type { TenantActors } from './tenants.ts';

export interface LaneHandlerOptions {
  tenants: Pick<TenantActors, 'run'>;
  turns: Pick<Turns, 'weigh'>;
  logger: Logger;
}

/**
 * Runs a delivery to its outcome. Resolving means that its row is settled and the entry may be acknowledged; rejecting
 * that nothing could be written down, so the entry has to come again.
 */
export function createLaneHandler({ tenants, turns, logger }: LaneHandlerOptions) {
  return async (delivery: Delivery): Promise<void> => {
    const { job } = delivery;
    turns.weigh(job.tenantId, delivery.weight ?? 1);
    const outcome = await tenants.run(delivery);
    logger.debug({ tenant_id: job.tenantId, job: job.id, lane: job.lane, outcome: outcome.type }, 'job ended');
    if (outcome.type === 'abandoned') throw new Error(`the ${job.lane} job ${job.id} was abandoned`);
    if (outcome.type === 'unavailable')
      throw new AppError('unavailable', `the ${job.lane} job ${job.id} waits for what it stands on`);
  };
}

/** Cancellations that somebody asked for anywhere reach the actor that runs the work, if it is here. */
export function createCancelListener(options: {
  control: Pick<Control, 'onCancel'>;
  tenants: Pick<TenantActors, 'cancel'>;
}): Service {
  let stop: (() => void) | undefined;
  return {
    name: 'cancel-listener',
    async start() {
      stop ??= options.control.onCancel(({ tenantId, id }) => options.tenants.cancel(tenantId, id));
    },
    async stop() {
      stop?.();
      stop = undefined;
    },
  };
}
