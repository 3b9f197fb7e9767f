/** What the processes of the hub's benchmark say to each other. */
import { startChild } from './child.ts';

/** DreamHub; socket.io with its Redis adapter; Bun's publish behind one Redis channel, with no log and no check. */
export const KINDS = ['dreamhub', 'socket.io', 'bun'] as const;
export type Kind = (typeof KINDS)[number];

/** One reader: the topic it follows, and who it is. */
export interface Reader {
  topic: string;
  tenantId: string;
  userId: string;
  token: string;
}

export interface ReadersOrder {
  do: 'open';
  kind: Kind;
  port: number;
  readers: Reader[];
  /** The last event that each has already. */
  after: number;
}

export interface Heard {
  /** Frames in all. */
  frames: number;
  /** From the first to the last of them. */
  ms: number;
  /** From the producer's call to the reader's socket. */
  p50: number;
  p99: number;
  /** Numbers that were not the next. */
  disorder: number;
}

export type ClientsOrder =
  | ReadersOrder
  /** Waits until each reader has so many further frames, or until the deadline, and tells what came. */
  | { do: 'hear'; each: number; withinMs: number }
  /** Cuts all connections and opens them anew where they were. */
  | { do: 'reconnect' }
  | { do: 'close' };

export interface Stream {
  topic: string;
  tenantId: string;
  userId: string;
}

export type ProducerOrder =
  | { do: 'begin'; kind: Kind; streams: Stream[] }
  /** As fast as it goes: so many rounds of one event for every stream. */
  | { do: 'flood'; rounds: number }
  /** Every stream gets so many events a second, spread evenly, for so long. */
  | { do: 'pace'; perSecond: number; ms: number };

/** A child that answers each order once. */
export function startOrderly<Order>(script: string, env: Readonly<Record<string, string>>) {
  const ready = Promise.withResolvers<unknown>();
  let waiting = ready;
  const child = startChild({
    script,
    env,
    onMessage(message) {
      const { error, result } = message as { error?: string; result?: unknown };
      if (error === undefined) waiting.resolve(result);
      else waiting.reject(new Error(error));
    },
  });
  void child.exited.then(() => waiting.reject(new Error(`${script} ended: ${child.errorTail()}`)));
  return {
    ...child,
    ready: ready.promise,
    order<T>(order: Order): Promise<T> {
      waiting = Promise.withResolvers();
      child.send(order);
      return waiting.promise as Promise<T>;
    },
  };
}

/** The other side of `startOrderly`. */
export function obey<Order>(handle: (order: Order) => Promise<unknown>, ready: unknown = null): void {
  process.on('message', async (order: Order) => {
    try {
      process.send?.({ result: await handle(order) });
    } catch (error) {
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ result: ready });
}
