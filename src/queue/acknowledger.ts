/**
 * Acknowledges entries, those of a partition together: what is settled in one turn of the event loop, or while a call is on
 * its way, goes with one call. Sending the first at once was measured: calls stay small for ever, and half the jobs a second.
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
    await new Promise((resolve) => setImmediate(resolve));
    for (let batch = waiting.get(partition); batch; batch = waiting.get(partition)) {
      waiting.delete(partition);
      try {
        const results = await send(
          partition,
          batch.map(({ name }) => name),
        );
        for (const [index, { resolve }] of batch.entries()) resolve(results[index] ?? 'gone');
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
