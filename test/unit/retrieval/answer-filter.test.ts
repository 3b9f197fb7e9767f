import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createAnswerFilter } from '../../../src/retrieval/answer-filter.ts';

const KNOWN = 'https://example.com/docs';
const make = () => createAnswerFilter({ citable: new Set([1, 2, 3]), isKnownUrl: (url) => url === KNOWN });

function filtered(text: string, pieces: readonly number[] = []): string {
  const filter = make();
  let told = '';
  let at = 0;
  for (const size of pieces) {
    told += filter.write(text.slice(at, at + size));
    at += size;
  }
  return told + filter.write(text.slice(at)) + filter.end();
}

describe('an answer', () => {
  test.each([
    ['The fee is 2 < 3 coins [1], e.g. a*b_c [2, 3].', 'The fee is 2 < 3 coins [1], e.g. a*b_c [2, 3].'],
    ['Nobody knows [7]. Some do [1, 9], all [1-3]【2】.', 'Nobody knows . Some do [1], all [1-3]【2】.'],
    ['See ![chart](https://evil.example/?q=secret) there.', 'See chart there.'],
    ['![a][ref]\n[ref]: https://evil.example/x\nDone.', 'a\n\nDone.'],
    [
      'Read [the guide](https://evil.example/) or [ours](https://example.com/docs).',
      'Read the guide or [ours](https://example.com/docs).',
    ],
    ['[1](https://evil.example/)', '1'],
    ['Wow![1] !<b>[z](https://example.com/docs)', 'Wow! [1] ! [z](https://example.com/docs)'],
    ['[![x](https://evil.example/i.png)](https://evil.example/)', 'x'],
    ['<img src=x onerror=alert(1)>Hi<br/><script>a</script>', 'Hia'],
    [
      '<https://evil.example/a> and https://example.com/docs.',
      '`https://evil.example/a` and https://example.com/docs.',
    ],
    ['Go to https://evil.example/?d=1, now', 'Go to `https://evil.example/?d=1`, now'],
    ['www.evil.example and how', '`www.evil.example` and how'],
    ['[x](javascript:alert(1))', 'x)'],
    [
      'In code `![a](b)` and\n```\n![a](https://evil.example/) [9]\n```\nout [9].',
      'In code `![a](b)` and\n```\n![a](https://evil.example/) [9]\n```\nout .',
    ],
    ['An array a[0] and [a note] stay! Wow!', 'An array a and [a note] stay! Wow!'],
    ['费用为两枚硬币【1】。见 https://evil.example/。', '费用为两枚硬币【1】。见 `https://evil.example/`。'],
  ])('%j becomes %j', (text, expected) => {
    expect(filtered(text)).toBe(expected);
  });

  test('is the same however it is cut into pieces, and holds no image, tag or unknown link', () => {
    const part = fc.constantFrom(
      '![x](https://evil.example/?q=1)',
      '[y](https://evil.example/)',
      `[z](${KNOWN})`,
      '<img src="https://evil.example/">',
      '[1]',
      '[9]',
      '`code`',
      '```',
      'text ',
      '\n',
      '[',
      ']',
      '(',
      ')',
      '!',
      '<',
      'https://evil.example/a',
      ' ',
      '[r]: https://evil.example/',
    );
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 14 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 40 }),
        (parts, pieces) => {
          const text = parts.join('');
          const whole = filtered(text);
          expect(filtered(text, pieces)).toBe(whole);
          const outside = whole.replace(/(```|~~~)[\s\S]*?(\1|$)/g, '').replace(/`[^`\n]*`/g, ' ');
          expect(outside).not.toMatch(/!\[[^[\]]*\]\(|<img|\]\(https:\/\/evil/);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('is told at once where nothing could begin, and counts what it took out', () => {
    const filter = make();
    expect(filter.write('The fee is two coins ')).toBe('The fee is two coins ');
    expect(filter.write('[')).toBe('');
    expect(filter.write('8]')).toBe('');
    expect(filter.write('. More')).toBe('. More');
    expect(filter.dropped).toBe(1);
    expect(filter.end()).toBe('');
  });

  test('that opens something and never closes it is told in the end', () => {
    expect(filtered('an open [bracket')).toBe('an open [bracket');
    expect(filtered('an open <tag without an end')).toBe('an open &lt;tag without an end');
    const long = `[${'x'.repeat(5_000)}`;
    expect(filtered(long, [3_000])).toBe(long);
  });
});
