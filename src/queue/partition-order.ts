/**
 * In which order a worker asks the partitions. Inside a partition Redis knows what is fair; between partitions it cannot,
 * because no script sees two of them. So each worker keeps a virtual time for each partition (stride scheduling, Waldspurger
 * and Weihl 1995) that what it takes moves on by 1 / the number of ready tenants there: a tenant that shares its partition
 * with many gets as much as one that has its own.
 *
 * A partition is known to have work (hinted), to have none (exhausted), or to have some that this worker has no room for
 * before it ends something (full): only the first are asked.
 */
export interface PartitionOrder {
  /** There may be work in the partition. */
  hint(partition: number): void;
  hintAll(): void;
  /** Something of the partition has ended here: what was full may have room. */
  freed(partition: number): void;
  /**
   * The hinted partitions whose turn it is, which are to be asked now, and for how many of the slots each: as if asked for
   * one entry after the other, but all at once. As many tenants are taken to be ready there as were when it was last asked.
   */
  turns(slots: number): ReadonlyMap<number, number>;
  /**
   * What came of asking it. Fewer entries than asked for: there is nothing more at the moment, but for the streams, `full` of
   * them, that this worker may hold no more of. `busy`: something of the partition is being worked on, so something will end.
   */
  asked(
    partition: number,
    result: { ready: number; taken: number; exhausted: boolean; full: number; busy: boolean },
  ): void;
  /** So much of the partition was given to this worker unasked: it counts like what it takes. */
  given(partition: number, taken: number): void;
  /** How many partitions are hinted. */
  readonly size: number;
}

export function createPartitionOrder(partitions: number): PartitionOrder {
  const time = new Array<number>(partitions).fill(0);
  /** Tenants that were ready when it was last asked. */
  const known = new Array<number>(partitions).fill(0);
  const hinted = new Set<number>();
  /** Hinted since they were last asked: an answer that was on its way meanwhile does not tell of it. */
  const rang = new Set<number>();
  /** Likewise where something has ended since: how much room there was, the question may have known too early. */
  const freedSince = new Set<number>();
  /** Not hinted, and full. */
  const full = new Set<number>();
  /** Virtual time of what was asked last: who comes back starts here, so that having had no work earns nothing. */
  let now = 0;
  const timeOf = (partition: number) => time[partition] ?? 0;
  /** Virtual time after so many more entries, of which its ready tenants have one each in turn. */
  const timeAfter = (partition: number, taken: number, ready: number) => timeOf(partition) + taken / Math.max(1, ready);

  function hint(partition: number): void {
    rang.add(partition);
    if (hinted.has(partition)) return;
    full.delete(partition);
    hinted.add(partition);
    time[partition] = Math.max(timeOf(partition), now);
  }

  function distribute(slots: number, turns: Map<number, number>): void {
    for (let slot = 0; slot < slots; slot++) {
      let first: number | undefined;
      let earliest = Number.POSITIVE_INFINITY;
      for (const partition of hinted) {
        const at = timeAfter(partition, turns.get(partition) ?? 0, known[partition] ?? 0);
        if (at < earliest) [first, earliest] = [partition, at];
      }
      if (first === undefined) return;
      turns.set(first, (turns.get(first) ?? 0) + 1);
    }
  }

  return {
    hint,
    hintAll() {
      for (let partition = 0; partition < partitions; partition++) hint(partition);
    },
    freed(partition) {
      if (hinted.has(partition)) freedSince.add(partition);
      else if (full.has(partition)) hint(partition);
    },
    turns(slots) {
      const turns = new Map<number, number>();
      const [only] = hinted;
      // Before an idle worker there is mostly one, which has all of them.
      if (hinted.size === 1 && only !== undefined && slots > 0) turns.set(only, slots);
      else distribute(slots, turns);
      for (const partition of turns.keys()) {
        rang.delete(partition);
        freedSince.delete(partition);
      }
      return turns;
    },
    asked(partition, { ready, taken, exhausted, full: withoutRoom, busy }) {
      known[partition] = ready;
      // What has ended since is made up for with the next that ends, together: short jobs would each be fetched by a question.
      const mayHaveRoom = withoutRoom > 0 && !busy && freedSince.has(partition);
      if (exhausted && !rang.has(partition) && !mayHaveRoom && hinted.delete(partition) && withoutRoom > 0)
        full.add(partition);
      if (taken === 0) return;
      now = Math.max(now, timeOf(partition));
      time[partition] = timeAfter(partition, taken, ready);
    },
    given(partition, taken) {
      if (!hinted.has(partition)) time[partition] = Math.max(timeOf(partition), now);
      now = Math.max(now, timeOf(partition));
      time[partition] = timeAfter(partition, taken, 1);
    },
    get size() {
      return hinted.size;
    },
  };
}
