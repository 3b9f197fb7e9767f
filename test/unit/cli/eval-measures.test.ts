import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { interval, measure, summarise } from '../../../src/cli/eval/metrics.ts';
import { createReference } from '../../../src/cli/eval/reference.ts';
import { lineOf, regressions, tableOf } from '../../../src/cli/eval/report.ts';

const relevant = (...ids: string[]) => new Map(ids.map((id) => [id, 1]));

describe('the measures of a ranking', () => {
  test('are those of trec_eval, worked out by hand', () => {
    // Gains 0, 2, 1 at ranks 1 to 3; ideal 2, 1: (2/log2 3 + 1/2) / (2 + 1/log2 3).
    const grades = new Map([
      ['b', 2],
      ['c', 1],
    ]);
    const { ndcg10, recall100, mrr10, hit1 } = measure(['a', 'b', 'c'], grades);
    expect(ndcg10).toBeCloseTo(0.6697, 4);
    expect({ recall100, mrr10, hit1 }).toEqual({ recall100: 1, mrr10: 0.5, hit1: 0 });
  });

  test('look no further than their depth', () => {
    const others = Array.from({ length: 100 }, (_, index) => `other ${index}`);
    expect(measure([...others.slice(0, 10), 'a'], relevant('a'))).toEqual({
      ndcg10: 0,
      recall100: 1,
      mrr10: 0,
      hit1: 0,
    });
    expect(measure([...others, 'a'], relevant('a')).recall100).toBe(0);
  });

  test('are 1 for the ideal ranking, and never above', () => {
    const ids = fc.uniqueArray(fc.integer({ min: 0, max: 30 }).map(String), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(ids, ids, (wanted, found) => {
        const judged = new Map(wanted.map((id, index) => [id, (index % 3) + 1]));
        const ideal = [...judged].sort((a, b) => b[1] - a[1]).map(([id]) => id);
        expect(measure(ideal, judged).ndcg10).toBeCloseTo(1, 12);
        expect(measure(found, judged).ndcg10).toBeLessThanOrEqual(measure(ideal, judged).ndcg10 + 1e-12);
      }),
    );
  });

  test('have an interval that holds the mean, narrows with more questions, and repeats', () => {
    const values = (count: number) => Array.from({ length: count }, (_, index) => (index % 4 === 0 ? 0 : 1));
    const [few, many] = [interval(values(40)), interval(values(4_000))];
    for (const { low, high } of [few, many]) expect(low < 0.75 && 0.75 < high).toBeTrue();
    expect(many.high - many.low).toBeLessThan((few.high - few.low) / 5);
    expect(interval(values(40))).toEqual(few);
  });
});

describe('the reference', () => {
  const documents = [
    { id: 'tides', title: 'Tides', text: 'The ferry leaves after high tide.' },
    { id: 'leave', title: '', text: 'Employees are entitled to thirty days of leave.' },
    { id: 'zh', title: '', text: '年假为三十天，需提前申请。' },
  ];

  test('finds by stems and by pairs of Chinese characters, best first', () => {
    const { search } = createReference(documents);
    expect(search('a ferry and the tides', 10)[0]).toBe('tides');
    expect(search('employee leaving', 10)).toEqual(['leave', 'tides']);
    expect(search('年假多少天', 10)).toEqual(['zh']);
    expect(search('the of and', 10)).toEqual([]);
  });

  test('scores as BM25 with k1 1.2 and b 0.75 says: of two holders the shorter one is first', () => {
    const { search } = createReference([
      { id: 'long', title: '', text: `harbour ${'filler '.repeat(50)}` },
      { id: 'short', title: '', text: 'harbour light' },
    ]);
    expect(search('harbour', 10)).toEqual(['short', 'long']);
  });
});

describe('the report', () => {
  const one = { ndcg10: 0.5, recall100: 1, mrr10: 0.5, hit1: 0 };
  const run = { set: 'tiny', mode: 'text', provider: 'builtin', measured: [one, { ...one, hit1: 1 }], took: [3, 5] };

  test('gives one line a run, with means to four digits', () => {
    expect(lineOf(run)).toEqual({
      set: 'tiny',
      mode: 'text',
      provider: 'builtin',
      queries: 2,
      ndcg10: 0.5,
      recall100: 1,
      mrr10: 0.5,
      hit1: 0.5,
    });
    expect(tableOf([run]).split('\n')).toHaveLength(3);
    expect(summarise([])).toEqual({ ndcg10: 0, recall100: 0, mrr10: 0, hit1: 0 });
  });

  test('names what is lower than the baseline by more than the tolerance, and nothing else', () => {
    const line = lineOf(run);
    const better = { ...line, ndcg10: 0.504, mrr10: 0.52 };
    expect(regressions([line], [better], 0.005)).toEqual([{ line, measure: 'mrr10', before: 0.52 }]);
    expect(regressions([line], [line], 0)).toEqual([]);
  });

  test('refuses a baseline that has none of what was measured: it could never fail', () => {
    expect(() => regressions([lineOf(run)], [{ ...lineOf(run), set: 'other' }], 0)).toThrow('none of these sets');
  });
});
