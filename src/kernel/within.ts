import type { Clock } from './clock.ts';

/**
 * What the promise comes to, or what `late` gives or throws where it has not settled after `ms` milliseconds. The promise
 * itself goes on: who wants its work to end aborts it. What it comes to later is let go, a rejection too.
 */
export async function within<T, L>(clock: Clock, ms: number, promise: PromiseLike<T>, late: () => L): Promise<T | L> {
  const over = Promise.withResolvers<void>();
  const cancel = clock.after(ms, over.resolve);
  try {
    return await Promise.race([promise, over.promise.then(late)]);
  } finally {
    cancel();
  }
}
