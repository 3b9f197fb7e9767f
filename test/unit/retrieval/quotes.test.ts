import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { bestQuote, citations, citedNumbers, verifyQuote } from '../../../src/retrieval/quotes.ts';

const chunk =
  'Aldmoor lies by the sea. The harbour was opened in 1921. It was enlarged in 1950 and again in 1988. 港口由国王启用。渔船每天出海。';

describe('quotes', () => {
  test('are the sentence that says most of the claim, at its exact place', () => {
    const quote = bestQuote('The harbour opened in 1921 [1].', chunk);
    expect(quote?.text).toBe('The harbour was opened in 1921.');
    expect(chunk.slice(quote?.start, quote?.end)).toBe(quote?.text ?? '');
    expect(bestQuote('港口是谁启用的？', chunk)?.text).toBe('港口由国王启用。');
  });

  test('take two neighbouring sentences when only both cover the claim', () => {
    expect(bestQuote('The harbour was opened in 1921 and enlarged in 1950 and 1988.', chunk)?.text).toBe(
      'The harbour was opened in 1921. It was enlarged in 1950 and again in 1988.',
    );
  });

  test('are none where nothing is shared', () => {
    expect(bestQuote('Quarterly revenue', chunk)).toBeNull();
    expect(bestQuote('', chunk)).toBeNull();
  });

  test('shorten an endless sentence around the claim', () => {
    const long = `${'filler words here '.repeat(90)}the secret tariff is seven ${'more filler follows '.repeat(10)}`;
    const quote = bestQuote('secret tariff seven', long);
    expect(quote?.text).toContain('secret tariff is seven');
    expect(quote?.text.length).toBeLessThan(700);
  });

  test('always stand in the chunk', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), fc.nat(150), fc.nat(60), (text, from, size) => {
        const quote = bestQuote(text.slice(from, from + size), text);
        if (!quote) return;
        expect(text.slice(quote.start, quote.end)).toBe(quote.text);
        expect(verifyQuote(quote.text, text)).not.toBeNull();
      }),
    );
  });
});

describe('verification', () => {
  test('finds words only as they stand', () => {
    expect(verifyQuote(' opened in 1921 ', chunk)).toEqual({
      start: chunk.indexOf('opened'),
      end: chunk.indexOf('opened') + 14,
    });
    for (const wrong of ['opened in 1922', 'Opened in 1921', 'opened  in 1921', '  ', ''])
      expect(verifyQuote(wrong, chunk)).toBeNull();
  });
});

describe('citations', () => {
  test.each<[string, number[]]>([
    ['One [1]. Two [2][3]. Again [1].', [1, 2, 3]],
    ['Listed [1, 2] and [4;5].', [1, 2, 4, 5]],
    ['A range [2-4].', [2, 3, 4]],
    ['中文【3】和【1，2】。', [3, 1, 2]],
    ['No [citation], no [x1], no (2), no [1234].', []],
    ['Code `a[1]` and\n```\nb[2]\n```\nbut [7].', [7]],
    ['Upside down [5-2] and endless [1-900].', [5, 2, 1, 900]],
    ['［１］、【来源2】 and [passages 3, 4], 【5†a.pdf】 [^6].', [1, 2, 3, 4, 5, 6]],
    ['', []],
  ])('in %p are %p', (answer, numbers) => {
    expect(citedNumbers(answer)).toEqual(numbers);
  });

  test('belong to the sentence before them', () => {
    expect(citations('It opened in 1921. It is large [1][2]. 港口很大。[3]')).toEqual([
      { n: 1, claim: 'It is large' },
      { n: 2, claim: 'It is large' },
      { n: 3, claim: '港口很大。' },
    ]);
  });
});
