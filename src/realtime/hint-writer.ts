/**
 * Publishes hints, those of a partition together: what is told in one turn of the event loop, or while a message is on its
 * way, goes with one message. Order is kept, because only one message per partition is under way.
 */
import { runDetached } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';

export interface HintWriter {
  /** Resolves once it was published, or could not be: a hint that is lost is missed by nobody. */
  send(partition: number, hint: string): Promise<void>;
}

/** So that no message becomes long enough to hold up its readers. */
const MAX_HINTS = 256;

interface Lane {
  waiting: { hint: string; told(): void }[];
}

export function createHintWriter({
  publish,
  logger,
}: {
  /** One message to everybody who listens to the partition. */
  publish(partition: number, message: string): Promise<unknown>;
  logger: Logger;
}): HintWriter {
  /** Those that are being emptied. */
  const lanes = new Map<number, Lane>();

  async function drain(partition: number, lane: Lane): Promise<void> {
    // Whoever tells something in the same moment comes along.
    await null;
    while (lane.waiting.length > 0) {
      const batch = lane.waiting.splice(0, MAX_HINTS);
      try {
        await publish(partition, batch.map(({ hint }) => hint).join('\n'));
      } catch (error) {
        logger.debug({ err: error, partition, hints: batch.length }, `hints were not published: ${messageOf(error)}`);
      }
      for (const { told } of batch) told();
    }
    lanes.delete(partition);
  }

  return {
    send: (partition, hint) =>
      new Promise((told) => {
        const known = lanes.get(partition);
        const lane = known ?? { waiting: [] };
        lane.waiting.push({ hint, told });
        if (known) return;
        lanes.set(partition, lane);
        void runDetached(() => drain(partition, lane));
      }),
  };
}
