/**
 * Exponential backoff with full jitter (M. Brooker, "Exponential Backoff and Jitter", 2015): a wait drawn evenly from
 * 0 to `baseMs` × 2^retries, at most `maxMs`. Milliseconds.
 */
export function backoffMs(retries: number, options: { baseMs: number; maxMs: number; random: () => number }): number {
  const ceiling = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(retries, 30));
  return Math.round(ceiling * options.random());
}
