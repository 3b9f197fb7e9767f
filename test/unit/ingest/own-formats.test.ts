/** Each format in small files of our own, down to the text that must come of them. */
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExtractedDocument } from '../../../src/contracts/index.ts';
import * as type from '../../../src/ingest/media-types.ts';
import { createSandboxedExtractor } from '../../../src/ingest/sandbox.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { cfb, doc, workbook } from '../../support/documents-cfb.ts';
import { encodeAs, encodeUtf32 } from '../../support/documents-encodings.ts';
import { outcomeOf, readDocument } from '../../support/documents-extract.ts';
import { eml } from '../../support/documents-mail.ts';
import { epub, openDocument, pptx } from '../../support/documents-office.ts';
import { scannedPdf } from '../../support/documents-pdf.ts';
import { docx, paragraph } from '../../support/documents-zip.ts';

// Recognising text takes seconds, and on a busy machine many.
setDefaultTimeout(120_000);

const textOf = async (content: Uint8Array | string, mediaType: string) => (await readDocument(content, mediaType)).text;
const picture = (name: string) => Bun.file(join(import.meta.dir, '../../support/pictures', name)).bytes();

describe('a presentation', () => {
  const slides = [
    { title: '第一季度', lines: ['Revenue rose', 'Costs fell'], notes: 'Say thanks' },
    {
      title: 'Prices',
      rows: [
        ['Item', 'Price'],
        ['Tea', '3'],
      ],
    },
  ];

  test('has its slides as pages, with titles, tables and notes', async () => {
    const { text, pages, headings, title } = await readDocument(pptx(slides), type.PPTX);
    expect(pages.map(({ page, start, end }) => [page, text.slice(start, end)])).toEqual([
      [1, '# 第一季度\n\nRevenue rose\n\nCosts fell\n\nNotes: Say thanks'],
      [2, '# Prices\n\n| Item | Price |\n| --- | --- |\n| Tea | 3 |'],
    ]);
    expect(headings.map(({ start, end }) => text.slice(start, end))).toEqual(['# 第一季度', '# Prices']);
    expect(title).toBe('第一季度');
  });

  test('of OpenDocument has its slides as pages too', async () => {
    const slide = (text: string) =>
      `<draw:page><draw:frame><draw:text-box><text:p>${text}</text:p></draw:text-box></draw:frame></draw:page>`;
    const { text, pages } = await readDocument(openDocument('presentation', slide('One') + slide('二')), type.ODP);
    expect(pages.map(({ page, start, end }) => [page, text.slice(start, end)])).toEqual([
      [1, 'One'],
      [2, '二'],
    ]);
  });
});

describe('an OpenDocument text', () => {
  test('keeps headings, notes, comments and tables', async () => {
    const row = (...cells: string[]) =>
      `<table:table-row>${cells.map((cell) => `<table:table-cell><text:p>${cell}</text:p></table:table-cell>`).join('')}</table:table-row>`;
    const note =
      '<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body><text:p>the note</text:p></text:note-body></text:note>';
    const comment = '<office:annotation><text:p>a remark</text:p></office:annotation>';
    const body = `<text:h text:outline-level="1">第一章</text:h><text:p>Body${note}</text:p><text:p>More${comment}</text:p><table:table>${row('a', 'b')}${row('1', '2')}</table:table>`;
    const { text, title } = await readDocument(openDocument('text', body, 'Own title'), type.ODT);
    expect(text).toBe(
      '# 第一章\n\nBody\n\n[Note: the note]\n\nMore\n\n[Comment: a remark]\n\n| a | b |\n| --- | --- |\n| 1 | 2 |',
    );
    expect(title).toBe('Own title');
  });
});

describe('a workbook', () => {
  const sheets = {
    Prices: [
      ['Item', 'Price'],
      ['Tea', 3],
      ['茶', 4.5],
    ],
    Empty: [],
    Notes: [['Only one column'], ['of words']],
  };
  const expected =
    '## Prices\n\nItem | Price\nItem: Tea | Price: 3\nItem: 茶 | Price: 4.5\n\n## Notes\n\nOnly one column\nof words';

  for (const [format, mediaType] of [
    ['xlsx', type.XLSX],
    ['biff8', type.XLS],
    ['xlsb', type.XLSB],
    ['ods', type.ODS],
  ] as const) {
    test(`of ${format} has its sheets as headings and its rows with their columns' names`, async () => {
      const { text, headings } = await readDocument(workbook(sheets, format), mediaType);
      expect(text).toBe(expected);
      expect(headings.map(({ title, start, end }) => [title, text.slice(start, end)])).toEqual([
        ['Prices', '## Prices'],
        ['Notes', '## Notes'],
      ]);
    });
  }
});

