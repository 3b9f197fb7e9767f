/**
 * Acknowledges entries, those of a partition together: what is settled in one turn of the event loop, or while a call is on
 * its way, goes with one call. Sending the first at once was measured: calls stay small for ever, and half the jobs a second.
 */
import type { Acknowledged, EntryName } from './consumer-group.ts';

type Send = (partition: number, names: readonly EntryName[]) => Promise<Acknowledged[]>;

interface Waiting {
  name: EntryName;
  resolve(acknowledged: Acknowledged): void;
  reject(error: unknown): void;
}

const GONE: Acknowledged = { ownership: 'gone', undelivered: 0 };

export interface Acknowledger {
  /** Rejects where Redis did not say what became of it. */
  ack(partition: number, name: EntryName): Promise<Acknowledged>;
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
        for (const [index, { resolve }] of batch.entries()) resolve(results[index] ?? GONE);
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
