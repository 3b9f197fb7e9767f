export interface BackoffOptions {
  /** Upper bound of the first wait, in milliseconds. */
  baseMs: number;
  /** Upper bound of any wait. */
  capMs: number;
  /** Uniform in [0, 1). */
  random(): number;
}

/**
 * "Full jitter": a wait uniform in [0, min(cap, base · 2^attempt)), which spreads a crowd that was cut at one moment
 * best. Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
 */
export function fullJitter(attempt: number, { baseMs, capMs, random }: BackoffOptions): number {
  return random() * Math.min(capMs, baseMs * 2 ** attempt);
}
