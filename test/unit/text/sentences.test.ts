import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { sentences } from '../../../src/kernel/text/sentences.ts';

const texts = (text: string): string[] => sentences(text).map((sentence) => sentence.text);

describe('sentences', () => {
  test('end at punctuation of both worlds, with what closes behind it', () => {
    expect(texts('It rained. "Really?" Yes! 他说：“你好！”然后走了。真的吗？')).toEqual([
      'It rained.',
      '"Really?"',
      'Yes!',
      '他说：“你好！”',
      '然后走了。',
      '真的吗？',
    ]);
  });

  test.each([
    'Dr. Smith paid $3.14 for it, e.g. at the U.S. store.',
    'See Fig. 3 and No. 7 for J. K. Rowling et al. in vol. 2.',
    'Version 1.4.5 of example.com is out.',
    'He waited ... and waited.',
    'They met at 5 p.m. on Monday.',
    'Mr. and Mrs. Jones vs. the City.',
  ])('hold abbreviations, decimals and initials together: %s', (text) => {
    expect(texts(text)).toEqual([text]);
  });

  test('end after an abbreviation when a new sentence begins', () => {
    expect(texts('He works at Apple Inc. The office is large. We met at 5 p.m. The sun shone.')).toEqual([
      'He works at Apple Inc.',
      'The office is large.',
      'We met at 5 p.m.',
      'The sun shone.',
    ]);
  });

  test('keep headings, list items and table rows apart', () => {
    expect(
      texts('# Ports\nThe harbour\nis old.\n- first\n- second\n1. One\n2. Two\n| a | b |\n一、总则\n正文'),
    ).toEqual([
      '# Ports',
      'The harbour\nis old.',
      '- first',
      '- second',
      '1. One',
      '2. Two',
      '| a | b |',
      '一、总则',
      '正文',
    ]);
  });

  test('do not take a decimal at the start of a line for a list', () => {
    expect(texts('The value of pi is\n3.14 or so.')).toEqual(['The value of pi is\n3.14 or so.']);
  });

  test('end at a blank line without punctuation', () => {
    expect(texts('Title without a stop\n\nText follows')).toEqual(['Title without a stop', 'Text follows']);
  });

  test('cut what never ends, between whole characters', () => {
    const long = '🎉'.repeat(3_000);
    const found = sentences(long);
    expect(found.length).toBeGreaterThan(2);
    expect(found.every(({ text }) => text.length <= 2_001 && text.isWellFormed())).toBe(true);
    expect(found.map(({ text }) => text).join('')).toBe(long);
  });

  test('stand exactly where they say, in order, and lose nothing but white space', () => {
    const piece = fc.constantFrom(
      'Dr. ',
      'a. B',
      '。',
      '！',
      '\n',
      '\n\n',
      '- ',
      '1. ',
      '3.14',
      ' e.g. ',
      '“',
      '”',
      '…',
      '字',
      'word ',
      '🎉',
      '| x ',
      '# ',
      '?',
      '\t',
      '...',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const text = pieces.join('');
        let behind = 0;
        let kept = '';
        for (const sentence of sentences(text)) {
          expect(sentence.start).toBeGreaterThanOrEqual(behind);
          expect(text.slice(sentence.start, sentence.end)).toBe(sentence.text);
          expect(text.slice(behind, sentence.start).trim()).toBe('');
          behind = sentence.end;
          kept += sentence.text;
        }
        expect(kept.replace(/\s/g, '')).toBe(text.replace(/\s/g, ''));
      }),
    );
  });

  test.each([
    ['It ended. The next began.', 2],
    ['It went to end. and on.', 1],
    ['We met Dr. Smith there.', 1],
    ['Messrs. Smith and Jones came.', 1],
    ['He left Foo Inc. The rest stayed.', 2],
    ['He saw J. Smith there.', 1],
    ['Version x2. Then came more.', 2],
    ['Il est né. Elle aussi.', 2],
    ['Read a_fig. Nine is next.', 1],
    ['See fig.  Nine is next.', 1],
  ])('%j are %i', (text, count) => {
    expect(texts(text)).toHaveLength(count);
  });

  test.each([
    ['stops', '.'],
    ['lines', 'a\n'],
    ['spaces', ' '],
    ['blank lines', '\n'],
    ['abbreviations', 'e.g. '],
    ['quotes', '"'],
    ['one line', 'word '],
  ])('take a long text of %s in linear time', (_, piece) => {
    const before = process.cpuUsage();
    sentences(piece.repeat(100_000));
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(3_000);
  });
});
