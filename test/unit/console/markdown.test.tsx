import { describe, expect, test } from 'bun:test';
import { type ComponentChild, Fragment, isValidElement } from 'preact';
import { isSafeLink, Markdown } from '../../../src/console/markdown.tsx';

/** The elements as markup, for reading in a test only. */
function markup(node: ComponentChild): string {
  if (Array.isArray(node)) return node.map((child: ComponentChild) => markup(child)).join('');
  if (node === null || node === undefined || typeof node === 'boolean') return '';
  if (!isValidElement(node)) return String(node).replaceAll('<', '&lt;');
  const { children, ...attributes } = node.props as Record<string, unknown> & { children?: ComponentChild };
  if (node.type === Fragment) return markup(children);
  const text = Object.entries(attributes).map(([name, value]) => ` ${name}="${String(value)}"`);
  return `<${String(node.type)}${text.join('')}>${markup(children)}</${String(node.type)}>`;
}

const render = (text: string) =>
  markup(Markdown({ text, citation: (n) => (n === 1 || n === 2 ? <cite>{n}</cite> : undefined) })).replace(
    /^<div class="prose">|<\/div>$/g,
    '',
  );

describe('Markdown', () => {
  test('never becomes markup of its own', () => {
    expect(render('a <script>alert(1)</script> <img src=x onerror=alert(1)>')).toBe(
      '<p>a &lt;script>alert(1)&lt;/script> &lt;img src=x onerror=alert(1)></p>',
    );
    expect(render('<iframe src="//evil"></iframe>')).not.toContain('<iframe');
  });

  test('links only to the web and to mail, and hands over nothing', () => {
    expect(render('[a](javascript:alert(1))')).toBe('<p>a</p>');
    expect(render('[a](https://example.com)')).toBe(
      '<p><a href="https://example.com" target="_blank" rel="noopener noreferrer nofollow">a</a></p>',
    );
    for (const href of ['data:text/html,x', 'JaVaScRiPt:x', 'vbscript:x', '/admin', 'file:///etc/passwd']) {
      expect(isSafeLink(href)).toBe(false);
    }
  });

  test('fetches no image', () => {
    expect(render('![chart](https://example.com/c.png)')).toBe(
      '<p><a href="https://example.com/c.png" target="_blank" rel="noopener noreferrer nofollow">chart</a></p>',
    );
  });

  test('turns the numbers of sources into citations, wherever they stand, and no others', () => {
    expect(render('It is **so [1]**, or [2][1]; not [3] nor a[0].')).toBe(
      '<p>It is <strong>so <cite>1</cite></strong>, or <cite>2</cite><cite>1</cite>; not [3] nor a[0].</p>',
    );
    expect(render('- one [1]\n- two')).toBe('<ul><li>one <cite>1</cite></li><li>two</li></ul>');
  });

  test('does not let an answer define what a citation links to', () => {
    expect(render('See [1].\n\n[1]: https://evil.example')).not.toContain('href="https://evil.example">1');
    expect(render('See [1].\n\n[1]: https://evil.example')).toContain('See <cite>1</cite>.');
  });

  test('shows entities as what they stand for', () => {
    expect(render('Q&amp;A &#20013; `&amp;`')).toBe('<p>Q&A 中 <code>&amp;</code></p>');
  });

  test('shows what is there of a text that still grows', () => {
    expect(render('```js\nconst a')).toBe('<pre><code>const a</code></pre>');
    expect(render('so **bo')).toBe('<p>so **bo</p>');
  });
});
