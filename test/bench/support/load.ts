/** What the load generator (`../load-generator.ts`) is asked for, and asking it. */
import { type Child, startChild } from './child.ts';

/** Where a request's text says this, the generator writes something new each time, as long as this. */
export const UNIQUE = '@@unique@@unique@@unique@@';

export interface LoadOrder {
  port: number;
  /** Whole requests, head and body; sent one after the other, over and over. */
  requests: string[];
  connections: number;
  ms: number;
  /** What every answer must be. */
  status: number;
}

export interface LoadResult {
  requestsPerSecond: number;
  /** Answered, also after the time was over. */
  requests: number;
  /** Milliseconds from a request's first byte to its answer's last. */
  p50: number;
  p99: number;
}

export interface LoadGenerator extends Child {
  /** One at a time. Rejects where an answer is not the expected one. */
  run(order: LoadOrder): Promise<LoadResult>;
}

type Message = { ready: true } | { result: LoadResult } | { error: string };

export async function startLoadGenerator(): Promise<LoadGenerator> {
  let answer = Promise.withResolvers<Message>();
  const child = startChild({
    script: 'test/bench/load-generator.ts',
    onMessage: (message) => answer.resolve(message as Message),
  });
  const gone = child.exited.then((): Message => ({ error: `the load generator ended: ${child.errorTail()}` }));
  await Promise.race([answer.promise, gone]);
  return {
    ...child,
    async run(order) {
      answer = Promise.withResolvers();
      child.send(order);
      const message = await Promise.race([answer.promise, gone]);
      if ('result' in message) return message.result;
      throw new Error('error' in message ? message.error : 'The load generator started twice.');
    },
  };
}
