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

interface Stream {
  entries: Map<string, Held>;
  /** Those that have a slot. */
  running: number;
}

/** By name. Names within names: joined, they would be written and hashed anew several times an entry. */
type Partition = Map<string, Stream>;

export type HeldEntries = ReturnType<typeof createHeldEntries>;

export function createHeldEntries() {
  const partitions = new Map<number, Partition>();
  let size = 0;
  let running = 0;
  let onEmpty: (() => void)[] = [];

  const find = (partition: number, stream: string) => partitions.get(partition)?.get(stream);

  function make(partition: number, name: string): Stream {
    const own: Partition = partitions.get(partition) ?? new Map();
    partitions.set(partition, own);
    const stream: Stream = own.get(name) ?? { entries: new Map(), running: 0 };
    own.set(name, stream);
    return stream;
  }

  function forget(partition: number, name: string): void {
    const own = partitions.get(partition);
    own?.delete(name);
    if (own?.size === 0) partitions.delete(partition);
  }

  const listIn = (partition: number): Held[] =>
    [...(partitions.get(partition)?.values() ?? [])].flatMap(({ entries }) => [...entries.values()]);

  return {
    /** All that is held. */
    get size() {
      return size;
    },
    /** Those that have a slot. */
    get running() {
      return running;
    },
    has: (partition: number, { stream, id }: EntryName) => find(partition, stream)?.entries.has(id) ?? false,
    add(held: Held): void {
      const stream = make(held.partition, held.stream);
      stream.entries.set(held.id, held);
      stream.running++;
      size++;
      running++;
    },
    /** Frees the entry's slot. */
    settle(held: Held): void {
      const stream = find(held.partition, held.stream);
      if (!stream || !held.running) return;
      held.running = false;
      running--;
      stream.running--;
    },
    /** Forgets a settled entry. */
    remove(held: Held): void {
      const stream = find(held.partition, held.stream);
      if (!stream?.entries.delete(held.id)) return;
      if (stream.entries.size === 0) forget(held.partition, held.stream);
      size--;
      if (size > 0) return;
      for (const resolve of onEmpty) resolve();
      onEmpty = [];
    },
    /** Stream → number of its running entries, in one partition. */
    runningIn(partition: number): ReadonlyMap<string, number> {
      const counts = new Map<string, number>();
      for (const [name, stream] of partitions.get(partition) ?? []) {
        if (stream.running > 0) counts.set(name, stream.running);
      }
      return counts;
    },
    in: listIn,
    partitions: (): number[] => [...partitions.keys()],
    all: (): Held[] => [...partitions.keys()].flatMap(listIn),
    whenEmpty(): Promise<void> {
      return size === 0 ? Promise.resolve() : new Promise((resolve) => onEmpty.push(resolve));
    },
  };
}
