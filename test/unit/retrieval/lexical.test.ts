import { describe, expect, test } from 'bun:test';
import { queryLexemes } from '../../../src/kernel/text/query.ts';
import { inverseDocumentFrequency, rankLexically, termSaturation } from '../../../src/retrieval/lexical.ts';
import { rerankByProximity } from '../../../src/retrieval/lexical-proximity.ts';

describe('BM25', () => {
  test('agrees with the formula worked out by hand', () => {
    // One term in 1 of 4 chunks, twice, in a chunk of average length: ln(1 + 3.5/1.5) · 2·2.2 / (2 + 1.2).
    const [hit] = rankLexically([{ weight: 1, df: 1 }], [{ id: 'a', length: 10, tf: [2] }], {
      documents: 4,
      averageLength: 10,
    });
    expect(hit?.score).toBe(1);
    expect(hit?.support).toBeCloseTo((2 * 2.2) / (2 + 1.2) / 2.2, 10);
    expect(inverseDocumentFrequency(1, 4)).toBeCloseTo(Math.log(1 + 3.5 / 1.5), 10);
  });

  test('prefers the rarer term, more of it, and the shorter chunk', () => {
    const corpus = { documents: 100, averageLength: 100 };
    const order = (tfs: number[][], lengths: number[] = tfs.map(() => 100)) =>
      rankLexically(
        [
          { weight: 1, df: 50 },
          { weight: 1, df: 2 },
        ],
        tfs.map((tf, index) => ({ id: String(index), length: lengths[index] ?? 100, tf })),
        corpus,
      ).map(({ id }) => id);
    expect(
      order([
        [1, 0],
        [0, 1],
      ]),
    ).toEqual(['1', '0']);
    expect(
      order([
        [0, 1],
        [0, 3],
      ]),
    ).toEqual(['1', '0']);
    expect(
      order(
        [
          [0, 1],
          [0, 1],
        ],
        [200, 50],
      ),
    ).toEqual(['1', '0']);
  });

  test('keeps scores in (0, 1], leaves out what holds no term, and breaks ties by id', () => {
    const hits = rankLexically(
      [{ weight: 1, df: 3 }],
      [
        { id: 'b', length: 5, tf: [1] },
        { id: 'a', length: 5, tf: [1] },
        { id: 'c', length: 5, tf: [0] },
      ],
      { documents: 3, averageLength: 5 },
    );
    expect(hits.map(({ id }) => id)).toEqual(['a', 'b']);
    expect(hits.every(({ score, support }) => score > 0 && score <= 1 && support > 0 && support < 1)).toBe(true);
  });

  test('stands counts that lag behind: more chunks hold a term than there are', () => {
    expect(inverseDocumentFrequency(12, 10)).toBeGreaterThan(0);
    expect(termSaturation(3, 0, 0)).toBeGreaterThan(0);
    expect(rankLexically([], [{ id: 'a', length: 1, tf: [] }], { documents: 0, averageLength: 0 })).toEqual([]);
  });
});

describe('proximity', () => {
  test('puts a passage first whose words stand together', () => {
    const terms = queryLexemes('harbour tariff');
    const [first] = rerankByProximity(
      terms,
      [
        {
          id: 'apart',
          text: 'The harbour is old and large and full of ships from far away that pay no tariff.',
          score: 0.9,
        },
        { id: 'together', text: 'The harbour tariff is low.', score: 0.88 },
      ],
      () => 1,
    );
    expect(first?.id).toBe('together');
  });

  test('changes no order where there is one term', () => {
    const candidates = [
      { id: 'a', text: 'harbour', score: 1 },
      { id: 'b', text: 'harbour harbour', score: 0.5 },
    ];
    expect(rerankByProximity(queryLexemes('harbour'), candidates, () => 1).map(({ id }) => id)).toEqual(['a', 'b']);
  });
});
