import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { cleanText, createCleaner, hasContent } from '../../../src/ingest/clean-text.ts';
import { createHeadingScanner, markdownHeadings } from '../../../src/ingest/markdown-headings.ts';
import { encodeAs, encodeUtf32 } from '../../support/documents-encodings.ts';
import { readDocument } from '../../support/documents-extract.ts';

const readText = async (bytes: Uint8Array) => (await readDocument(bytes, 'text/plain')).text;

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

  test('is the same whether it comes whole or in pieces', () => {
    const part = fc.oneof(
      fc.constantFrom(
        '\r\n',
        '\r',
        '\n',
        'e',
        '\u0301',
        '\u200b',
        '한',
        '\u1112',
        '\u1161',
        '中',
        ' ',
        '\ud83d',
        '\ude00',
        '\0',
      ),
      fc.string({ unit: 'binary', maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
        const cleaner = createCleaner();
        const pieces = parts.map((one) => cleaner.push(one));
        const text = [...pieces, cleaner.end()].join('');
        expect(text).toBe(cleanText(parts.join('')));
        expect(pieces.every((one) => one.isWellFormed())).toBe(true);
      }),
      { examples: [[['\u1112', '\0', '\u1161']]] },
    );
  });

  test('ends a piece somewhere even where nothing says that one may', () => {
    const cleaner = createCleaner();
    let length = 0;
    for (let i = 0; i < 40; i++) length += cleaner.push('é😀'.repeat(20_000)).length;
    expect(length).toBeGreaterThan(0);
    expect(length + cleaner.end().length).toBe(40 * 60_000);
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
  test('is read in every encoding that people use', async () => {
    expect(await readText(encodeAs('gb18030', '退款政策：\r\n七天无理由退货。'))).toBe('退款政策：\n七天无理由退货。');
    expect(await readText(encodeAs('big5', '退款政策：七天鑑賞期。'))).toBe('退款政策：七天鑑賞期。');
    expect(await readText(encodeAs('utf-16le', '\ufeff第一章'))).toBe('第一章');
    expect(await readText(encodeAs('utf-16be', '\ufeff第一章 one'))).toBe('第一章 one');
    expect(await readText(encodeUtf32('\ufeffone 😀 第', true))).toBe('one 😀 第');
    expect(await readText(encodeAs('shift_jis', 'これは日本語の文章です。'))).toBe('これは日本語の文章です。');
    expect(await readText(encodeAs('windows-1252', 'Le café coûte 3 € – déjà payé.'))).toBe(
      'Le café coûte 3 € – déjà payé.',
    );
    expect(await readText(encodeAs('windows-1251', 'Это обычный русский текст, написанный в старой кодировке.'))).toBe(
      'Это обычный русский текст, написанный в старой кодировке.',
    );
  });

  test('is read in its encoding although its first megabytes are ASCII', async () => {
    const head = 'a line of a log, in ASCII alone\n'.repeat(140_000);
    const tail = '退款政策：七天无理由退货，数据库连接失败。\n';
    const bytes = Buffer.concat([Buffer.from(head), encodeAs('gb18030', tail)]);
    const { text } = await readDocument(bytes, 'text/plain', 10_000_000);
    expect(text.slice(-tail.length)).toBe(tail);
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

  test('keeps its text and knows its headings by their places', async () => {
    const { text, headings, title } = await readDocument(source, 'text/markdown');
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

  test('has the same headings whether it comes whole or in pieces', () => {
    const line = fc.constantFrom('# a', 'b', '===', '---', 'title: x', '```', '', 'x'.repeat(500), '...');
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.array(line, { maxLength: 20 }), sizes, (lines, steps) => {
        const text = lines.join('\n');
        const scanner = createHeadingScanner();
        for (let at = 0, i = 0; at < text.length; i++) {
          const step = steps[i % steps.length] ?? 1;
          scanner.push(text.slice(at, at + step));
          at += step;
        }
        expect(scanner.end().headings).toEqual(markdownHeadings(text));
      }),
    );
  });
});
