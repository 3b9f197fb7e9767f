import { describe, expect, test } from 'bun:test';
import { packPassages, withNeighbours } from '../../../src/retrieval/packing.ts';

const DOCUMENT = 'First comes this. Then comes that. At last comes more.';
const countTokens = (text: string) => text.length;
const chunk = (id: string, start: number, end: number) => ({
  chunk_id: id,
  document_id: 'd',
  page: null,
  start,
  end,
  text: DOCUMENT.slice(start, end),
  score: 1,
});
// "Then comes that." with a neighbour on either side; the one before overlaps it by a word.
const [before, middle, after] = [chunk('before', 0, 22), chunk('middle', 18, 34), chunk('after', 35, 54)];
const neighbours = [
  { ...before, of: 'middle' },
  { ...after, of: 'middle' },
];

describe('a passage', () => {
  const packed = packPassages([middle], { budgetTokens: 1_000, countTokens });

  test('is read with the chunks around it, what they overlap by once', () => {
    const [wide] = withNeighbours(packed, neighbours, { budgetTokens: 1_000, countTokens });
    expect(wide?.text.replaceAll('\n', ' ')).toBe(DOCUMENT);
    expect(wide?.chunks.map(({ chunk_id }) => chunk_id)).toEqual(['middle', 'before', 'after']);
    expect(wide?.tokens).toBe(DOCUMENT.length);
  });

  test('stays alone where the budget is used up, and takes no chunk that is a passage itself', () => {
    expect(withNeighbours(packed, neighbours, { budgetTokens: 45, countTokens })[0]?.text).toBe(middle.text);
    const both = packPassages([middle, after], { budgetTokens: 1_000, countTokens });
    const [wide] = withNeighbours(both, neighbours, { budgetTokens: 1_000, countTokens });
    expect(wide?.chunks.map(({ chunk_id }) => chunk_id)).toEqual(['middle', 'before']);
  });

  test('that was cut to fit is not widened', () => {
    const cut = [{ hit: middle, text: 'Then', tokens: 4 }];
    expect(withNeighbours(cut, neighbours, { budgetTokens: 1_000, countTokens })[0]).toMatchObject({
      text: 'Then',
      chunks: [middle],
    });
  });
});
