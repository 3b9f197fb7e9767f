import { afterAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DOC, DOCX, EPUB, MSG, ODP, ODS, ODT, PPT, PPTX, XLS, XLSB, XLSX } from '../../../src/ingest/media-types.ts';
import { needsWholeFile, sniffFile, sniffMediaType } from '../../../src/ingest/sniff.ts';
import { storedZip as pack } from '../../../src/ingest/zip-write.ts';
import { AppError } from '../../../src/kernel/errors.ts';
import { cfb, doc, workbook } from '../../support/documents-cfb.ts';
import { encodeAs } from '../../support/documents-encodings.ts';
import { pdf } from '../../support/documents-pdf.ts';
import { tiff } from '../../support/documents-tiff.ts';
import { docx, paragraph, zip } from '../../support/documents-zip.ts';

const folder = await mkdtemp(join(tmpdir(), 'dreamhub-sniff-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const page = pdf([[{ text: 'x', x: 72, y: 700 }]]);
/** As OpenDocument wants it: nothing compressed. */
const storedZip = (parts: Readonly<Record<string, string>>) =>
  pack(new Map(Object.entries(parts).map(([name, data]) => [name, Buffer.from(data)])));
const bytes = (text: string) => Buffer.from(text, 'latin1');
const utf8 = (text: string) => new TextEncoder().encode(text);

/** The type by the whole file; the first 64 KiB must say the same unless they say that they are not enough. */
async function typeOf(content: Uint8Array, filename: string): Promise<string> {
  const path = join(folder, crypto.randomUUID());
  await writeFile(path, content);
  const outcome = (error: unknown) => (error instanceof AppError ? `${error.kind}: ${error.message}` : String(error));
  const whole = await sniffFile(path, filename).then(({ mediaType }) => mediaType, outcome);
  const head = await sniffMediaType(content.subarray(0, 65_536), filename).then(({ mediaType }) => mediaType, outcome);
  if (!needsWholeFile(content)) expect(head).toBe(whole);
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

  test('is a Word document, its telling parts behind a large picture too', async () => {
    expect(await typeOf(docx(paragraph('x')), 'a.bin')).toBe(DOCX);
    const noise = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 2654435761) >>> 13);
    expect(await typeOf(docx(paragraph('x'), [{ name: 'word/media/a.png', data: noise }]), 'a.docx')).toBe(DOCX);
  });
});

const part = (...names: string[]) => zip(names.map((name) => ({ name, data: '' })));

describe('containers are told apart by what is in them', () => {
  const cases: [string, Uint8Array, string][] = [
    ['a workbook', workbook({ A: [['x']] }), XLSX],
    ['a binary workbook', workbook({ A: [['x']] }, 'xlsb'), XLSB],
    ['an old workbook', workbook({ A: [['x']] }, 'biff8'), XLS],
    ['an OpenDocument spreadsheet', workbook({ A: [['x']] }, 'ods'), ODS],
    ['a presentation', part('[Content_Types].xml', 'ppt/presentation.xml'), PPTX],
    ['an e-book', part('mimetype', 'META-INF/container.xml', 'OPS/book.opf'), EPUB],
    ['an old Word document', doc('x'), DOC],
    ['an old presentation', cfb({ 'PowerPoint Document': 'x' }), PPT],
    ['an Outlook message', cfb({ '__properties_version1.0': 'x' }), MSG],
  ];
  for (const [title, content, mediaType] of cases) {
    test(title, async () => expect(await typeOf(content, 'a.bin')).toBe(mediaType));
  }

  test('OpenDocument files by their first part, or by their names where it says nothing', async () => {
    const open = (kind: string) =>
      storedZip({ mimetype: `application/vnd.oasis.opendocument.${kind}`, 'content.xml': '' });
    expect(await typeOf(open('text'), 'a.ods')).toBe(ODT);
    expect(await typeOf(open('presentation'), 'a')).toBe(ODP);
    expect(await typeOf(part('content.xml', 'META-INF/manifest.xml'), 'a.odt')).toBe(ODT);
    expect(await typeOf(open('graphics'), 'a.odt')).toContain('drawing');
  });
});

