/** What real programs write and plain readers lose: each file with the text that must come of it, through its type and its extractor. */
import { describe, expect, test } from 'bun:test';
import * as XLSX from '@e965/xlsx';
import { encodeAs } from '../../support/documents-encodings.ts';
import { outcomeOf, readNamed } from '../../support/documents-extract.ts';
import { openDocument } from '../../support/documents-office.ts';
import { annotatedPdf } from '../../support/documents-pdf.ts';
import { docx, paragraph } from '../../support/documents-zip.ts';

interface Case {
  title: string;
  filename: string;
  content: () => Uint8Array | string;
  /** The whole text; or parts of it that must be there, or must not. */
  text?: string;
  has?: readonly string[];
  lacks?: readonly string[];
}

const odtCell = (text: string, attributes = '') =>
  `<table:table-cell ${attributes}><text:p>${text}</text:p></table:table-cell>`;
const odtRow = (...cells: string[]) => `<table:table-row>${cells.join('')}</table:table-row>`;
const COVERED = '<table:covered-table-cell/>';

/** A sheet with merged cells. */
function merged(rows: (string | number | null)[][], ranges: readonly string[]): Uint8Array {
  const sheet = XLSX.utils.aoa_to_sheet(rows);
  sheet['!merges'] = ranges.map((range) => XLSX.utils.decode_range(range));
  const book = XLSX.utils.book_new();
  XLSX.utils.book_append_sheet(book, sheet, 'S');
  return new Uint8Array(XLSX.write(book, { type: 'buffer', bookType: 'xlsx' }));
}

