/**
 * A failure that may come from anywhere while somebody waits for something else. `Promise.race` against one long-lived
 * promise would do the same and keep every value it ever raced: 200 MB of chunks for a 200 MB upload (measured).
 */
export interface Interrupt {
  /** Rejects what is guarded now and from now on. Only the first call counts. */
  fail(reason: unknown): void;
  readonly failed: boolean;
  /** The promise's own outcome, or the failure when that comes first. */
  guard<T>(promise: Promise<T>): Promise<T>;
}

function createInterrupt(): Interrupt {
  const waiting = new Set<(reason: unknown) => void>();
  let failure: { reason: unknown } | undefined;
  return {
    get failed() {
      return failure !== undefined;
    },
    fail(reason) {
      if (failure) return;
      failure = { reason };
      for (const reject of waiting) reject(reason);
      waiting.clear();
    },
    guard(promise) {
      if (failure) {
        // The interrupt is what the caller is told.
        promise.catch(() => {});
        return Promise.reject(failure.reason);
      }
      return new Promise((resolve, reject) => {
        waiting.add(reject);
        promise.then(
          (value) => {
            waiting.delete(reject);
            resolve(value);
          },
          (error: unknown) => {
            waiting.delete(reject);
            reject(error);
          },
        );
      });
    },
  };
}

/** Runs `fn` with an interrupt that fails when the signal aborts. */
export async function withInterrupt<T>(
  signal: AbortSignal | undefined,
  reasonOf: (signal: AbortSignal) => unknown,
  fn: (interrupt: Interrupt) => Promise<T>,
): Promise<T> {
  const interrupt = createInterrupt();
  const onAbort = () => signal && interrupt.fail(reasonOf(signal));
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await fn(interrupt);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}