describe('a table of text', () => {
  test('has its rows with the names of their columns, whatever separates them', async () => {
    const expected = 'name | city\nname: Ann | city: Oslo\nname: Bo, Jr. | city: 上海\n\n';
    expect(await textOf('name,city\r\nAnn,Oslo\r\n"Bo, Jr.",上海\r\n', type.CSV)).toBe(expected);
    expect(await textOf('name;city\nAnn;Oslo\nBo, Jr.;上海\n', type.CSV)).toBe(expected);
    expect(await textOf('name\tcity\nAnn\tOslo\nBo, Jr.\t上海\n', type.TSV)).toBe(expected);
    expect(await textOf(encodeAs('gb18030', 'name,city\nAnn,Oslo\n"Bo, Jr.",上海\n'), type.CSV)).toBe(expected);
  });

  test('keeps a title above its header, gaps, and rows without a header', async () => {
    expect(await textOf('Report of May,,\nitem,amount,unit\ntea,3,kg\n', type.CSV)).toBe(
      'Report of May\nitem | amount | unit\nitem: tea | amount: 3 | unit: kg\n\n',
    );
    expect(await textOf('1,2\n3,4\n', type.CSV)).toBe('1 | 2\n3 | 4\n\n');
    expect(await textOf('a,b\n1,2\n\nc,d\n3,4\n', type.CSV)).toBe('a | b\na: 1 | b: 2\n\nc | d\nc: 3 | d: 4\n\n');
    expect(await textOf('a,b\n"two\nlines","say ""hi"""\n', type.CSV)).toBe('a | b\na: two lines | b: say "hi"\n\n');
  });
});

describe('an e-book', () => {
  test('has its chapters in the order in which they are read', async () => {
    const { text, title, headings } = await readDocument(
      epub('A book', ['<h1>One</h1><p>first</p>', '<h1>二</h1><p>second</p>']),
      type.EPUB,
    );
    expect(text).toBe('# One\n\nfirst\n\n# 二\n\nsecond');
    expect(title).toBe('A book');
    expect(headings.map((heading) => heading.title)).toEqual(['One', '二']);
  });
});

describe('rich text', () => {
  test('keeps tables, notes, code pages and the signs that printers use', async () => {
    const source =
      "{\\rtf1\\ansi\\ansicpg936{\\fonttbl{\\f0\\fcharset134 SimSun;}}{\\info{\\title My title}}\\f0 \\'ca\\'fd\\'be\\'dd \\u24211?\\par left\\emdash right{\\footnote a note}\\par\\trowd\\cellx1\\cellx2 a\\cell b\\cell\\row\\pard}";
    const { text, title } = await readDocument(source, type.RTF);
    expect(text).toBe('数据 库\n\nleft—right\n\n[Note: a note]\n\n| a | b |\n| --- | --- |');
    expect(title).toBe('My title');
  });
});

describe('an old Word document', () => {
  test('is read paragraph by paragraph', async () => {
    expect(await textOf(doc('Handbook\r员工手册\rLast'), type.DOC)).toBe('Handbook\n员工手册\nLast');
  });
});

describe('a Word document', () => {
  test('keeps notes and comments', async () => {
    const note =
      '<w:footnotes xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:footnote w:id="2">' +
      `${paragraph('the note')}</w:footnote></w:footnotes>`;
    const relation =
      '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId9" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes" Target="footnotes.xml"/></Relationships>';
    const body = '<w:p><w:r><w:t>Body</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r></w:p>';
    const text = await textOf(
      docx(body, [
        { name: 'word/footnotes.xml', data: note },
        { name: 'word/_rels/document.xml.rels', data: relation },
      ]),
      type.DOCX,
    );
    expect(text).toContain('Body');
    expect(text).toContain('the note');
  });
});

