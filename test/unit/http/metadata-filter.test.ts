import { describe, expect, test } from 'bun:test';
import { isMetadataFilter } from '../../../src/http/metadata-filter.ts';

const nested = (levels: number): unknown => (levels === 1 ? { a: 1 } : { and: [nested(levels - 1)] });

describe('a metadata filter', () => {
  test.each([
    [{}],
    [{ a: 'x', b: 1, c: true, d: null }],
    [{ a: { gt: 1, lte: 5 } }],
    [{ a: { in: ['x', 2, null] } }],
    [{ and: [{ a: 1 }, { or: [{ b: 2 }, { c: { nin: [] } }] }] }],
    [{ and: 'a field of this name' }],
    [nested(8)],
  ])('may be %j', (filter) => {
    expect(isMetadataFilter(filter)).toBe(true);
  });

  test.each([
    [null],
    ['a'],
    [[]],
    [{ a: [] }],
    [{ a: {} }],
    [{ a: { like: 'x' } }],
    [{ a: { eq: [1] } }],
    [{ a: { eq: { b: 1 } } }],
    [{ a: { in: 'x' } }],
    [{ or: [1] }],
    [{ '': 1 }],
    // As JSON has it: 1e999.
    [{ a: Number.POSITIVE_INFINITY }],
    [{ a: { in: [Number.NEGATIVE_INFINITY] } }],
    [nested(9)],
    [Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`field${index}`, 1]))],
    [{ a: { in: Array.from({ length: 101 }, (_, index) => index) } }],
  ])('may not be %j', (filter) => {
    expect(isMetadataFilter(filter)).toBe(false);
  });
});
