/** A map that forgets what was used least recently, so that all of it together stays below a size. */
export interface Lru<K, V> {
  /** The value, which counts as used now. */
  get(key: K): V | undefined;
  /** `size` in any unit, the same for all; what is larger than the whole is not kept. */
  set(key: K, value: V, size?: number): void;
  /** Forgets everything. */
  clear(): void;
  readonly size: number;
}

export function createLru<K, V>(capacity: number): Lru<K, V> {
  const entries = new Map<K, { value: V; size: number }>();
  let used = 0;
  const remove = (key: K) => {
    const entry = entries.get(key);
    if (!entry) return;
    used -= entry.size;
    entries.delete(key);
  };
  return {
    get(key) {
      const entry = entries.get(key);
      if (!entry) return undefined;
      entries.delete(key);
      entries.set(key, entry);
      return entry.value;
    },
    set(key, value, size = 1) {
      remove(key);
      if (size > capacity) return;
      entries.set(key, { value, size });
      used += size;
      for (const oldest of entries.keys()) {
        if (used <= capacity) break;
        remove(oldest);
      }
    },
    clear() {
      entries.clear();
      used = 0;
    },
    get size() {
      return used;
    },
  };
}
