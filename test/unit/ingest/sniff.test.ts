import { afterAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DOCX, sniffFile, sniffMediaType } from '../../../src/ingest/sniff.ts';
import { AppError } from '../../../src/kernel/errors.ts';
import { encodeAs } from '../../support/documents-encodings.ts';
import { pdf } from '../../support/documents-pdf.ts';
import { docx, paragraph, zip } from '../../support/documents-zip.ts';

const folder = await mkdtemp(join(tmpdir(), 'dreamhub-sniff-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const bytes = (text: string) => Buffer.from(text, 'latin1');
const utf8 = (text: string) => new TextEncoder().encode(text);

/** The type by the first 64 KiB and by the whole file, which must agree. */
async function typeOf(content: Uint8Array, filename: string): Promise<string> {
  const path = join(folder, crypto.randomUUID());
  await writeFile(path, content);
  const outcome = (error: unknown) => (error instanceof AppError ? `${error.kind}: ${error.message}` : String(error));
  const whole = await sniffFile(path, filename).then(({ mediaType }) => mediaType, outcome);
  const head = await sniffMediaType(content.subarray(0, 65_536), filename).then(({ mediaType }) => mediaType, outcome);
  if (content.length <= 65_536) expect(head).toBe(whole);
  return whole;
}

describe('a readable file', () => {
  test('is text in any encoding, whatever its name says', async () => {
    expect(await typeOf(utf8('Hello, world.'), 'notes.txt')).toBe('text/plain');
    expect(await typeOf(utf8('Hello, world.'), 'notes.pdf')).toBe('text/plain');
    expect(await typeOf(utf8('#!/bin/sh\necho hi\n'), 'run.sh')).toBe('text/plain');
    expect(await typeOf(encodeAs('gb18030', '数据库连接失败'), 'a')).toBe('text/plain');
    expect(await typeOf(encodeAs('big5', '資料庫連線失敗'), 'a.log')).toBe('text/plain');
    expect(await typeOf(encodeAs('utf-16le', '\ufeffhello'), 'a.txt')).toBe('text/plain');
    expect(await typeOf(utf8('one\0two, a stray zero in a long enough text of words'), 'a.txt')).toBe('text/plain');
  });

  test('is text although it begins like a picture, a program or a song', async () => {
    for (const start of [
      'BM is short for',
      'MZ is short for',
      'ID3 tags are',
      'FWS of 2024',
      'OTTO said',
      'solid state',
    ]) {
      expect(await typeOf(utf8(`${start} something else.`), 'a.txt')).toBe('text/plain');
    }
    expect(await typeOf(utf8('The header %PDF- stands in front.'), 'about.txt')).toBe('text/plain');
  });

  test('is Markdown by its name, or by its marks where it has none', async () => {
    expect(await typeOf(utf8('just words'), 'a.md')).toBe('text/markdown');
    expect(await typeOf(utf8('# Title\n\nSee [this](http://x.y).\n'), 'README')).toBe('text/markdown');
    expect(await typeOf(utf8('<div align="center">\n\n# Title'), 'a.md')).toBe('text/markdown');
  });

  test('is HTML by its content', async () => {
    expect(await typeOf(utf8('\ufeff\n<!-- saved -->\n<!DOCTYPE html><p>x'), 'page.txt')).toBe('text/html');
    expect(await typeOf(utf8('<?xml version="1.0"?><html xmlns="x"><body/></html>'), 'page')).toBe('text/html');
    expect(await typeOf(utf8('<p>fragment'), 'part.htm')).toBe('text/html');
    expect(await typeOf(utf8(`<!--${'x<!--'.repeat(20_000)}`), 'a.txt')).toBe('text/plain');
  });

  test('is a PDF at its start, or behind a line of a mail gateway', async () => {
    const file = pdf([[{ text: 'x', x: 72, y: 700 }]]);
    expect(await typeOf(file, 'a.txt')).toBe('application/pdf');
    expect(await typeOf(Buffer.concat([bytes('X-Scanned: ok\r\n'), file]), 'a.pdf')).toBe('application/pdf');
  });

  test('is what it begins with, not what hides behind that', async () => {
    const file = pdf([[{ text: 'x', x: 72, y: 700 }]]);
    expect(await typeOf(Buffer.concat([bytes('<html><script>1</script>\n'), file]), 'a.pdf')).toBe('text/html');
    expect(await typeOf(Buffer.concat([file, zip([{ name: 'a.exe', data: 'x' }])]), 'a.zip')).toBe('application/pdf');
  });

  test('is a Word document, its telling parts behind a large picture too', async () => {
    expect(await typeOf(docx(paragraph('x')), 'a.bin')).toBe(DOCX);
    const noise = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 2654435761) >>> 13);
    expect(await typeOf(docx(paragraph('x'), [{ name: 'word/media/a.png', data: noise }]), 'a.docx')).toBe(DOCX);
  });
});

