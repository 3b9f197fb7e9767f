/**
 * What a worker holds, by partition: the entries it was given, from their delivery until Redis knows their end. States of an
 * entry: running (it has a slot) → settled (the slot is free, the acknowledgement is on its way) → removed.
 */
import type { EntryName } from './consumer-group.ts';

export interface Held extends EntryName {
  readonly partition: number;
  /** Aborted when the work is to end: the worker stops, or the entry is another consumer's by now. */
  readonly controller: AbortController;
  /** Another consumer has it: it is neither renewed nor acknowledged any more. */
  lost: boolean;
  running: boolean;
}

interface Partition {
  entries: Map<string, Held>;
  /** Running ones by stream. */
  running: Map<string, number>;
}

export type HeldEntries = ReturnType<typeof createHeldEntries>;

const NONE: ReadonlyMap<string, number> = new Map();

const keyOf = ({ stream, id }: EntryName) => `${stream} ${id}`;

export function createHeldEntries() {
  const partitions = new Map<number, Partition>();
  let size = 0;
  let running = 0;
  let onEmpty: (() => void)[] = [];

  function of(partition: number): Partition {
    let found = partitions.get(partition);
    if (!found) {
      found = { entries: new Map(), running: new Map() };
      partitions.set(partition, found);
    }
    return found;
  }

  return {
    /** All that is held. */
    get size() {
      return size;
    },
    /** Those that have a slot. */
    get running() {
      return running;
    },
    has: (partition: number, name: EntryName) => partitions.get(partition)?.entries.has(keyOf(name)) ?? false,
    add(held: Held): void {
      const own = of(held.partition);
      own.entries.set(keyOf(held), held);
      own.running.set(held.stream, (own.running.get(held.stream) ?? 0) + 1);
      size++;
      running++;
    },
    /** Frees the entry's slot; returns how many of its stream are still running. */
    settle(held: Held): number {
      const counts = of(held.partition).running;
      if (!held.running) return counts.get(held.stream) ?? 0;
      held.running = false;
      running--;
      const left = (counts.get(held.stream) ?? 1) - 1;
      if (left > 0) counts.set(held.stream, left);
      else counts.delete(held.stream);
      return left;
    },
    /** Forgets a settled entry. */
    remove(held: Held): void {
      const own = partitions.get(held.partition);
      if (!own?.entries.delete(keyOf(held))) return;
      if (own.entries.size === 0) partitions.delete(held.partition);
      size--;
      if (size > 0) return;
      for (const resolve of onEmpty) resolve();
      onEmpty = [];
    },
    /** Stream → number of its running entries, in one partition. */
    runningIn: (partition: number): ReadonlyMap<string, number> => partitions.get(partition)?.running ?? NONE,
    in: (partition: number): Held[] => [...(partitions.get(partition)?.entries.values() ?? [])],
    partitions: (): number[] => [...partitions.keys()],
    all: (): Held[] => [...partitions.values()].flatMap(({ entries }) => [...entries.values()]),
    whenEmpty(): Promise<void> {
      return size === 0 ? Promise.resolve() : new Promise((resolve) => onEmpty.push(resolve));
    },
  };
}