describe('an e-mail', () => {
  test('says who wrote what to whom, and hands its attachments on', async () => {
    const source = eml({ subject: '=?utf-8?B?6YCA5qy+?= policy', body: 'Hello Ben' }, [
      { name: 'prices.csv', type: 'text/csv', content: 'a,b\n1,2\n' },
      { name: '合同.txt', type: 'text/plain', content: '条款' },
    ]);
    const { text, title, headings, files } = await readDocument(source, type.EML);
    expect(text).toBe(
      '# 退款 policy\n\nFrom: Ann Ä <ann@example.com>\nTo: Ben <ben@example.com>\nDate: 2026-03-02T10:00:00.000Z\nAttachments: prices.csv, 合同.txt\n\nHello Ben',
    );
    expect(title).toBe('退款 policy');
    expect(headings).toEqual([{ level: 1, title: '退款 policy', start: 0, end: 11 }]);
    expect(files.map(({ name, mediaType, bytes }) => [name, mediaType, Buffer.from(bytes).toString()])).toEqual([
      ['prices.csv', 'text/csv', 'a,b\n1,2\n'],
      ['合同.txt', 'text/plain', '条款'],
    ]);
  });

  test('of HTML alone becomes its text, and a forwarded one a file of its own', async () => {
    const forwarded = eml({ subject: 'Inner' });
    const { text, files } = await readDocument(
      eml({ html: '<p>Dear <b>Ben</b></p><ul><li>one</ul>' }, [
        { name: 'inner.eml', type: 'message/rfc822', content: forwarded },
      ]),
      type.EML,
    );
    expect(text).toEndWith('Dear Ben\n\n- one');
    expect(files.map(({ name }) => name)).toEqual(['inner.eml']);
    expect(await textOf(files[0]?.bytes ?? '', type.EML)).toStartWith('# Inner\n');
  });

  test('that a browser saved a page as has what the page is made of left out', async () => {
    const part = (type: string, content: string) =>
      `--b\r\nContent-Type: ${type}\r\nContent-Location: https://example.com/x\r\n\r\n${content}\r\n`;
    const head =
      'From: <Saved by a browser>\r\nSubject: A page\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; type="text/html"; boundary=b\r\n\r\n';
    const page = `${head}${part('text/html', '<h1>A page</h1><p>Its words</p>')}${part('text/css', 'a{}')}${part('application/javascript', 'x()')}${part('font/woff2', 'x')}${part('image/png', 'x')}${part('application/pdf', '%PDF-')}--b--\r\n`;
    const { text, files } = await readDocument(page, type.EML);
    expect(text).toEndWith('# A page\n\nIts words');
    expect(files.map(({ name }) => name)).toEqual(['attachment.pdf']);
  });

  test('of Outlook is read the same way', async () => {
    // Properties of a message by their numbers: subject, sender, body. [MS-OXMSG] 2.1.
    const string = (id: string, value: string) => ({ [`__substg1.0_${id}001F`]: Buffer.from(value, 'utf16le') });
    const message = cfb({
      '__properties_version1.0': new Uint8Array(32),
      ...string('0037', '退款'),
      ...string('0C1A', 'Ann'),
      ...string('1000', 'Hello Ben'),
    });
    const { text, title } = await readDocument(message, type.MSG);
    expect(title).toBe('退款');
    expect(text).toBe('# 退款\n\nFrom: Ann\n\nHello Ben');
  });
});

describe('JSON', () => {
  test('is indented, with letters for escapes and numbers as they were', async () => {
    expect(
      await textOf(
        '{"\\u6570":[1,2,{"a":12345678901234567890123}],"e":{},"l":[],"s":"one\\ntwo \\ud83d\\ude00 \\"q\\""}',
        type.JSON_TYPE,
      ),
    ).toBe(
      '{\n  "数": [1, 2,\n    {\n      "a": 12345678901234567890123\n    }\n  ],\n  "e": {},\n  "l": [],\n  "s": "one\ntwo 😀 "q""\n}',
    );
  });

  test('of lines keeps a record a line', async () => {
    expect(await textOf('{"a":1,"b":["x","\\u6570"]}\n{"a":2}\n', type.JSON_LINES)).toBe(
      '{"a": 1, "b": ["x", "数"]}\n{"a": 2}\n',
    );
  });

  test('that is broken is the text that it is', async () => {
    expect(await textOf('{"a": 1, oops]}}', type.JSON_TYPE)).toContain('oops');
  });
});

