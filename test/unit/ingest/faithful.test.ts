/** What real programs write and plain readers lose: each file with the text that must come of it, through its type and its extractor. */
import { describe, expect, test } from 'bun:test';
import * as XLSX from '@e965/xlsx';
import { doc } from '../../support/documents-cfb.ts';
import { encodeAs } from '../../support/documents-encodings.ts';
import { outcomeOf, readDocument, readNamed } from '../../support/documents-extract.ts';
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

const word = (inner: string) => `<w:p>${inner}</w:p>`;
const run = (text: string) => `<w:r><w:t xml:space="preserve">${text}</w:t></w:r>`;
const math = (inner: string) => word(`<m:oMath>${inner}</m:oMath>`);
const m = (text: string) => `<m:r><m:t>${text}</m:t></m:r>`;

const OFFICE: readonly Case[] = [
  {
    title: 'what a field of a Word document last showed, and how a word is read',
    filename: 'a.docx',
    content: () =>
      docx(
        word(`${run('Figure ')}<w:fldSimple w:instr="SEQ">${run('7')}</w:fldSimple>${run(': Sales')}`) +
          word(
            `<w:r><w:ruby><w:rubyPr/><w:rt>${run('かんじ')}</w:rt><w:rubyBase>${run('漢字')}</w:rubyBase></w:ruby></w:r>`,
          ),
      ),
    text: 'Figure 7: Sales\n\n漢字(かんじ)',
  },
  {
    title: 'equations with brackets, sums and roots',
    filename: 'a.docx',
    content: () =>
      docx(
        math(
          `<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>${m('i=1')}</m:sub><m:sup>${m('n')}</m:sup><m:e>${m('i')}</m:e></m:nary>${m('=')}<m:f><m:num>${m('n')}<m:d><m:e>${m('n+1')}</m:e></m:d></m:num><m:den>${m('2')}</m:den></m:f>`,
        ) +
          math(
            `${m('x=')}<m:f><m:num>${m('-b')}<m:rad><m:deg/><m:e><m:sSup><m:e>${m('b')}</m:e><m:sup>${m('2')}</m:sup></m:sSup>${m('-4ac')}</m:e></m:rad></m:num><m:den>${m('2a')}</m:den></m:f>`,
          ) +
          math(
            `<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val="]"/></m:dPr><m:e>${m('0')}</m:e><m:e>${m('1')}</m:e></m:d>`,
          ),
      ),
    text: '∑_(i=1)^n i=(n(n+1))/2\n\nx=(-b√(b^2-4ac))/(2a)\n\n[0,1]',
  },
  {
    title: 'hyphens and quotation marks of an old Word document',
    filename: 'a.doc',
    content: () => doc('co\x1eop\x1ferate “as is” — yes'),
    text: 'co‑operate “as is” — yes',
  },
  {
    title: 'blanks and hyphens of rich text at which no line ends',
    filename: 'a.rtf',
    content: () => '{\\rtf1\\ansi a\\~b co\\_op\\-erate C:\\\\~x\\par}',
    text: 'a b co‑operate C:\\~x',
  },
];

const notebook = (cells: readonly object[], nbformat = 4) => JSON.stringify({ nbformat, metadata: {}, cells });

