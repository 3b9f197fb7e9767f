/**
 * Acknowledges entries, those of a partition together: while one call is on its way, what is settled meanwhile waits for
 * the next. The first leaves at once, so nothing is slower than a call of its own; under load one call serves many.
 */
import type { EntryName, Ownership } from './consumer-group.ts';

type Send = (partition: number, names: readonly EntryName[]) => Promise<Ownership[]>;

interface Waiting {
  name: EntryName;
  resolve(ownership: Ownership): void;
  reject(error: unknown): void;
}

export interface Acknowledger {
  /** Rejects where Redis did not say what became of it. */
  ack(partition: number, name: EntryName): Promise<Ownership>;
}

export function createAcknowledger(send: Send): Acknowledger {
  const waiting = new Map<number, Waiting[]>();
  const sending = new Set<number>();

  async function drain(partition: number): Promise<void> {
    sending.add(partition);
    for (let batch = waiting.get(partition); batch; batch = waiting.get(partition)) {
      waiting.delete(partition);
      try {
        const results = await send(partition, batch.map(({ name }) => name));
        batch.forEach(({ resolve }, index) => resolve(results[index] ?? 'gone'));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    sending.delete(partition);
  }

  return {
    ack: (partition, name) =>
      new Promise((resolve, reject) => {
        const batch = waiting.get(partition) ?? [];
        batch.push({ name, resolve, reject });
        waiting.set(partition, batch);
        if (!sending.has(partition)) void drain(partition);
      }),
  };
}
