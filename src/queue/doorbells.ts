/** Listens for streams that become ready. A hint only: what is missed, the poll finds. */
import type { Lane } from '../contracts/index.ts';
import type { Logger } from '../kernel/logger.ts';
import type { RedisClient } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';

export interface DoorbellsOptions {
  /** A connection of its own. */
  client: RedisClient;
  keys: Keys;
  lane: Lane;
  logger: Logger;
  /** The partition that rang; undefined after a reconnect, when any may have rung unheard. */
  onRing(partition: number | undefined): void;
}

export function listenForDoorbells({ client, keys, lane, logger, onRing }: DoorbellsOptions): { close(): void } {
  const partitions = new Map<string, number>();
  for (let partition = 0; partition < keys.partitions; partition++)
    partitions.set(keys.doorbell(lane, partition), partition);
  client.on('smessage', (channel: string) => {
    const partition = partitions.get(channel);
    if (partition !== undefined) onRing(partition);
  });
  client.on('ready', () => onRing(undefined));
  // One by one: in a cluster a command may name the channels of one slot only.
  for (const channel of partitions.keys()) {
    client
      .ssubscribe(channel)
      .catch((error: unknown) => logger.debug({ err: error, channel }, 'a doorbell is not heard'));
  }
  return { close: () => client.disconnect() };
}
