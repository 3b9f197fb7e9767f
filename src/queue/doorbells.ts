/** Listens for streams that become ready. A hint only: what is missed, the poll finds. */
import type { Lane } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { createSubscriber } from '../redis/subscriber.ts';

export interface DoorbellsOptions {
  clients: Pick<RedisClients, 'servers' | 'subscriber'>;
  keys: Keys;
  lane: Lane;
  clock: Clock;
  logger: Logger;
  /** The partition that rang; undefined after a reconnect, when any may have rung unheard. */
  onRing(partition: number | undefined): void;
}

export async function listenForDoorbells(options: DoorbellsOptions): Promise<{ close(): Promise<void> }> {
  const { clients, keys, lane, clock, logger, onRing } = options;
  const partitions = new Map<string, number>();
  for (let partition = 0; partition < keys.partitions; partition++)
    partitions.set(keys.doorbell(lane, partition), partition);
  const subscriber = createSubscriber({
    name: `doorbell-${lane}`,
    clients,
    clock,
    logger,
    message(_text, channel) {
      const partition = partitions.get(channel);
      if (partition !== undefined) onRing(partition);
    },
    reconnected: () => onRing(undefined),
  });
  await subscriber.start();
  for (const [channel, partition] of partitions) {
    subscriber.add(channel).then(
      () => onRing(partition),
      (error: unknown) => logger.debug({ err: error, channel }, 'a doorbell is not heard yet'),
    );
  }
  return { close: () => subscriber.stop() };
}
