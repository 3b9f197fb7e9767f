import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { fuse, vectorShare } from '../../../src/retrieval/fusion.ts';

const ids = (hits: { id: string }[]): string[] => hits.map(({ id }) => id);

describe('fusion', () => {
  test('adds normalised scores by their weights', () => {
    const [a, b] = fuse(
      [
        { id: 'a', score: 10 },
        { id: 'b', score: 5 },
      ],
      [{ id: 'b', score: 0.8 }],
      { vectorWeight: 0.4 },
    );
    expect(b).toMatchObject({ id: 'a', score: 0.6, text: 1, vector: null });
    expect(a).toMatchObject({ id: 'b', text: 0.5, vector: 1 });
    expect(a?.score).toBeCloseTo(0.7);
  });

  test('stretches the vector scores of a long list, which crowd together', () => {
    const vectors = Array.from({ length: 20 }, (_, index) => ({ id: `v${index}`, score: 0.9 - index * 0.001 }));
    const fused = fuse([], vectors, { vectorWeight: 0.5 });
    expect(fused[0]).toMatchObject({ id: 'v0', vector: 1 });
    expect(fused.at(-1)).toMatchObject({ id: 'v19', vector: 0 });
  });

  test('weighs ranks alone on demand', () => {
    expect(
      ids(
        fuse(
          [
            { id: 'a', score: 100 },
            { id: 'b', score: 1 },
          ],
          [
            { id: 'b', score: 0.9 },
            { id: 'c', score: 0.1 },
          ],
          { vectorWeight: 0.5, method: 'rrf' },
        ),
      ),
    ).toEqual(['b', 'a', 'c']);
  });

  test('is the text search alone at weight 0, the vector search alone at 1', () => {
    const text = [
      { id: 'a', score: 2 },
      { id: 'b', score: 1 },
    ];
    const vector = [
      { id: 'c', score: 0.9 },
      { id: 'b', score: 0.1 },
    ];
    expect(ids(fuse(text, vector, { vectorWeight: 0 })).slice(0, 2)).toEqual(['a', 'b']);
    expect(ids(fuse(text, vector, { vectorWeight: 1 })).slice(0, 2)).toEqual(['c', 'b']);
  });

  test('breaks ties by text score, then by id', () => {
    expect(
      ids(
        fuse(
          [
            { id: 'b', score: 1 },
            { id: 'a', score: 1 },
          ],
          [],
          { vectorWeight: 0.5 },
        ),
      ),
    ).toEqual(['a', 'b']);
    expect(ids(fuse([{ id: 'z', score: 1 }], [{ id: 'a', score: 1 }], { vectorWeight: 0.5 }))).toEqual(['z', 'a']);
  });

  test('keeps every hit once, scores in [0, 1], in the same order whatever the order of the input', () => {
    const hit = fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      score: fc.double({ min: -1, max: 50, noNaN: true }),
    });
    const weight = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(hit),
        fc.array(hit),
        weight,
        fc.constantFrom('convex' as const, 'rrf' as const),
        (text, vector, vectorWeight, method) => {
          const fused = fuse(text, vector, { vectorWeight, method });
          expect(new Set(ids(fused)).size).toBe(fused.length);
          expect(new Set(ids(fused))).toEqual(new Set(ids([...text, ...vector])));
          for (const { score } of fused) expect(score).toBeWithin(0, 1 + 1e-9);
          expect(fuse(text.toReversed(), vector.toReversed(), { vectorWeight, method })).toEqual(fused);
        },
      ),
    );
  });
});

describe('the share of the vectors', () => {
  const weights = { weight: 0.4, wordless: 0.8 };

  test('grows as the text search meets fewer of the words', () => {
    const shares = [0, 0.2, 0.5, 0.8, 2].map((met) => vectorShare(weights, met));
    expect(shares[0]).toBe(0.8);
    expect(shares[1]).toBe(0.8);
    expect(shares[2]).toBeCloseTo(0.6);
    expect(shares[3]).toBeCloseTo(0.4);
    expect(shares[4]).toBeCloseTo(0.4);
  });

  test('is one for all questions where the embedder knows no better', () => {
    expect([0, 0.5, 1].map((met) => vectorShare({ weight: 0.002, wordless: 0.002 }, met))).toEqual([
      0.002, 0.002, 0.002,
    ]);
  });
});
