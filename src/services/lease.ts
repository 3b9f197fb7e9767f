/** Keeps the lease of an attempt while it works. */
import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';

export interface LeaseOptions {
  /** Extends the lease; undefined where another attempt owns the row, or it is gone. */
  renew(): Promise<{ cancel_requested: boolean } | undefined>;
  leaseMs: number;
  clock: Clock;
  logger: Logger;
  /** Aborts when the attempt has ended; then this rejects. */
  signal: AbortSignal;
}

/**
 * Renews three times a lease. Resolves with why the attempt must stop: `lost` (also when the database could not be
 * reached for a whole lease, because somebody else may have begun by then) or `cancelled`.
 */
export async function keepLease({
  renew,
  leaseMs,
  clock,
  logger,
  signal,
}: LeaseOptions): Promise<'lost' | 'cancelled'> {
  let expires = clock.now() + leaseMs;
  while (clock.now() < expires) {
    await clock.sleep(leaseMs / 3, signal);
    const asked = clock.now();
    try {
      const row = await renew();
      if (!row) return 'lost';
      if (row.cancel_requested) return 'cancelled';
      expires = asked + leaseMs;
    } catch (error) {
      logger.warn({ err: error }, `lease not renewed: ${messageOf(error)}`);
    }
  }
  return 'lost';
}
