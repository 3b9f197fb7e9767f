import { afterAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExtractError } from '../../../src/ingest/extract-error.ts';
import { DOCX } from '../../../src/ingest/media-types.ts';
import { unpackZip } from '../../../src/ingest/zip-limits.ts';
import { readDocument } from '../../support/documents-extract.ts';
import { docx, paragraph, table, zip } from '../../support/documents-zip.ts';

const folder = await mkdtemp(join(tmpdir(), 'dreamhub-docx-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function fileOf(content: Uint8Array): Promise<string> {
  const path = join(folder, crypto.randomUUID());
  await writeFile(path, content);
  return path;
}
const read = (content: Uint8Array) => readDocument(content, DOCX);
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'read',
    (error: unknown) => (error instanceof ExtractError ? error.code : String(error)),
  );

describe('a Word document', () => {
  test('keeps its headings, paragraphs and tables', async () => {
    const body = [
      paragraph('第一章 总则', 'Heading1'),
      paragraph('为规范管理，制定本办法。'),
      paragraph('Scope &amp; terms', 'Heading2'),
      table([
        ['Item', 'Price'],
        ['Tea', '3'],
      ]),
    ].join('');
    const { text, headings, title } = await read(docx(body));
    expect(text).toBe(
      '# 第一章 总则\n\n为规范管理，制定本办法。\n\n## Scope & terms\n\n| Item | Price |\n| --- | --- |\n| Tea | 3 |',
    );
    expect(headings.map(({ title, start, end }) => [title, text.slice(start, end)])).toEqual([
      ['第一章 总则', '# 第一章 总则'],
      ['Scope & terms', '## Scope & terms'],
    ]);
    expect(title).toBe('第一章 总则');
  });

  test('keeps equations in a line', async () => {
    const equation =
      '<w:p><m:oMathPara><m:oMath><m:r><m:t>x=</m:t></m:r><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f></m:oMath></m:oMathPara></w:p>';
    expect((await read(docx(equation))).text).toBe('x=a/b');
  });

  test('has its own title where its properties give one', async () => {
    const core = { name: 'docProps/core.xml', data: '<c xmlns:dc="d"><dc:title>A &amp; B</dc:title></c>' };
    expect((await read(docx(paragraph('x'), [core]))).title).toBe('A & B');
  });

  test('says why it cannot be read', async () => {
    expect(await codeOf(read(new TextEncoder().encode('PK\x03\x04 no zip')))).toBe('corrupt');
    expect(await codeOf(read(docx('<w:p>')))).toBe('corrupt');
    expect(await codeOf(read(zip([{ name: 'word/other.xml', data: '<a/>' }])))).toBe('corrupt');
    expect(await codeOf(read(zip([{ name: 'word/document.xml', data: '<a/>', encrypted: true }])))).toBe('encrypted');
    const entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>';
    expect(await codeOf(read(docx(paragraph('&b;'), [], entities)))).toBe('corrupt');
  });
});

describe('a ZIP bomb', () => {
  const all = () => true;
  const zeros = (mebibytes: number) => new Uint8Array(mebibytes * 1024 * 1024);

  test('stops at the limit when its list is honest, in parts that are not read too', async () => {
    const bomb = docx(paragraph('x'), [{ name: 'word/media/a.bin', data: zeros(200) }]);
    expect(await codeOf(read(bomb))).toBe('limits_exceeded');
  });

  test('stops at the limit when its list lies', async () => {
    const bomb = await fileOf(zip([{ name: 'word/document.xml', data: zeros(100), claimedSize: 10 }]));
    const before = process.memoryUsage.rss();
    expect(await codeOf(unpackZip(bomb, all, { maxEntries: 10, maxUnpackedBytes: 1024 * 1024 }))).toBe(
      'limits_exceeded',
    );
    expect(process.memoryUsage.rss() - before).toBeLessThan(30 * 1024 * 1024);
  });

  test('stops when many parts share the same bytes', async () => {
    const parts = Array.from({ length: 100 }, (_, i) => ({ name: `${i}.xml`, data: zeros(1), sharesPrevious: i > 0 }));
    expect(
      await codeOf(unpackZip(await fileOf(zip(parts)), all, { maxEntries: 1000, maxUnpackedBytes: 2 ** 30 })),
    ).toBe('limits_exceeded');
  });

  test('stops when it has too many parts', async () => {
    const parts = Array.from({ length: 3000 }, (_, i) => ({ name: `${i}.xml`, data: '' }));
    expect(await codeOf(unpackZip(await fileOf(zip(parts)), all))).toBe('limits_exceeded');
  });
});
