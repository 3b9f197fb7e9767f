/**
 * Where one process both pushes and works, which is how DreamHub comes, its own idle worker is given what is pushed by the
 * call that pushes it: one round trip where the doorbell and the take behind it are two, and no other worker is woken for
 * nothing. Only where nobody waits: Redis hands over from a partition in which no stream is ready, out of a stream that is
 * new. So there is no order to keep, and no cap that others have used up.
 *
 * The call goes over the worker's own connection, in which everything that it is given arrives: its answer may get lost
 * like that of a take, and is made up for by the same recovery. Who pushes in another process rings.
 *
 * Both sides find each other by the connections and keys that they share. Processes have one worker a lane; tests have more.
 */
import type { Lane } from '../contracts/index.ts';
import type { Keys } from '../redis/keys.ts';

/** Jobs for one tenant's stream. */
export interface Push {
  stream: string;
  /** Most entries that the stream may hold, about. */
  maxLength: number;
  payloads: readonly string[];
}

/**
 * Pushes, and takes over what it has room for. Undefined where the worker is not idle: then nothing was sent. Resolves to
 * false where it may not have been pushed.
 */
export type TakeOver = (partition: number, push: Push) => Promise<boolean> | undefined;

interface Worker {
  keys: Keys;
  lane: Lane;
  takeOver: TakeOver;
}

const workersBeside = new WeakMap<object, Set<Worker>>();

/** `clients`: the connections of the process. The returned function ends it. */
export function offerHandover(clients: object, worker: Worker): () => void {
  const workers = workersBeside.get(clients) ?? new Set();
  workersBeside.set(clients, workers);
  workers.add(worker);
  return () => void workers.delete(worker);
}

/** Hands over to the first idle worker beside `clients`; undefined where there is none. */
export function handOver(
  clients: object,
  { keys, lane, partition }: { keys: Keys; lane: Lane; partition: number },
  push: Push,
): Promise<boolean> | undefined {
  for (const worker of workersBeside.get(clients) ?? []) {
    const pushed = worker.keys === keys && worker.lane === lane ? worker.takeOver(partition, push) : undefined;
    if (pushed) return pushed;
  }
  return undefined;
}