describe('formats of text are told by content, and by name where any text would do', () => {
  const mail = 'Received: by x\r\nFrom: a@b.c\r\nSubject: Hi\r\n\r\nHello';
  const cases: [string, string, string][] = [
    ['{\\rtf1 hello}', 'a.txt', 'application/rtf'],
    ['a,b\n1,2\n', 'a.csv', 'text/csv'],
    ['a\tb\n', 'a.tsv', 'text/tab-separated-values'],
    ['{"a":1}', 'a.json', 'application/json'],
    ['{"a":1}\n', 'a.jsonl', 'application/x-ndjson'],
    ['{"cells":[]}', 'a.ipynb', 'application/x-ipynb+json'],
    ['<?xml version="1.0"?><a/>', 'a.txt', 'application/xml'],
    ['<rss version="2.0"/>', 'feed', 'application/xml'],
    ['WEBVTT\n\n00:01.000 --> 00:02.000\nHi', 'a.txt', 'text/vtt'],
    ['1\n00:00:01,000 --> 00:00:02,000\nHi', 'a.srt', 'application/x-subrip'],
    [mail, 'saved', 'message/rfc822'],
    ['Subject: Hi\n\nHello', 'a.eml', 'message/rfc822'],
    ['Subject: Hi\n\nHello', 'a.txt', 'text/plain'],
    ['def f():\n    return "<html>"\n', 'a.py', 'text/plain'],
  ];
  for (const [content, filename, mediaType] of cases) {
    test(`${filename} of ${mediaType}`, async () => expect(await typeOf(utf8(content), filename)).toBe(mediaType));
  }

  test('a message that Outlook packed by its first bytes', async () => {
    expect(await typeOf(bytes('\x78\x9f\x3e\x22\x01\0'), 'a.zip')).toBe('application/vnd.ms-tnef');
  });

  test('pictures by their first bytes', async () => {
    const png = bytes('\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0');
    expect(await typeOf(png, 'a.txt')).toBe('image/png');
    expect(await typeOf(bytes('GIF89a\x01\0\x01\0\x80\0\0'), 'a.txt')).toBe('image/gif');
    expect(await typeOf(tiff([{ width: 20, height: 20 }]), 'a.txt')).toBe('image/tiff');
    // What says more of it lies beyond what is looked at first.
    expect(await typeOf(tiff([{ width: 20, height: 20, strips: [new Uint8Array(200_000)] }]), 'a')).toBe('image/tiff');
    expect(await typeOf(bytes('MM\0*\0\x01\0\0'), 'a.pdf')).toBe('image/tiff');
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
    ['a scan that is a page', bytes('II*\0\x08\0\0\0<script>alert(1)</script>'), 'a.tif', 'an image (TIF)'],
    ['a picture in motion that is a page', bytes('GIF89a\x01\0\x01\0\x80\0\0<body>'), 'a.gif', 'an image (GIF)'],
    ['a picture that is a page', bytes('GIF89a/*<script>alert(1)</script>*/=1'), 'a.html', 'an image (GIF)'],
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
      'a binary workbook with macros',
      zip([
        { name: 'xl/workbook.bin', data: '' },
        { name: 'xl/vbaProject.bin', data: 'x' },
      ]),
      'a.xlsb',
      'macros',
    ],
    ['old macros', zip([{ name: 'xl/macrosheets/sheet1.xml', data: '' }]), 'a.xlsx', 'macros'],
    ['macros', docx(paragraph('x'), [{ name: 'word/vbaProject.bin', data: 'x' }]), 'a.docx', 'macros'],
    ['macros of OpenDocument', zip([{ name: 'Basic/Standard/Module1.xml', data: '' }]), 'a.odt', 'macros'],
    ['macros of old Office', cfb({ WordDocument: 'x', 'Macros/VBA/dir': 'x' }), 'a.doc', 'macros'],
    [
      'an encrypted Office file',
      cfb({ EncryptionInfo: 'x', EncryptedPackage: 'x' }),
      'a.docx',
      'an encrypted Office document',
    ],
    ['a presentation of 1995', cfb({ PP40: 'x' }), 'a.ppt', 'Save it as PPTX'],
    ['an installer', cfb({ '\u4840\u3b3f': 'x' }), 'a.doc', 'installer'],
    [
      'a damaged old file',
      bytes(`\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1${'\0'.repeat(600)}`),
      'a.doc',
      'an old Office document',
    ],
    [
      'a PDF that is an archive',
      Buffer.concat([page, zip([{ name: 'a.exe', data: 'x' }])]),
      'a.pdf',
      'a PDF with a ZIP archive',
    ],
    [
      'a picture that is an archive',
      Buffer.concat([bytes('\xff\xd8\xff\xe0\0\x10JFIF\0'), zip([{ name: 'a', data: 'x' }])]),
      'a.jpg',
      'hidden behind it',
    ],
    ['a photograph of a telephone', bytes('\0\0\0\x18ftypheic\0\0\0\0mif1heic'), 'a.jpg', 'Save it as PNG or JPEG'],
    [
      'pixels that could be letters',
      bytes(`P6\n# by hand\n90 26\n255\n${'\xff'.repeat(300)}`),
      'a.txt',
      'an image (PNM)',
    ],
    ['pages as they are printed', part('FixedDocSeq.fdseq', '[Content_Types].xml'), 'a.xps', 'Save it as PDF'],
    ['a drawing of Visio', part('[Content_Types].xml', 'visio/document.xml'), 'a.vsdx', 'Save it as PDF'],
    ['a document of Pages', part('Index/Document.iwa'), 'a.pages', 'Save it as PDF'],
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
