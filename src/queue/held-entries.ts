/** What a worker holds: the entries it was given and has not settled, by partition. */
import type { EntryName } from './consumer-group.ts';

export interface Held extends EntryName {
  readonly partition: number;
  /** Aborted when the work is to end: the worker stops, or the entry is another consumer's by now. */
  readonly controller: AbortController;
  /** Another consumer has it: it is neither renewed nor acknowledged any more. */
  lost: boolean;
}

interface Partition {
  entries: Map<string, Held>;
  counts: Map<string, number>;
}

export type HeldEntries = ReturnType<typeof createHeldEntries>;

const keyOf = ({ stream, id }: EntryName) => `${stream} ${id}`;

export function createHeldEntries() {
  const partitions = new Map<number, Partition>();
  let size = 0;
  let onEmpty: (() => void)[] = [];

  function of(partition: number): Partition {
    let found = partitions.get(partition);
    if (!found) {
      found = { entries: new Map(), counts: new Map() };
      partitions.set(partition, found);
    }
    return found;
  }

  return {
    get size() {
      return size;
    },
    has: (partition: number, name: EntryName) => partitions.get(partition)?.entries.has(keyOf(name)) ?? false,
    add(held: Held): void {
      const { entries, counts } = of(held.partition);
      entries.set(keyOf(held), held);
      counts.set(held.stream, (counts.get(held.stream) ?? 0) + 1);
      size++;
    },
    remove(held: Held): void {
      const { entries, counts } = of(held.partition);
      if (!entries.delete(keyOf(held))) return;
      const left = (counts.get(held.stream) ?? 0) - 1;
      if (left > 0) counts.set(held.stream, left);
      else counts.delete(held.stream);
      if (entries.size === 0) partitions.delete(held.partition);
      size--;
      if (size > 0) return;
      for (const resolve of onEmpty) resolve();
      onEmpty = [];
    },
    /** Stream → number of its entries, in one partition. */
    counts: (partition: number): ReadonlyMap<string, number> => partitions.get(partition)?.counts ?? new Map(),
    countOf: ({ partition, stream }: Held) => partitions.get(partition)?.counts.get(stream) ?? 0,
    in: (partition: number): Held[] => [...(partitions.get(partition)?.entries.values() ?? [])],
    partitions: (): number[] => [...partitions.keys()],
    all: (): Held[] => [...partitions.values()].flatMap(({ entries }) => [...entries.values()]),
    whenEmpty(): Promise<void> {
      return size === 0 ? Promise.resolve() : new Promise((resolve) => onEmpty.push(resolve));
    },
  };
}
