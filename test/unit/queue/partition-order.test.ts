import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createPartitionOrder } from '../../../src/queue/partition-order.ts';

test('asks only partitions that may have work', () => {
  const order = createPartitionOrder(4);
  expect(order.next()).toBeUndefined();
  order.hint(2);
  expect(order.next()).toBe(2);
  order.asked(2, { ready: 0, taken: 0, exhausted: true });
  expect(order.next()).toBeUndefined();
  order.hintAll();
  expect(order.size).toBe(4);
});

test('keeps a partition that was hinted while it was asked, although it had nothing', () => {
  const order = createPartitionOrder(1);
  order.hint(0);
  expect(order.next()).toBe(0);
  order.hint(0);
  order.asked(0, { ready: 0, taken: 0, exhausted: true });
  expect(order.next()).toBe(0);
  order.asked(0, { ready: 0, taken: 0, exhausted: true });
  expect(order.next()).toBeUndefined();
});

test('gives each ready tenant the same, however tenants are spread over partitions', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 }), (tenants) => {
      const order = createPartitionOrder(tenants.length);
      const taken = tenants.map(() => 0);
      order.hintAll();
      for (let i = 0; i < 2_000; i++) {
        const partition = order.next() ?? 0;
        taken[partition] = (taken[partition] ?? 0) + 1;
        order.asked(partition, { ready: tenants[partition] ?? 1, taken: 1, exhausted: false });
      }
      const shares = taken.map((count, partition) => count / (tenants[partition] ?? 1));
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(2);
    }),
  );
});

test('a partition that had no work for long does not make up for it', () => {
  const order = createPartitionOrder(2);
  order.hint(0);
  for (let i = 0; i < 100; i++) order.asked(0, { ready: 1, taken: 1, exhausted: false });
  order.hint(1);
  const turns: (number | undefined)[] = [];
  for (let i = 0; i < 10; i++) {
    const partition = order.next();
    turns.push(partition);
    order.asked(partition ?? 0, { ready: 1, taken: 1, exhausted: false });
  }
  expect(turns.filter((partition) => partition === 1).length).toBeLessThanOrEqual(6);
});
