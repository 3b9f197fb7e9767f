import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { cleanText, hasContent } from '../../../src/ingest/clean-text.ts';
import { extractMarkdown, extractText } from '../../../src/ingest/extractors/text.ts';
import { markdownHeadings } from '../../../src/ingest/markdown-headings.ts';
import { encodeAs } from '../../support/documents-encodings.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);

describe('clean text', () => {
  test('has one kind of newline, no control characters, nothing invisible in words', () => {
    expect(cleanText('a\r\nb\rc\u2028d\fe')).toBe('a\nb\nc\nd\ne');
    expect(cleanText('a\0b\u0007c\u200bd\u00ade\ufefff\tg')).toBe('abcdef\tg');
    expect(cleanText('e\u0301')).toBe('é');
    expect(cleanText('½ ① ＡＢ 👩‍👧')).toBe('½ ① ＡＢ 👩‍👧');
  });

  test('is well-formed and stays as it is when cleaned again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (a, b) => {
        const once = cleanText(`${a}\ud800${b}\udc00`);
        expect(once.isWellFormed()).toBe(true);
        expect(cleanText(once)).toBe(once);
      }),
    );
  });

  test('has content when there is a letter, a digit or a symbol in it', () => {
    expect([hasContent(' \n--- . '), hasContent('中'), hasContent('7'), hasContent('€')]).toEqual([
      false,
      true,
      true,
      true,
    ]);
  });
});

describe('plain text', () => {
  test('is read in legacy encodings', () => {
    expect(extractText(encodeAs('gb18030', '退款政策：\r\n七天无理由退货。')).text).toBe(
      '退款政策：\n七天无理由退货。',
    );
    expect(extractText(encodeAs('big5', '退款政策：七天鑑賞期。')).text).toBe('退款政策：七天鑑賞期。');
    expect(extractText(encodeAs('utf-16le', '\ufeff第一章')).text).toBe('第一章');
  });
});

describe('Markdown', () => {
  const source = `---
title: "Hand book"
---
# One *big* [title](http://x)

Text
====

\`\`\`
# not a heading
\`\`\`
## Two ##
- item
---
### \`code\` <a id="x"></a>{#anchor}
#nothashed
`;

  test('keeps its text and knows its headings by their places', () => {
    const { text, headings, title } = extractMarkdown(utf8(source));
    expect(text).toBe(source);
    expect(title).toBe('Hand book');
    expect(headings.map(({ level, title }) => [level, title])).toEqual([
      [1, 'One big title'],
      [1, 'Text'],
      [2, 'Two'],
      [3, 'code'],
    ]);
    expect(headings.map(({ start, end }) => text.slice(start, end))).toEqual([
      '# One *big* [title](http://x)',
      'Text\n====',
      '## Two ##',
      '### `code` <a id="x"></a>{#anchor}',
    ]);
  });

  test('has headings in order and inside the text, whatever the text is', () => {
    const line = fc.constantFrom(
      '# a',
      '## b c',
      '===',
      '---',
      '```',
      'text',
      '',
      '- x',
      '| a |',
      '###### ',
      '#',
      '   # d',
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
        const text = lines.join('\n');
        let last = 0;
        for (const { start, end, title, level } of markdownHeadings(text)) {
          expect(start).toBeGreaterThanOrEqual(last);
          expect(end).toBeLessThanOrEqual(text.length);
          expect(title).not.toBe('');
          expect(level).toBeWithin(1, 7);
          last = end;
        }
      }),
    );
  });
});
