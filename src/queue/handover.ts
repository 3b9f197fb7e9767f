/**
 * Where one process both pushes and works, which is how DreamHub comes, its own idle worker is given what is pushed by the
 * call that pushes it: one round trip where the doorbell and the take behind it are two, and no other worker is woken for
 * nothing. Only where nobody waits: Redis hands over from a partition in which no stream is ready, out of a stream that is
 * new. So there is no order to keep, and no cap that others have used up.
 *
 * The call goes over the worker's own connection, in which everything that it is given arrives: its answer may get lost
 * like that of a take, and is made up for by the same recovery. Who pushes in another process rings.
 *
 * Processes have one worker a lane; tests have more.
 */
import type { Lane } from '../contracts/index.ts';

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

/** The workers beside one producer. */
export interface Handover {
  /** The returned function ends it. */
  offer(lane: Lane, takeOver: TakeOver): () => void;
  /** Hands over to the first worker of the lane that is idle; undefined where there is none. */
  handOver(lane: Lane, partition: number, push: Push): Promise<boolean> | undefined;
}

export function createHandover(): Handover {
  const workers = new Set<{ lane: Lane; takeOver: TakeOver }>();
  return {
    offer(lane, takeOver) {
      const worker = { lane, takeOver };
      workers.add(worker);
      return () => void workers.delete(worker);
    },
    handOver(lane, partition, push) {
      for (const worker of workers) {
        const pushed = worker.lane === lane ? worker.takeOver(partition, push) : undefined;
        if (pushed) return pushed;
      }
      return undefined;
    },
  };
}
