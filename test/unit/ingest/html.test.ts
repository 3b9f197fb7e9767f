import { describe, expect, test } from 'bun:test';
import { ExtractError } from '../../../src/ingest/extract-error.ts';
import { encodeAs } from '../../support/documents-encodings.ts';
import { readDocument } from '../../support/documents-extract.ts';

const read = (html: string | Uint8Array) => readDocument(html, 'text/html');
const paragraphs = Array.from(
  { length: 8 },
  (_, i) => `<p>Paragraph ${i} has enough words in it, with commas, to be taken for the content of the page.</p>`,
).join('');

describe('a web page', () => {
  test('becomes headings, lists, tables and code, without addresses and emphasis', async () => {
    const { text } = await read(
      '<h1>Hi</h1><p>one <b>two</b> <a href="http://x">three</a>&nbsp;<img src=x alt="a cat"></p><ol start=3><li>x<li>y<ul><li>z</ul></ol><table><tr><th>a<th>b<tr><td>1<td>2|3</table><pre class=lang-js>let a = 1;\n  b</pre><p>5 * 3 = _15_</p>',
    );
    expect(text).toBe(
      '# Hi\n\none two three a cat\n\n3. x\n4. y\n   - z\n\n| a | b |\n| --- | --- |\n| 1 | 2\\|3 |\n\n```js\nlet a = 1;\n  b\n```\n\n5 * 3 = _15_',
    );
  });

  test('keeps its main content and loses its menus', async () => {
    const menu = `<nav>${'<a href="/">Menu entry</a> '.repeat(20)}</nav>`;
    const { text, title, headings } = await read(
      `<html><head><title>A story</title></head><body>${menu}<article><h2>Part</h2>${paragraphs}</article><footer>Imprint</footer></body></html>`,
    );
    expect(text).toContain('Paragraph 7 has enough words');
    expect(text).not.toContain('Menu entry');
    expect(title).toBe('A story');
    expect(text).toStartWith('# A story\n');
    expect(headings.map(({ title }) => title)).toEqual(['A story', 'Part']);
  });

  test('keeps everything where no main content can be told', async () => {
    const cards = Array.from({ length: 30 }, (_, i) => `<div><span>Product ${i}</span><span>${i} €</span></div>`).join(
      '',
    );
    const { text } = await read(`<html><body>${cards}<script>alert(1)</script><style>p{}</style></body></html>`);
    expect(text).toContain('Product 0');
    expect(text).toContain('Product 29');
    expect(text).not.toContain('alert');
  });

  test('lays out nested tables as blocks and real ones as rows', async () => {
    const { text } = await read('<table><tr><td>Left<td><table><tr><td>a<td>b</table></table>');
    expect(text).toBe('Left\n\n| a | b |\n| --- | --- |');
  });

  test('is read in the encoding it declares, and in its true one when that is not it', async () => {
    const page = (charset: string, text: string) =>
      `<html><head><meta http-equiv="Content-Type" content="text/html; charset=${charset}"></head><body><p>${text}</p></body></html>`;
    expect((await read(encodeAs('gb18030', page('gb2312', '退款政策')))).text).toBe('退款政策');
    expect((await read(encodeAs('big5', page('big5', '退款政策')))).text).toBe('退款政策');
    expect((await read(encodeAs('gb18030', page('utf-8', '数据库连接失败，请稍后再试。')))).text).toBe(
      '数据库连接失败，请稍后再试。',
    );
    expect((await read(page('no-such-charset', '退款'))).text).toBe('退款');
  });

  test('that is nested beyond reason is refused before it takes time', async () => {
    for (const levels of [2000, 50_000]) {
      const deep = read(`<html><body>${'<div>'.repeat(levels)}x`);
      await expect(deep).rejects.toBeInstanceOf(ExtractError);
      await expect(deep).rejects.toThrow('nested too deeply');
    }
    expect((await read(`<html><body>${'<div>'.repeat(1000)}x`)).text).toBe('x');
  });
});
