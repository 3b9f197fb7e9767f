import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { highestScored, leastDistant } from '../../../src/retrieval/nearest-rows.ts';

const rowsOf = (values: ArrayLike<number>) => Array.from(values, (_, row) => row);

test('chooses the rows of least distance, the first of equal ones, and no row that is not allowed', () => {
  const distances = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 60 });
  fc.assert(
    fc.property(distances, fc.integer({ min: 0, max: 70 }), fc.integer({ min: 1, max: 4 }), (values, count, nth) => {
      const allowed = (row: number) => row % nth === 0;
      const best = rowsOf(values)
        .filter(allowed)
        .sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0) || a - b)
        .slice(0, count);
      const found = leastDistant(Uint16Array.from(values), count, 12, allowed);
      expect(found).toEqual(best.sort((a, b) => a - b));
      if (nth === 1) expect(leastDistant(Uint16Array.from(values), count, 12)).toEqual(found);
    }),
  );
});

test('orders the rows of highest score, equal ones as it is told', () => {
  const scores = fc.array(fc.integer({ min: -5, max: 5 }), { maxLength: 80 });
  fc.assert(
    fc.property(scores, fc.integer({ min: 0, max: 90 }), fc.integer({ min: 1, max: 4 }), (values, count, nth) => {
      const allowed = (row: number) => row % nth === 0;
      const later = (a: number, b: number) => b - a;
      const best = rowsOf(values)
        .filter(allowed)
        .sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || later(a, b))
        .slice(0, count);
      expect(highestScored(Float32Array.from(values), count, later, allowed)).toEqual(best);
    }),
  );
});