describe('anything else is refused by name', () => {
  const cases: [string, Uint8Array, string, string][] = [
    ['a Windows program', bytes(`MZ\x90\0\x03\0\0\0${'\0'.repeat(60)}PE\0\0`), 'report.pdf', 'a program (EXE)'],
    [
      'a Linux program',
      bytes('\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0>\0\x01\0\0\0'),
      'notes.txt',
      'a program (ELF)',
    ],
    ['a macOS program', bytes('\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0'), 'notes.md', 'a program (MACHO)'],
    ['a picture', bytes('\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0'), 'a.txt', 'an image (PNG)'],
    [
      'an SVG',
      utf8('<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'),
      'a.html',
      'an SVG image',
    ],
    ['an archive', zip([{ name: 'a.txt', data: 'x' }]), 'a.docx', 'a ZIP archive'],
    ['a gzip file', gzipSync('x'.repeat(1000)), 'a.txt', 'an archive (GZ)'],
    ['a Java archive', zip([{ name: 'META-INF/MANIFEST.MF', data: 'x' }]), 'a.docx', 'a Java archive'],
    [
      'a workbook',
      zip([
        { name: '[Content_Types].xml', data: '' },
        { name: 'xl/workbook.xml', data: '' },
      ]),
      'a.docx',
      'an Excel workbook',
    ],
    ['macros', docx(paragraph('x'), [{ name: 'word/vbaProject.bin', data: 'x' }]), 'a.docx', 'macros'],
    [
      'an old Office file',
      bytes(`\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1${'\0'.repeat(600)}`),
      'a.doc',
      'an old Office document',
    ],
    [
      'an encrypted Office file',
      bytes(`\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1${'\0'.repeat(600)}${[...'EncryptedPackage'].join('\0')}\0`),
      'a.docx',
      'an encrypted Office document',
    ],
    ['RTF', utf8('{\\rtf1 hello}'), 'a.txt', 'RTF'],
    ['a table', utf8('a,b\n1,2\n'), 'a.csv', 'a table (CSV)'],
    ['JSON', utf8('{"a":1}'), 'a.json', 'JSON data'],
    ['XML', utf8('<?xml version="1.0"?><rss/>'), 'a.txt', 'XML data'],
    ['noise', Uint8Array.from({ length: 1024 }, (_, i) => (i * 7919 + (i >> 3) * 31) & 0xff), 'a.txt', 'binary data'],
  ];
  for (const [title, content, filename, words] of cases) {
    test(title, async () => {
      const outcome = await typeOf(content, filename);
      expect(outcome).toStartWith('unsupported_media_type: This looks like ');
      expect(outcome).toContain(words);
    });
  }

  test('an empty file is an invalid request', async () => {
    expect(await typeOf(new Uint8Array(), 'a.txt')).toBe('invalid_request: The file is empty.');
  });
});
