import { describe, expect, test } from 'bun:test';
import { agreementOf, overlapOf } from '../../../src/services/spaces-shadow.ts';
import { type Sized, tierFor } from '../../../src/services/vector-tiers-plan.ts';

const bounds = { bits: 1_000, indexed: 10_000 };
const sized = (tier: Sized['tier'], chunks: number, refusedAt: number | null = null): Sized => ({
  tier,
  chunks,
  refusedAt,
  uncoded: 0,
  measuredAt: chunks,
});

describe('a tenant’s way of searching', () => {
  test.each([
    ['exact', 999, 'exact'],
    ['exact', 1_000, 'bits'],
    ['bits', 700, 'bits'],
    ['bits', 699, 'exact'],
    ['bits', 9_999, 'bits'],
    ['exact', 10_000, 'indexed'],
    ['indexed', 7_000, 'indexed'],
    ['indexed', 6_999, 'bits'],
    ['indexed', 0, 'exact'],
  ] as const)('%s with %d chunks is %s next', (tier, chunks, wanted) => {
    expect(tierFor(sized(tier, chunks), bounds, true)).toBe(wanted);
  });

  test('is never a graph where none can be built', () => {
    expect(tierFor(sized('bits', 1_000_000), bounds, false)).toBe('bits');
  });

  test('stays what it is after a refusal, until the tenant has grown by half', () => {
    expect(tierFor(sized('exact', 2_999, 2_000), bounds, true)).toBe('exact');
    expect(tierFor(sized('exact', 3_000, 2_000), bounds, true)).toBe('bits');
    expect(tierFor(sized('bits', 14_999, 10_000), bounds, true)).toBe('bits');
    expect(tierFor(sized('bits', 15_000, 10_000), bounds, true)).toBe('indexed');
  });
});

describe('two orders of chunks', () => {
  const ten = Array.from({ length: 10 }, (_, i) => `chunk ${i}`);

  test('are one, or share nothing', () => {
    expect([overlapOf(ten, ten), agreementOf(ten, ten)]).toEqual([1, 1]);
    const others = ten.map((id) => `other ${id}`);
    expect([overlapOf(ten, others), agreementOf(ten, others)]).toEqual([0, 0]);
    expect([overlapOf([], []), agreementOf([], [])]).toEqual([1, 1]);
    expect([overlapOf(ten, []), agreementOf(ten, [])]).toEqual([0, 0]);
  });

  test('agree less where they differ at the top than where they differ at the end', () => {
    const top = ['new', ...ten.slice(1)];
    const end = [...ten.slice(0, 9), 'new'];
    expect(overlapOf(ten, top)).toBeCloseTo(0.9);
    expect(overlapOf(ten, end)).toBeCloseTo(0.9);
    expect(agreementOf(ten, top)).toBeLessThan(agreementOf(ten, end));
  });
});
