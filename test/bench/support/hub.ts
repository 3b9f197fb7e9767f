/** What the processes of the hub's benchmark say to each other. */
import { startChild } from './child.ts';

/**
 * DreamHub; socket.io with its Redis adapter, on Node.js as its users run it and on Bun; Bun's publish behind one Redis
 * channel, with no log and no check.
 */
export const KINDS = ['dreamhub', 'socket.io', 'socket.io on Bun', 'bun'] as const;
export type Kind = (typeof KINDS)[number];

/**
 * What a token of the benchmark says: its number in the stream, as long as a token of a model; or the moment of its sending,
 * in microseconds. Both are of one width, so that several in one event can be told apart.
 */
export type Tokens = 'numbers' | 'moments';
export const WIDTH: Readonly<Record<Tokens, number>> = { numbers: 5, moments: 18 };

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
  frames: number;
  /** More than frames where they were gathered. */
  tokens: number;
  /** From the first to the last of them. */
  ms: number;
  /** From the producer's call to the reader's socket, of the first token of a frame. NaN where tokens say no moments. */
  p50: number;
  p99: number;
  /** Events and tokens that were not the next. */
  disorder: number;
  /** Readers that were told the whole state instead: a log that could not be written to for seconds begins anew. */
  resets: number;
}

export type ClientsOrder =
  | ReadersOrder
  /** What comes from now on says this; `singly` where no event says more than one token. */
  | { do: 'expect'; tokens: Tokens; singly: boolean }
  /** Waits until each reader has so many tokens since then, or until the deadline, and tells what came. */
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
  /**
   * As fast as it goes, so many tokens for every stream. `gathered`: through the writer of a worker, which puts what comes
   * close together into one event; else one event a token. The peers have no such writer.
   */
  | { do: 'flood'; each: number; gathered: boolean }
  /** Every stream gets so many tokens a second, spread evenly, for so long. */
  | { do: 'pace'; perSecond: number; ms: number; gathered: boolean };

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
