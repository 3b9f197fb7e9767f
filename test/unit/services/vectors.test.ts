import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { toHalfvec, toHalves } from '../../../src/services/vectors.ts';

test('halves are what the database makes of the text form', () => {
  const value = fc.oneof(
    fc.float({ min: -1, max: 1, noNaN: true }),
    fc.float({ min: -Math.fround(0.0002), max: Math.fround(0.0002), noNaN: true }),
  );
  fc.assert(
    fc.property(fc.array(value, { maxLength: 64 }), (values) => {
      const vector = Float32Array.from(values);
      const read = new Float16Array(JSON.parse(toHalfvec(vector)) as number[]);
      // A text has no negative zero.
      expect(Array.from(toHalves(vector), (half) => half + 0)).toEqual(Array.from(read, (half) => half + 0));
    }),
    { numRuns: 500 },
  );
});
