import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { analyse } from '../../../src/kernel/text/lexemes.ts';
import { toTextIndex, tsvectorText } from '../../../src/kernel/text/tsvector.ts';

describe('text index', () => {
  test('has each lexeme once, with its positions', () => {
    const index = toTextIndex('The tests test 数据');
    expect(tsvectorText(index)).toBe("'the':1 'test':2,3 '数':4 '数据':4 '据':5");
    expect(index.length).toBe(4);
  });

  test('is empty for a text without words', () => {
    const index = toTextIndex(' … ');
    expect(tsvectorText(index)).toBe('');
    expect(index.tsvector).toEqual(new Uint8Array(4));
    expect(index.length).toBe(0);
  });

  test('quotes what PostgreSQL would read', () => {
    const lexemes = new Map([
      ["it's", [1]],
      ['back\\slash', [2]],
    ]);
    expect(tsvectorText({ lexemes })).toBe("'it''s':1 'back\\\\slash':2");
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

describe('counting', () => {
  const alphabet = [
    'run',
    'running',
    'runs',
    "runner's",
    'getUserName',
    'user',
    '数据库',
    '据',
    '3.14',
    'C++',
    '👩',
    'né',
    '·',
  ];
  const text = fc.array(fc.constantFrom(...alphabet), { maxLength: 60 }).map((words) => words.join(' '));

  test('gives what a map would, whatever was counted before', () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 4 }), (texts) => {
        for (const one of texts) {
          const wanted = new Map<string, number[]>();
          for (const { term, position } of analyse(one).lexemes) {
            const known = wanted.get(term) ?? [];
            if (known.at(-1) !== position) wanted.set(term, [...known, position]);
          }
          expect(toTextIndex(one).lexemes).toEqual(wanted);
        }
      }),
    );
  });

  test('has room for a text of many words, and nothing of it is in the next one', () => {
    const many = Array.from({ length: 9_000 }, (_, word) => `word${word}`);
    expect(toTextIndex(many.join(' ')).lexemes.size).toBe(
      new Set(analyse(many.join(' ')).lexemes.map(({ term }) => term)).size,
    );
    expect([...toTextIndex('word7 again').lexemes.keys()]).toEqual(['word7', 'word', '7', 'again']);
  });
});
