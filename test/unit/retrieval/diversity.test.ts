import { describe, expect, test } from 'bun:test';
import { capPerDocument, diversify } from '../../../src/retrieval/diversity.ts';

const hits = [
  { id: 'a', text: 'The harbour tariff is two coins.', score: 1 },
  { id: 'again', text: 'The harbour tariff is two coins!', score: 0.98 },
  { id: 'other', text: 'Lanterns light the pier at night.', score: 0.6 },
];
const order = (diversity: number, limit = 3) => diversify(hits, diversity, limit).map(({ id }) => id);

describe('diversity', () => {
  test('at 0 changes nothing, and with it the same thing said twice comes last', () => {
    expect(order(0)).toEqual(['a', 'again', 'other']);
    expect(order(0.5)).toEqual(['a', 'other', 'again']);
    expect(order(0.5, 2)).toEqual(['a', 'other']);
  });

  test('keeps the best first, loses nobody and adds nobody', () => {
    for (const diversity of [0.1, 0.9, 1]) {
      expect(order(diversity)[0]).toBe('a');
      expect(order(diversity).toSorted()).toEqual(['a', 'again', 'other']);
    }
    expect(diversify([], 0.5, 3)).toEqual([]);
  });
});

test('no document has more than its share, and the order stays', () => {
  const all = ['x', 'y', 'x', 'x', 'z', 'y'].map((document_id, n) => ({ document_id, n }));
  expect(capPerDocument(all, 1).map(({ n }) => n)).toEqual([0, 1, 4]);
  expect(capPerDocument(all, 2).map(({ n }) => n)).toEqual([0, 1, 2, 4, 5]);
});
