import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createHeldEntries, type Held } from '../../../src/queue/held-entries.ts';

const entry = (stream: string, id: string, partition = 0): Held => ({
  stream,
  id,
  partition,
  controller: new AbortController(),
  lost: false,
  running: true,
});

test('counts what runs by stream, and what is held until it is removed', () => {
  const held = createHeldEntries();
  const [a, b, c] = [entry('s', '1'), entry('s', '2'), entry('t', '1', 1)];
  for (const one of [a, b, c]) held.add(one);
  expect([held.size, held.running]).toEqual([3, 3]);
  held.settle(a);
  held.settle(a);
  expect([...held.runningIn(0)]).toEqual([['s', 1]]);
  expect([held.size, held.running]).toEqual([3, 2]);
  expect(held.has(0, { stream: 's', id: '1' })).toBe(true);
  held.remove(a);
  held.remove(a);
  expect(held.has(0, { stream: 's', id: '1' })).toBe(false);
  expect(held.all()).toEqual([b, c]);
});

test('whatever comes and goes, it is empty at the end and says so', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 3 })), { maxLength: 50 }),
      async (names) => {
        const held = createHeldEntries();
        const entries = names.map(([partition, stream], index) =>
          entry(`p${partition}s${stream}`, String(index), partition),
        );
        for (const one of entries) held.add(one);
        const empty = held.whenEmpty();
        for (const one of entries) held.settle(one);
        expect(held.running).toBe(0);
        for (const one of entries) held.remove(one);
        await empty;
        expect(held.size).toBe(0);
        expect(held.partitions()).toEqual([]);
      },
    ),
  );
});
