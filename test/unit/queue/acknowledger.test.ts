import { expect, test } from 'bun:test';
import { createAcknowledger } from '../../../src/queue/acknowledger.ts';
import type { Acknowledged, EntryName, Ownership } from '../../../src/queue/consumer-group.ts';

const name = (id: number): EntryName => ({ stream: 's', id: String(id) });
const became = (ownership: Ownership): Acknowledged => ({ ownership, undelivered: 0 });

function recordedSends() {
  const sends: { partition: number; ids: string[]; answer(results: Acknowledged[]): void; fail(error: Error): void }[] =
    [];
  let changed: () => void = () => undefined;
  return {
    sends,
    async send(partition: number, names: readonly EntryName[]): Promise<Acknowledged[]> {
      const { promise, resolve, reject } = Promise.withResolvers<Acknowledged[]>();
      sends.push({ partition, ids: names.map(({ id }) => id), answer: resolve, fail: reject });
      changed();
      return promise;
    },
    sent: (count: number) =>
      new Promise<void>((resolve) => {
        changed = () => sends.length >= count && resolve();
        changed();
      }),
  };
}

test('sends what is settled together as one call, and what comes meanwhile as the next', async () => {
  const { sends, send, sent } = recordedSends();
  const { ack } = createAcknowledger(send);
  const first = [ack(0, name(1)), ack(0, name(2))];
  await sent(1);
  const second = [ack(0, name(3)), ack(0, name(4))];
  expect(sends.map(({ ids }) => ids)).toEqual([['1', '2']]);
  sends[0]?.answer([became('own'), became('foreign')]);
  expect(await Promise.all(first)).toEqual([became('own'), became('foreign')]);
  await sent(2);
  sends[1]?.answer([became('gone'), became('own')]);
  expect(await Promise.all(second)).toEqual([became('gone'), became('own')]);
});

test('partitions do not wait for each other', async () => {
  const { sends, send, sent } = recordedSends();
  const { ack } = createAcknowledger(send);
  void ack(0, name(1));
  const other = ack(1, name(2));
  await sent(2);
  sends.find(({ partition }) => partition === 1)?.answer([became('own')]);
  expect(await other).toEqual(became('own'));
});

test('a failed call fails its own acknowledgements alone', async () => {
  const { sends, send, sent } = recordedSends();
  const { ack } = createAcknowledger(send);
  const failing = ack(0, name(1));
  await sent(1);
  const next = ack(0, name(2));
  sends[0]?.fail(new Error('lost'));
  await expect(failing).rejects.toThrow('lost');
  await sent(2);
  sends[1]?.answer([became('own')]);
  expect(await next).toEqual(became('own'));
});