const TABLES: readonly Case[] = [
  {
    title: 'cells of a page that span columns and rows',
    filename: 'a.html',
    content: () =>
      '<table><tr><th rowspan=2>Region<th colspan=2>Sales<tr><th>Q1<th>Q2<tr><td rowspan=2>North<td>1<td>2<tr><td>3<td>4<tr><td colspan=2>Sum<td>6</table>',
    text: '| Region | Sales | Sales |\n| --- | --- | --- |\n| Region | Q1 | Q2 |\n| North | 1 | 2 |\n| North | 3 | 4 |\n| Sum |  | 6 |',
  },
  {
    title: 'spans that no table has',
    filename: 'a.html',
    content: () => `<table>${'<tr><td rowspan=65534 colspan=1000000>long</td></tr>'.repeat(50)}</table>`,
    has: ['| long |'],
  },
  {
    title: 'merged cells of a Word document',
    filename: 'a.docx',
    content: () => {
      const cell = (text: string, properties = '') => `<w:tc><w:tcPr>${properties}</w:tcPr>${paragraph(text)}</w:tc>`;
      const row = (...cells: string[]) => `<w:tr>${cells.join('')}</w:tr>`;
      return docx(
        `<w:tbl>${row(cell('Region'), cell('Sales', '<w:gridSpan w:val="2"/>'), cell('Total'))}${row(cell('North', '<w:vMerge w:val="restart"/>'), cell('1'), cell('2'), cell('3'))}${row(cell('', '<w:vMerge/>'), cell('4'), cell('5'), cell('9'))}</w:tbl>`,
      );
    },
    text: '| Region | Sales | Sales | Total |\n| --- | --- | --- | --- |\n| North | 1 | 2 | 3 |\n| North | 4 | 5 | 9 |',
  },
  {
    title: 'merged cells of an OpenDocument text, and a table within one',
    filename: 'a.odt',
    content: () =>
      openDocument(
        'text',
        `<table:table>${odtRow(odtCell('Region'), odtCell('Sales', 'table:number-columns-spanned="2"'), COVERED)}${odtRow(odtCell('North', 'table:number-rows-spanned="2"'), odtCell('1'), odtCell('2'))}${odtRow(COVERED, odtCell('3'), odtCell('4'))}</table:table><text:p>then</text:p><table:table>${odtRow(odtCell('Outer'), `<table:table-cell><table:table>${odtRow(odtCell('a'), odtCell('b'))}</table:table></table:table-cell>`)}${odtRow(odtCell('x'), odtCell('y'))}</table:table>`,
      ),
    text: '| Region | Sales | Sales |\n| --- | --- | --- |\n| North | 1 | 2 |\n| North | 3 | 4 |\n\nthen\n\nOuter\n\n| a | b |\n| --- | --- |\n\n| x | y |\n| --- | --- |',
  },
  {
    title: 'names of a sheet in two rows, one of which groups the other',
    filename: 'a.xlsx',
    content: () =>
      merged(
        [
          ['Report of the year'],
          ['Region', '2025', null, '2026', null],
          [null, 'Q1', 'Q2', 'Q1', 'Q2'],
          ['North', 1, 2, 3, 4],
          ['South', 5, 6, 7, 8],
        ],
        ['A1:E1', 'A2:A3', 'B2:C2', 'D2:E2'],
      ),
    text: '## S\n\nReport of the year\nRegion | 2025 Q1 | 2025 Q2 | 2026 Q1 | 2026 Q2\nRegion: North | 2025 Q1: 1 | 2025 Q2: 2 | 2026 Q1: 3 | 2026 Q2: 4\nRegion: South | 2025 Q1: 5 | 2025 Q2: 6 | 2026 Q1: 7 | 2026 Q2: 8',
  },
  {
    title: 'a group of rows under one name',
    filename: 'a.xlsx',
    content: () =>
      merged(
        [
          ['Group', 'Item', 'Amount'],
          ['Fruit', 'Apple', 1],
          [null, 'Pear', 2],
          ['Leek', 'Leek', 3],
        ],
        ['A2:A3'],
      ),
    text: '## S\n\nGroup | Item | Amount\nGroup: Fruit | Item: Apple | Amount: 1\nGroup: Fruit | Item: Pear | Amount: 2\nGroup: Leek | Item: Leek | Amount: 3',
  },
  {
    title: 'years as names of columns, and no years of data',
    filename: 'a.csv',
    content: () => 'Country,2024,2025\nNorway,1.5,2\n\nAnn,1987,1990\nBo,1991,1992\n',
    text: 'Country | 2024 | 2025\nCountry: Norway | 2024: 1.5 | 2025: 2\n\nAnn | 1987 | 1990\nBo | 1991 | 1992\n\n',
  },
  {
    title: 'a name that stands over two columns of a table',
    filename: 'a.csv',
    content: () => 'name,name,value\nx,y,1\n\nyes,yes,no\nno,yes,no\n',
    text: 'name | name | value\nname: x | name: y | value: 1\n\nyes | yes | no\nno | yes | no\n\n',
  },
];

const PDFS: readonly Case[] = [
  {
    title: 'what was filled into a form, beside what asks for it, and remarks',
    filename: 'a.pdf',
    content: annotatedPdf,
    text: 'Full name: Ann Example\n\n[x] I agree\n\nwritten on the page\n\n[Comment: check this]',
  },
];

const encodedMail = (charset: string, subject: string, body: string, type = '') =>
  encodeAs(
    charset,
    `From: a@example.com\r\nTo: b@example.com\r\nMessage-ID: <1@x>\r\nSubject: ${subject}\r\n${type}\r\n${body}\r\n`,
  );
const parts = (kind: string, ...inner: [type: string, body: string][]) =>
  `From: a@example.com\r\nTo: b@example.com\r\nMessage-ID: <1@x>\r\nSubject: S\r\nMIME-Version: 1.0\r\nContent-Type: multipart/${kind}; boundary=B\r\n\r\n${inner.map(([type, body]) => `--B\r\nContent-Type: ${type}\r\n\r\n${body}\r\n`).join('')}--B--\r\n`;

