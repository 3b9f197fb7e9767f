import { expect, test } from 'bun:test';
import fc from 'fast-check';
import wabt from 'wabt';
import { createScanKernel, ROW_UNIT } from '../../../src/retrieval/scan-kernel.ts';
import { toHalfvec } from '../../../src/services/vectors.ts';

const SOURCE = new URL('../../../src/retrieval/scan-kernel.wat', import.meta.url);
const BUILT = new URL('../../../src/retrieval/scan-kernel.ts', import.meta.url);

const kernel = createScanKernel();
if (!kernel) throw new Error('this processor has no SIMD for WebAssembly: nothing of this was tested');

test('is what its source compiles to', async () => {
  const { buffer } = (await wabt())
    .parseWat('scan-kernel.wat', await Bun.file(SOURCE).text(), { simd: true })
    .toBinary({});
  const built = (await Bun.file(BUILT).text()).match(/'[A-Za-z0-9+/=]{40,}'/g)?.map((part) => part.slice(1, -1));
  expect(Buffer.from(buffer).toString('base64')).toBe(built?.join('') ?? '');
});

const differing = (a: number, b: number) => (a ^ b).toString(2).replaceAll('0', '').length;

test('counts the bits in which codes differ, however many there are and however long', () => {
  const codes = fc.tuple(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 0, max: 40 })).chain(([units, count]) =>
    fc.record({
      query: fc.uint8Array({ minLength: units * ROW_UNIT, maxLength: units * ROW_UNIT }),
      rows: fc.uint8Array({ minLength: units * ROW_UNIT * count, maxLength: units * ROW_UNIT * count }),
    }),
  );
  fc.assert(
    fc.property(codes, ({ query, rows }) => {
      const out = new Uint16Array(rows.length / query.length);
      kernel.hamming(rows, query, out);
      const expected = Array.from(out, (_, row) =>
        query.reduce((sum, byte, i) => sum + differing(byte, rows[row * query.length + i] ?? 0), 0),
      );
      expect([...out]).toEqual(expected);
    }),
    { numRuns: 50 },
  );
});

test('counts more codes than its memory holds', () => {
  const width = 4_000 / 8 + 12;
  const count = 5_000;
  const rows = new Uint8Array(width * count);
  for (let row = 0; row < count; row++) rows.fill(0xff, row * width, row * width + (row % width));
  const out = new Uint16Array(count);
  kernel.hamming(rows, new Uint8Array(width), out);
  expect([...out]).toEqual(Array.from(out, (_, row) => (row % width) * 8));
});

/** Subnormal ones, both zeros and the largest that a unit vector has are among them. */
const half = fc
  .oneof(
    fc.double({ min: -1, max: 1, noNaN: true }),
    fc.double({ min: -1e-4, max: 1e-4, noNaN: true }),
    fc.constant(-0),
  )
  .map((value) => new Float16Array([value])[0] ?? 0);

test('multiplies vectors of halves as they are', () => {
  const vectors = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 6 })).chain(([eights, count]) =>
    fc.record({
      query: fc.array(half, { minLength: eights * 8, maxLength: eights * 8 }),
      rows: fc.array(half, { minLength: eights * 8 * count, maxLength: eights * 8 * count }),
    }),
  );
  fc.assert(
    fc.property(vectors, ({ query, rows }) => {
      const out = new Float32Array(rows.length / query.length);
      kernel.products(new Uint8Array(new Float16Array(rows).buffer), Float32Array.from(query), out);
      for (const [row, product] of out.entries()) {
        const exact = query.reduce((sum, value, i) => sum + value * (rows[row * query.length + i] ?? 0), 0);
        expect(Math.abs(product - exact)).toBeLessThanOrEqual(1e-6 * query.length);
      }
    }),
    { numRuns: 100 },
  );
});

test('keeps the floats of rows that are asked about often, and multiplies them to the same bit, whoever else asks between', () => {
  const dimensions = 200;
  // More than there are places for, of any number, one of them too many.
  const sets = [...Array.from({ length: 20 }, (_, i) => 3 * i), 1_400].map((count, seed) => {
    const values = Array.from({ length: count * dimensions }, (_, i) => Math.sin(seed + i) * 10 ** -(i % 6));
    return { count, rows: new Uint8Array(new Float16Array(values).buffer) };
  });
  const query = kernel.halves(Float32Array.from({ length: dimensions }, (_, i) => Math.cos(i) / 10));
  for (let asked = 0; asked < 80; asked++) {
    const { count, rows } = sets[(asked * asked) % sets.length] ?? { count: 0, rows: new Uint8Array() };
    const [kept, exact] = [new Float32Array(count), new Float32Array(count)];
    kernel.products(rows, query, exact);
    expect(kernel.keptProducts(rows, query, kept)).toBe(count < 1_400);
    expect(kept).toEqual(count < 1_400 ? exact : new Float32Array(count));
  }
});

test('halves are what the database makes of the text form', () => {
  const value = fc.oneof(
    fc.float({ min: -1, max: 1, noNaN: true }),
    fc.float({ min: -Math.fround(0.0002), max: Math.fround(0.0002), noNaN: true }),
  );
  fc.assert(
    fc.property(fc.array(value, { maxLength: 64 }), (values) => {
      const vector = Float32Array.from(values);
      const read = [...new Float16Array(JSON.parse(toHalfvec(vector)) as number[])];
      while (read.length % (ROW_UNIT / 2) > 0) read.push(0);
      // A text has no negative zero.
      expect(Array.from(kernel.halves(vector), (half) => half + 0)).toEqual(read.map((half) => half + 0));
    }),
    { numRuns: 500 },
  );
});

test('refuses rows that are no multiple of its unit, or too long', () => {
  expect(() => kernel.hamming(new Uint8Array(20), new Uint8Array(20), new Uint16Array(1))).toThrow(RangeError);
  expect(() => kernel.products(new Uint8Array(8), new Float32Array(4), new Float32Array(1))).toThrow(RangeError);
  expect(() => kernel.keptProducts(new Uint8Array(8), new Float32Array(4), new Float32Array(1))).toThrow(RangeError);
  expect(() => kernel.hamming(new Uint8Array(0), new Uint8Array(0), new Uint16Array(0))).toThrow(RangeError);
});
