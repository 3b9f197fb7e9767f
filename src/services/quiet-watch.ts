/** Tells what has stopped changing: work that a load would soon make again waits until the load has passed. */
import type { Clock } from '../kernel/clock.ts';

/**
 * Asked once a round with the size of everything that may be worked on, by key; returns the keys whose size has been the
 * same for `quietMs`. What it was not asked about is forgotten, and what it did not know counts as changed.
 */
export type QuietWatch = (sizes: ReadonlyMap<string, number>) => ReadonlySet<string>;

export function createQuietWatch({ clock, quietMs }: { clock: Clock; quietMs: number }): QuietWatch {
  let seen = new Map<string, { size: number; since: number }>();
  return (sizes) => {
    const now = clock.now();
    const next = new Map<string, { size: number; since: number }>();
    const quiet = new Set<string>();
    for (const [key, size] of sizes) {
      const known = seen.get(key);
      const since = known?.size === size ? known.since : now;
      next.set(key, { size, since });
      if (now - since >= quietMs) quiet.add(key);
    }
    seen = next;
    return quiet;
  };
}
