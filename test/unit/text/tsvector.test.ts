import { describe, expect, test } from 'bun:test';
import { toTextIndex, tsvectorBytes, tsvectorText } from '../../../src/kernel/text/tsvector.ts';

describe('text index', () => {
  test('has each lexeme once, with its positions', () => {
    const index = toTextIndex('The tests test 数据');
    expect(tsvectorText(index)).toBe("'the':1 'test':2,3 '数':4 '数据':4 '据':5");
    expect(index.length).toBe(4);
  });

  test('is empty for a text without words', () => {
    const index = toTextIndex(' … ');
    expect(tsvectorText(index)).toBe('');
    expect(tsvectorBytes(index)).toEqual(Buffer.alloc(4));
    expect(index.length).toBe(0);
  });

  test('quotes what PostgreSQL would read', () => {
    const lexemes = new Map([
      ["it's", [1]],
      ['back\\slash', [2]],
    ]);
    expect(tsvectorText({ lexemes, length: 2 })).toBe("'it''s':1 'back\\\\slash':2");
  });

  test('keeps to the limits of tsvector', () => {
    const tsvector = tsvectorText(
      toTextIndex('again '.repeat(400) + Array.from({ length: 17_000 }, (_, index) => `w${index}x`).join(' ')),
    );
    expect(/'again':([\d,]+)/.exec(tsvector)?.[1]?.split(',')).toHaveLength(255);
    expect(Math.max(...(tsvector.match(/\d+(?=,|\s|$)/g) ?? []).map(Number))).toBeLessThanOrEqual(16_383);
    const [blob] = tsvectorText(toTextIndex('x'.repeat(10_000))).split(':');
    expect(blob?.length).toBeLessThan(100);
  });
});
