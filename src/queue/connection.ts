/**
 * One Redis connection of one user, to a server or to a cluster, which no call can wedge. States: away (connecting, or lost) → ready → suspect (a call
 * passed its deadline, so the peer may be gone without having said so) → away, because a suspect connection is cut.
 * While it isn't ready, calls fail at once instead of piling up, to be sent all together when nobody waits for them.
 */
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { within } from '../kernel/within.ts';
import type { RedisClient } from '../redis/clients.ts';

export interface GuardedConnection {
  /** Runs one call; throws `unavailable` when there is no connection, or none that answers in time. */
  call<T>(fn: () => Promise<T>): Promise<T>;
  isReady(): boolean;
  close(): void;
}

export interface GuardedConnectionOptions {
  client: RedisClient;
  clock: Clock;
  deadlineMs: number;
  /** It is ready, for the first time or again, or a server of the cluster was lost: replies may have been, too. */
  onReady(): void;
}

export function guardConnection({ client, clock, deadlineMs, onReady }: GuardedConnectionOptions): GuardedConnection {
  let suspect = false;

  function ready(): void {
    suspect = false;
    onReady();
  }

  const isReady = () => !suspect && client.status === 'ready';

  client.on('ready', ready);
  client.on('-node', onReady);

  return {
    isReady,
    async call(fn) {
      if (!isReady()) throw new AppError('unavailable', 'Redis is not connected.');
      return within(clock, deadlineMs, fn(), () => {
        suspect = true;
        // Reconnects; what was sent and not answered is sent again then, and its reply finds nobody.
        client.disconnect(true);
        throw new AppError('unavailable', 'Redis did not answer in time.');
      });
    },
    close() {
      client.off('ready', ready);
      client.off('-node', onReady);
      client.disconnect();
    },
  };
}