const MAILS: readonly Case[] = [
  {
    title: 'a Chinese mail that does not say in what it is written',
    filename: 'a.eml',
    content: () => encodedMail('gb18030', '原始标题', '你好，世界。这是没有声明编码的正文。'),
    has: ['# 原始标题', '你好，世界。这是没有声明编码的正文。'],
  },
  {
    title: 'a German one, whose part says only that it is text',
    filename: 'a.eml',
    content: () =>
      encodedMail('windows-1252', 'hi', 'Grüße aus München, schöne Straße.', 'Content-Type: text/plain\r\n'),
    has: ['Grüße aus München, schöne Straße.'],
  },
  {
    title: 'a subject in the encoding that the body declares',
    filename: 'a.eml',
    content: () => encodedMail('gb18030', '会议', '明天的会议改到下午。', 'Content-Type: text/plain; charset=gbk\r\n'),
    has: ['# 会议', '明天的会议改到下午。'],
  },
  {
    title: 'a stub that asks for another program, beside the mail itself',
    filename: 'a.eml',
    content: () =>
      parts(
        'alternative',
        ['text/plain', 'This mail needs an HTML viewer.'],
        ['text/html', `<p>${'The news of the week. '.repeat(20)}</p>`],
      ),
    has: ['The news of the week.'],
  },
  {
    title: 'plain text that HTML merely dresses up',
    filename: 'a.eml',
    content: () =>
      parts(
        'alternative',
        ['text/plain', 'A *plain* answer.'],
        ['text/html', `<p style="${'x'.repeat(500)}">A plain answer.</p>`],
      ),
    has: ['A *plain* answer.'],
  },
  {
    title: 'a mailbox whose writer quoted no sentences',
    filename: 'a.mbox',
    content: () =>
      'From a@x Mon Jan  5 10:00:00 2026\nFrom: a@x\nSubject: one\n\nFrom here on it is easy.\nFrom 2010 on\n\nFrom b@x Mon Jan  5 10:00:01 2026\nFrom: b@x\nSubject: two\n\nbye\n',
    has: ['A mailbox with 2 mails.', '- one · a@x\n- two · b@x'],
  },
];

const CODE: readonly Case[] = [
  {
    title: 'a script that begins with a page',
    filename: 'a.php',
    content: () => '<?php echo "hi"; ?>\n<html><body><?= $x ?></body></html>\n',
    text: '<?php echo "hi"; ?>\n<html><body><?= $x ?></body></html>\n',
  },
  {
    title: 'markup of a script',
    filename: 'a.jsx',
    content: () => '<div className="x"><p>a</p><p>b</p></div>\n',
    text: '<div className="x"><p>a</p><p>b</p></div>\n',
  },
  {
    title: 'settings that are named as the fields of a mail are',
    filename: 'a.yaml',
    content: () => 'from: a\nto: b\nsubject: c\ndate: d\ncontent-type: e\nkept: f\n',
    has: ['kept: f'],
  },
  {
    title: 'a memo',
    filename: 'a.txt',
    content: () => 'Date: today\nFrom: me\nTo: you\nSubject: lunch\nPriority: high\n\nLet us eat.\n',
    has: ['Priority: high\n\nLet us eat.'],
  },
];

for (const [kind, cases] of Object.entries({ code: CODE, tables: TABLES, PDFs: PDFS, mails: MAILS })) {
  describe(kind, () => {
    for (const { title, filename, content, text: expected, has = [], lacks = [] } of cases) {
      test(title, async () => {
        const { text, headings } = await readNamed(content(), filename);
        if (expected !== undefined) expect(text).toBe(expected);
        for (const part of has) expect(text).toContain(part);
        for (const part of lacks) expect(text).not.toContain(part);
        for (const { start, end, title: name } of headings) {
          expect(text.slice(start, end).replace(/\s+/g, ' ')).toContain(name);
        }
      });
    }
  });
}

describe('refusals', () => {
  for (const [title, type] of [
    ['S/MIME', 'application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m'],
    ['PGP', 'multipart/encrypted; protocol="application/pgp-encrypted"; boundary=B'],
  ] as const) {
    test(`an e-mail that ${title} encrypts says so`, async () => {
      const inner = '--B\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--B--';
      const mail = `From: a@x\r\nTo: b@x\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: ${type}\r\n\r\n${inner}\r\n`;
      expect(await outcomeOf(readNamed(mail, 'a.eml'))).toBe('encrypted');
    });
  }
});
