import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createPartitionOrder, type PartitionOrder } from '../../../src/queue/partition-order.ts';

/** Whose turn it is where one slot is free. */
const next = (order: PartitionOrder): number | undefined => [...order.turns(1).keys()][0];

test('asks only partitions that may have work', () => {
  const order = createPartitionOrder(4);
  expect(next(order)).toBeUndefined();
  order.hint(2);
  expect(next(order)).toBe(2);
  order.asked(2, { ready: 0, taken: 0, exhausted: true, full: 0, busy: false });
  expect(next(order)).toBeUndefined();
  order.hintAll();
  expect(order.size).toBe(4);
});

test('keeps a partition that was hinted while it was asked, although it had nothing', () => {
  const order = createPartitionOrder(1);
  order.hint(0);
  expect(next(order)).toBe(0);
  order.hint(0);
  order.asked(0, { ready: 0, taken: 0, exhausted: true, full: 0, busy: false });
  expect(next(order)).toBe(0);
  order.asked(0, { ready: 0, taken: 0, exhausted: true, full: 0, busy: false });
  expect(next(order)).toBeUndefined();
});

test('asks a partition whose tenants had no room here again once something of it has ended', () => {
  const order = createPartitionOrder(1);
  const full = { ready: 1, taken: 1, exhausted: true, full: 1, busy: true };
  order.hint(0);
  expect(next(order)).toBe(0);
  order.asked(0, full);
  expect(next(order)).toBeUndefined();
  order.freed(0);
  expect(next(order)).toBe(0);
  // What ended while it was asked is made up for with the next that ends, and at once where nothing else will.
  order.freed(0);
  order.asked(0, full);
  expect(next(order)).toBeUndefined();
  order.freed(0);
  expect(next(order)).toBe(0);
  order.freed(0);
  order.asked(0, { ...full, busy: false });
  expect(next(order)).toBe(0);
  order.asked(0, { ...full, busy: false });
  expect(next(order)).toBeUndefined();
});

test('counts what was given unasked like what was taken', () => {
  const order = createPartitionOrder(2);
  order.given(0, 3);
  order.hintAll();
  const asked = Array.from({ length: 4 }, () => {
    const partition = next(order) ?? -1;
    order.asked(partition, { ready: 1, taken: 1, exhausted: false, full: 0, busy: true });
    return partition;
  });
  expect(asked).toEqual([1, 1, 1, 0]);
  // Having had no work earns nothing: who is given something then starts where the others are.
  const later = createPartitionOrder(2);
  later.hint(0);
  for (let taken = 0; taken < 5; taken++) {
    next(later);
    later.asked(0, { ready: 1, taken: 1, exhausted: false, full: 0, busy: true });
  }
  later.given(1, 2);
  later.hint(1);
  expect(next(later)).toBe(0);
});

test('asks a partition that had nothing not again because something of it has ended', () => {
  const order = createPartitionOrder(1);
  order.hint(0);
  expect(next(order)).toBe(0);
  order.freed(0);
  order.asked(0, { ready: 1, taken: 1, exhausted: true, full: 0, busy: false });
  order.freed(0);
  expect(next(order)).toBeUndefined();
});

test('gives each ready tenant the same, however tenants are spread over partitions', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 }), (tenants) => {
      const order = createPartitionOrder(tenants.length);
      const taken = tenants.map(() => 0);
      order.hintAll();
      for (let i = 0; i < 2_000; i++) {
        const partition = next(order) ?? 0;
        taken[partition] = (taken[partition] ?? 0) + 1;
        order.asked(partition, { ready: tenants[partition] ?? 1, taken: 1, exhausted: false, full: 0, busy: false });
      }
      const shares = taken.map((count, partition) => count / (tenants[partition] ?? 1));
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(2);
    }),
  );
});

test('gives each ready tenant the same where many slots are free at once', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 50 }),
      (tenants, slots) => {
        const order = createPartitionOrder(tenants.length);
        const taken = tenants.map(() => 0);
        order.hintAll();
        for (let i = 0; i < 500; i++) {
          const turns = order.turns(slots);
          expect(turns.values().reduce((sum, wanted) => sum + wanted, 0)).toBe(slots);
          for (const [partition, wanted] of turns) {
            taken[partition] = (taken[partition] ?? 0) + wanted;
            order.asked(partition, {
              ready: tenants[partition] ?? 1,
              taken: wanted,
              exhausted: false,
              full: 0,
              busy: false,
            });
          }
        }
        const shares = taken.map((count, partition) => count / (tenants[partition] ?? 1));
        // The first time nothing is known of who is ready, which is made up for.
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(2);
      },
    ),
  );
});

test('asks no partition where no slot is free', () => {
  const order = createPartitionOrder(2);
  order.hintAll();
  expect(order.turns(0).size).toBe(0);
});

test('a partition that had no work for long does not make up for it', () => {
  const order = createPartitionOrder(2);
  order.hint(0);
  for (let i = 0; i < 100; i++) order.asked(0, { ready: 1, taken: 1, exhausted: false, full: 0, busy: false });
  order.hint(1);
  const turns: (number | undefined)[] = [];
  for (let i = 0; i < 10; i++) {
    const partition = next(order);
    turns.push(partition);
    order.asked(partition ?? 0, { ready: 1, taken: 1, exhausted: false, full: 0, busy: false });
  }
  expect(turns.filter((partition) => partition === 1).length).toBeLessThanOrEqual(6);
});