const TEXTS: readonly Case[] = [
  {
    title: 'colours of a terminal in a log',
    filename: 'a.log',
    content: () => '10:00 \x1b[1;31mERROR\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ [31m stays\n',
    text: '10:00 ERROR link [31m stays\n',
  },
  {
    title: 'outputs of a notebook that are shown as pages, and cells without any',
    filename: 'a.ipynb',
    content: () =>
      notebook([
        { cell_type: 'heading', level: 2, source: 'Old heading' },
        { cell_type: 'code', source: null, outputs: null },
        {
          cell_type: 'code',
          source: 'show()',
          outputs: [
            { data: { 'text/plain': '<IPython.core.display.HTML object>', 'text/html': '<p>Shown <b>so</b></p>' } },
            { data: { 'text/markdown': '**bold**', 'text/plain': ['<IPython.core.display.Markdown object>'] } },
            { data: { 'text/plain': '   a\n0  1', 'text/html': '<table></table>' } },
            { ename: 'E', evalue: '\x1b[31mred\x1b[0m' },
          ],
        },
      ]),
    text: '## Old heading\n\n```\nshow()\n```\n\nShown so\n\n**bold**\n\n```\n   a\n0  1\n```\n\n```\nE: red\n```',
  },
  {
    title: 'comments in settings, whose words stay apart',
    filename: 'a.json',
    content: () => '{\n  // it\'s "first"\n  "a": 1, /* two */ "b": [1, // one\n 2],\n  "c": {}\n  // last\n}\n',
    text: '{\n  // it\'s "first"\n  "a": 1,\n  /* two */ "b": [1, // one\n    2],\n  "c": {} // last\n}',
  },
  {
    title: 'lines among records that are none',
    filename: 'a.ndjson',
    content: () => '{"a":1}\nnot json at all "never closed\n{"b":"x\\ny"}\n',
    text: '{"a": 1}\nnot json at all "never closed\n{"b": "x y"}\n',
  },
  {
    title: 'ampersands and names of HTML in a feed',
    filename: 'a.xml',
    content: () =>
      '<?xml version="1.0"?><rss><channel><title>AT&T&nbsp;news</title><item><title>caf&eacute; &custom; &#65;</title><description><![CDATA[<p>R&amp;D</p>]]></description></item></channel></rss>',
    text: '# AT&T news\n\n## café &custom; A\n\nR&D\n\n',
  },
  {
    title: 'code of a page whose lines are elements, and the formula that people wrote',
    filename: 'a.html',
    content: () =>
      '<body><pre>one<br>two<div>three</div>four</pre><p>So <span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>E</mi></mrow><annotation encoding="application/x-tex">E=m</annotation></semantics></math></span><span class="katex-html" aria-hidden="true">E=m</span></span> and <math alttext="a/b"><mfrac><mi>a</mi><mi>b</mi></mfrac></math>.</p></body>',
    text: '```\none\ntwothree\nfour\n```\n\nSo E=m and a/b.',
  },
  {
    title: 'a word to Excel',
    filename: 'a.csv',
    content: () => 'sep=;\r\na;b\r\n1;2\r\n',
    text: 'a | b\na: 1 | b: 2\n\n',
  },
  {
    title: 'a table with a quotation mark that is never closed',
    filename: 'a.csv',
    content: () => 'name,text\nann,"two\nlines, é"\nbo,"never closed\ncy,茶\n',
    text: 'name | text\nname: ann | text: two lines, é\nname: bo | text: "never closed\nname: cy | text: 茶\n\n',
  },
  {
    title: 'two who speak at once',
    filename: 'a.vtt',
    content: () => 'WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Hello\n<v.loud Bo>Good <i>day</i>\n',
    text: '[00:00:01] Ann: Hello\n\n[00:00:01] Bo: Good day',
  },
  {
    title: 'one bad byte in a short text',
    filename: 'a.txt',
    content: () =>
      Buffer.concat([Buffer.from('Größe und Länge: schön, süß, müde, für'), Buffer.of(0xff), Buffer.from(' alle')]),
    text: 'Größe und Länge: schön, süß, müde, für\ufffd alle',
  },
  { title: 'a word of Russian', filename: 'a.txt', content: () => encodeAs('windows-1251', 'Отчёт'), text: 'Отчёт' },
];

for (const [kind, cases] of Object.entries({
  office: OFFICE,
  texts: TEXTS,
  code: CODE,
  tables: TABLES,
  PDFs: PDFS,
  mails: MAILS,
})) {
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
  test('a table of more text than is allowed says so while it is read', async () => {
    expect(await outcomeOf(readDocument('one,two\n'.repeat(5_000), 'text/csv', 10_000))).toBe('too_large');
  });

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