describe('XML', () => {
  test('of records is a line an element, with attributes, and gaps between records', async () => {
    const source =
      '<?xml version="1.0"?><list xmlns="x"><item id="7"><name>Tea</name><p>one <b>bold</b> word</p></item><item id="8"><name>茶</name></item></list>';
    expect((await textOf(source, type.XML)).trim()).toBe(
      'item (id: 7)\nname: Tea\np: one bold word\n\nitem (id: 8)\nname: 茶',
    );
  });

  test('is read in the encoding that it declares', async () => {
    expect(
      (await textOf(encodeAs('gb18030', '<?xml version="1.0" encoding="GB2312"?><a>退款</a>'), type.XML)).trim(),
    ).toBe('a: 退款');
  });

  test('of a feed has its entries under their titles', async () => {
    const rss =
      '<rss><channel><title>News</title><item><title>One &amp; two</title><pubDate>today</pubDate><description><![CDATA[<p>Short</p>]]></description><content:encoded><![CDATA[<p>Longer <b>text</b></p>]]></content:encoded></item></channel></rss>';
    const { text, title, headings } = await readDocument(rss, type.XML);
    expect(text.trim()).toBe('# News\n\n## One & two\n\nPublished: today\n\nLonger text\n\nShort');
    expect(title).toBe('News');
    expect(headings.map((heading) => heading.title)).toEqual(['News', 'One & two']);
    const atom =
      '<feed><title>Log</title><entry><title>E</title><author><name>Ann</name></author><content type="html">&lt;p&gt;Said&lt;/p&gt;</content></entry></feed>';
    expect((await textOf(atom, type.XML)).trim()).toBe('# Log\n\n## E\n\nAuthor: Ann\n\nSaid');
  });
});

describe('a notebook', () => {
  test('has its text, its code and what that printed', async () => {
    const cell = (kind: string, source: string, outputs: object[] = []) => ({
      cell_type: kind,
      source: [source],
      outputs,
    });
    const notebook = {
      cells: [
        cell('markdown', '# Study\ntext'),
        cell('code', 'print(1)', [
          { text: ['1\n'] },
          { data: { 'text/plain': ['2'], 'image/png': 'x' } },
          { ename: 'E', evalue: 'bad' },
        ]),
      ],
      metadata: { language_info: { name: 'python' } },
    };
    const { text, title } = await readDocument(JSON.stringify(notebook), type.NOTEBOOK);
    expect(text).toBe('# Study\ntext\n\n```python\nprint(1)\n```\n\n```\n1\n```\n\n```\n2\n```\n\n```\nE: bad\n```');
    expect(title).toBe('Study');
  });
});

describe('subtitles', () => {
  test('are what is said, by paragraphs with their times', async () => {
    const srt =
      '1\n00:00:01,000 --> 00:00:02,000\n<i>Hello</i> there,\n\n2\n00:00:02,100 --> 00:00:03,000\nfriends.\n\n3\n00:01:00,000 --> 00:01:02,000\n再见\n';
    expect(await textOf(srt, type.SRT)).toBe('[00:00:01] Hello there, friends.\n\n[00:01:00] 再见');
    const vtt =
      'WEBVTT\n\n00:01.000 --> 00:02.000 align:start\n<v Ann>Good &amp; bad\n\n00:02.000 --> 00:03.000\n<v Ben>No\n';
    expect(await textOf(vtt, type.VTT)).toBe('[00:00:01] Ann: Good & bad\n\n[00:00:02] Ben: No');
  });
});

describe('text in pictures', () => {
  // In a child, which takes the recogniser with it when it ends.
  const extractor = createSandboxedExtractor({ logger: silentLogger });
  afterAll(() => extractor.stop());
  const never = new AbortController().signal;

  async function recognised(content: Uint8Array, mediaType: string): Promise<ExtractedDocument> {
    const path = join(tmpdir(), `dreamhub-picture-${crypto.randomUUID()}`);
    await writeFile(path, content);
    return extractor.extract({ path, mediaType, filename: 'a' }, never).finally(() => rm(path));
  }

  test('is recognised, English and Chinese', async () => {
    expect((await recognised(await picture('english.png'), 'image/png')).text).toBe(
      'Refunds are paid within\nfourteen days of return.',
    );
    expect((await recognised(await picture('chinese.png'), 'image/png')).text).toBe(
      '员工应当按时上下班\n报销须提交发票',
    );
  });

  test('is recognised on the pages of a scanned PDF, beside pages of text and below a stamp', async () => {
    const scan = scannedPdf(await picture('english.png'), 'A page of text', 'Exhibit 7');
    const { text, pages } = await recognised(scan, type.PDF);
    expect(pages.map(({ start, end }) => text.slice(start, end))).toEqual([
      'A page of text',
      'Exhibit 7\nRefunds are paid within\nfourteen days of return.',
      'Refunds are paid within\nfourteen days of return.',
    ]);
  });

  test('that is none is said to be none', async () => {
    expect(await outcomeOf(readDocument(encodeUtf32('no picture', true), 'image/png'))).toBe('corrupt');
  });
});
