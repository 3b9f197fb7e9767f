/**
 * Files that were made to harm whoever reads them, each with what must become of it: `read`, or the code of its refusal.
 * `unsupported_media_type` may be said at the upload or by the parser; the rest only parsing can find.
 */
import { deflateSync, gzipSync } from 'node:zlib';
import { storedZip } from '../../src/ingest/zip-write.ts';
import { cfb, doc, workbook } from './documents-cfb.ts';
import { eml } from './documents-mail.ts';
import { flatOpenDocument } from './documents-office.ts';
import { pdf } from './documents-pdf.ts';
import { jpegHeader, png } from './documents-pictures.ts';
import { ppt } from './documents-ppt.ts';
import { bmp, gif, tiff } from './documents-tiff.ts';
import { tnef } from './documents-tnef.ts';
import { docx, paragraph, type ZipPart, zip } from './documents-zip.ts';

export interface HostileFile {
  title: string;
  filename: string;
  content(): Uint8Array | string;
  outcome: string;
}

const MIB = 1024 * 1024;
const EICAR = ['X5O!P%@AP[4\\PZX54(P^)7CC)7}$', 'EICAR-STANDARD-ANTIVIRUS-TEST-FILE!', '$H+H*'].join('');
const LAUGHS = `<!DOCTYPE x [<!ENTITY a "ha">${Array.from({ length: 9 }, (_, i) => `<!ENTITY ${'bcdefghij'[i]} "${`&${'abcdefghi'[i]};`.repeat(10)}">`).join('')}]>`;
const XXE = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>';

const zeros = (bytes: number) => new Uint8Array(bytes);
const latin = (text: string) => Buffer.from(text, 'latin1');
const nested = (open: string, close: string, depth: number, middle = '1') =>
  open.repeat(depth) + middle + close.repeat(depth);

function ooxml(kind: 'xl' | 'ppt', parts: readonly ZipPart[], types = ''): Uint8Array {
  const main = kind === 'xl' ? 'xl/workbook.xml' : 'ppt/presentation.xml';
  const type = `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/>${types}</Types>`;
  return zip([{ name: '[Content_Types].xml', data: type }, { name: main, data: '<x/>' }, ...parts]);
}

function odf(kind: string, content: string, extra: Readonly<Record<string, string>> = {}): Uint8Array {
  const parts = {
    mimetype: `application/vnd.oasis.opendocument.${kind}`,
    'content.xml': content,
    'META-INF/manifest.xml': '<m/>',
    ...extra,
  };
  return storedZip(new Map(Object.entries(parts).map(([name, data]) => [name, Buffer.from(data)])));
}

const CONTAINER =
  '<container><rootfiles><rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>';
const BOOK =
  '<package><metadata><title>T</title></metadata><manifest><item id="a" href="a.xhtml"/></manifest><spine><itemref idref="a"/></spine></package>';
const epub = (chapter: string | Uint8Array, extra: readonly ZipPart[] = []) =>
  zip([
    { name: 'META-INF/container.xml', data: CONTAINER },
    { name: 'OPS/book.opf', data: BOOK },
    { name: 'OPS/a.xhtml', data: chapter },
    ...extra,
  ]);

/** One page whose content is given as it stands in the file; `dictionary` says how it is packed. */
function pdfOf(content: Uint8Array | string, dictionary = '', page = ''): Uint8Array {
  const bytes = Buffer.from(content);
  const head = `%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R ${page} >>\nendobj\n4 0 obj\n<< /Length ${bytes.length} ${dictionary} >>\nstream\n`;
  return Buffer.concat([latin(head), bytes, latin('\nendstream\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n')]);
}

function nestedMail(depth: number): string {
  let mail = 'Content-Type: text/plain\r\n\r\nthe innermost';
  for (let i = 0; i < depth; i++) {
    mail = `Content-Type: multipart/mixed; boundary=b${i}\r\n\r\n--b${i}\r\n${mail}\r\n--b${i}--\r\n`;
  }
  return `From: a@b.c\r\nSubject: deep\r\nMIME-Version: 1.0\r\n${mail}`;
}

/** A compound file whose directory's chain of sectors never ends. */
function loopingCfb(): Uint8Array {
  const file = Buffer.from(cfb({ Nothing: 'x' }));
  const table = (file.readUInt32LE(76) + 1) * 512;
  const directory = file.readUInt32LE(48);
  file.writeUInt32LE(directory, table + directory * 4);
  return file;
}

/** A part whose local header is the start of another's, so that both are the same bytes: many of those. */
const overlapping = (parts: number): ZipPart[] =>
  Array.from({ length: parts }, (_, i) => ({
    name: `word/part${i}.xml`,
    data: 'a'.repeat(100_000),
    sharesPrevious: i > 0,
  }));

const bombs: HostileFile[] = [
  {
    title: 'a ZIP bomb in a part that is not read',
    filename: 'a.docx',
    content: () => docx(paragraph('x'), [{ name: 'word/media/a.bin', data: zeros(70 * MIB) }]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a ZIP bomb that claims to be small',
    filename: 'a.docx',
    content: () =>
      zip([
        { name: '[Content_Types].xml', data: '' },
        { name: 'word/document.xml', data: zeros(70 * MIB), claimedSize: 10 },
      ]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'parts that overlap',
    filename: 'a.docx',
    content: () => zip([{ name: '[Content_Types].xml', data: '' }, ...overlapping(1500)]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'more parts than a document has',
    filename: 'a.docx',
    content: () =>
      docx(
        paragraph('x'),
        Array.from({ length: 5000 }, (_, i) => ({ name: `word/p${i}.xml`, data: '' })),
      ),
    outcome: 'limits_exceeded',
  },
  {
    title: 'archives in archives, as 42.zip has them',
    filename: '42.zip',
    content: () =>
      zip(
        Array.from({ length: 16 }, (_, i) => ({
          name: `lib ${i}.zip`,
          data: zip([{ name: '0.dll', data: zeros(MIB) }]),
        })),
      ),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a workbook of one enormous sheet',
    filename: 'a.xlsx',
    content: () => ooxml('xl', [{ name: 'xl/worksheets/sheet1.xml', data: '<row/>'.repeat(12 * MIB) }]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a binary workbook of one enormous sheet',
    filename: 'a.xlsb',
    content: () =>
      zip([
        { name: '[Content_Types].xml', data: '<Types/>' },
        { name: 'xl/workbook.bin', data: 'x' },
        { name: 'xl/worksheets/sheet1.bin', data: zeros(200 * MIB) },
      ]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'an e-book of one enormous chapter',
    filename: 'a.epub',
    content: () => epub(zeros(70 * MIB)),
    outcome: 'limits_exceeded',
  },
  {
    title: 'an OpenDocument bomb',
    filename: 'a.odt',
    content: () =>
      zip([
        { name: 'mimetype', data: 'application/vnd.oasis.opendocument.text' },
        { name: 'content.xml', data: zeros(70 * MIB) },
      ]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a PDF page that unpacks to 200 MB',
    filename: 'a.pdf',
    content: () => pdfOf(deflateSync(zeros(200 * MIB)), '/Filter /FlateDecode'),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a PDF page packed twice',
    filename: 'a.pdf',
    content: () => pdfOf(deflateSync(deflateSync(zeros(200 * MIB))), '/Filter [/FlateDecode /FlateDecode]'),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a picture of 60,000 × 60,000 pixels',
    filename: 'a.png',
    content: () => png({ width: 60_000, height: 60_000 }),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a photograph of 65,535 × 65,535 pixels',
    filename: 'a.jpg',
    content: () => jpegHeader(65_535, 65_535),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a scan of 65,535 × 65,535 pixels',
    filename: 'a.tif',
    content: () => tiff([{ width: 65_535, height: 65_535 }]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a scan whose strip unpacks to 200 MB',
    filename: 'a.tif',
    content: () =>
      tiff([{ width: 100, height: 100, compression: 8, strips: [deflateSync(new Uint8Array(200 * MIB))] }]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a scan of 10,000 pages',
    filename: 'a.tif',
    content: () => tiff(Array.from({ length: 10_000 }, () => ({ width: 100, height: 100 }))),
    outcome: 'needs_ocr',
  },
  {
    title: 'a picture in motion of 65,535 × 65,535 pixels',
    filename: 'a.gif',
    content: () => gif([20, 20], [65_535, 65_535]),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a bitmap of 60,000 × 60,000 pixels',
    filename: 'a.bmp',
    content: () => bmp(60_000, 60_000),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a gzip bomb',
    filename: 'a.txt',
    content: () => gzipSync(zeros(10 * MIB)),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a picture on a PDF page of 100,000 × 100,000 pixels',
    filename: 'a.pdf',
    content: () => pdfOf('q 612 0 0 792 0 0 cm BI /W 100000 /H 100000 /BPC 8 /CS /G ID x EI Q'),
    outcome: 'needs_ocr',
  },
];

const entities: HostileFile[] = [
  {
    title: 'a million laughs',
    filename: 'a.xml',
    content: () => `<?xml version="1.0"?>${LAUGHS}<x>&j;</x>`,
    outcome: 'corrupt',
  },
  {
    title: 'one long entity, many times',
    filename: 'a.xml',
    content: () =>
      `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "${'a'.repeat(50_000)}">]><x>${'&a;'.repeat(50_000)}</x>`,
    outcome: 'corrupt',
  },
  {
    title: 'an entity that is a file',
    filename: 'a.xml',
    content: () => `<?xml version="1.0"?>${XXE}<x>&e;</x>`,
    outcome: 'corrupt',
  },
  {
    title: 'the same in UTF-16',
    filename: 'a.xml',
    content: () => Buffer.from(`\ufeff<?xml version="1.0" encoding="UTF-16"?>${XXE}<x>&e;</x>`, 'utf16le'),
    outcome: 'corrupt',
  },
  {
    title: 'an entity of parameters',
    filename: 'a.xml',
    content: () => '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]><x/>',
    outcome: 'corrupt',
  },
  {
    title: 'a document type elsewhere, which is not fetched',
    filename: 'a.xml',
    content: () => '<?xml version="1.0"?><!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x>words</x>',
    outcome: 'read',
  },
  {
    title: 'laughs in a Word document',
    filename: 'a.docx',
    content: () => docx(paragraph('&j;'), [], LAUGHS),
    outcome: 'corrupt',
  },
  {
    title: 'a file in a Word document',
    filename: 'a.docx',
    content: () => docx(paragraph('&e;'), [], XXE),
    outcome: 'corrupt',
  },
  {
    title: 'laughs in a workbook',
    filename: 'a.xlsx',
    content: () => ooxml('xl', [{ name: 'xl/sharedStrings.xml', data: `${LAUGHS}<sst/>` }]),
    outcome: 'corrupt',
  },
  {
    title: 'a file in a presentation, in UTF-16',
    filename: 'a.pptx',
    content: () => ooxml('ppt', [{ name: 'ppt/slides/slide1.xml', data: Buffer.from(`\ufeff${XXE}<p/>`, 'utf16le') }]),
    outcome: 'corrupt',
  },
  {
    title: 'a file in an OpenDocument text',
    filename: 'a.odt',
    content: () => odf('text', `${XXE}<office>&e;</office>`),
    outcome: 'corrupt',
  },
  {
    title: 'laughs in a flat OpenDocument text',
    filename: 'a.fodt',
    content: () => flatOpenDocument('text', '<text:p>&j;</text:p>', { prolog: LAUGHS }),
    outcome: 'corrupt',
  },
  {
    title: 'a file in a flat spreadsheet',
    filename: 'a.fods',
    content: () => flatOpenDocument('spreadsheet', '<table:table/>', { prolog: XXE }),
    outcome: 'corrupt',
  },
  {
    title: 'laughs in an e-book',
    filename: 'a.epub',
    content: () =>
      zip([
        { name: 'META-INF/container.xml', data: CONTAINER },
        { name: 'OPS/book.opf', data: LAUGHS + BOOK },
      ]),
    outcome: 'corrupt',
  },
];

const nesting: HostileFile[] = [
  {
    title: 'a page of 50,000 nested parts',
    filename: 'a.html',
    content: () => `<html><body>${'<div>'.repeat(50_000)}x`,
    outcome: 'limits_exceeded',
  },
  {
    title: 'a page of 50,000 tags that never end',
    filename: 'a.html',
    content: () => `<!doctype html>${'<b>'.repeat(50_000)}x`,
    outcome: 'limits_exceeded',
  },
  {
    title: 'JSON of a million lists',
    filename: 'a.json',
    content: () => nested('[', ']', 1_000_000),
    outcome: 'limits_exceeded',
  },
  {
    title: 'JSON of 100,000 objects',
    filename: 'a.json',
    content: () => nested('{"a":', '}', 100_000),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a record of 100,000 lists',
    filename: 'a.jsonl',
    content: () => nested('[', ']', 100_000),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a notebook of a million lists',
    filename: 'a.ipynb',
    content: () => `{"cells":${nested('[', ']', 1_000_000)}}`,
    outcome: 'corrupt',
  },
  {
    title: 'XML of 100,000 levels',
    filename: 'a.xml',
    content: () => `<?xml version="1.0"?>${nested('<a>', '</a>', 100_000)}`,
    outcome: 'limits_exceeded',
  },
  {
    title: 'a Word document of 50,000 nested tables',
    filename: 'a.docx',
    content: () => docx(nested('<w:tbl><w:tr><w:tc>', '</w:tc></w:tr></w:tbl>', 50_000, paragraph('x'))),
    outcome: 'limits_exceeded',
  },
  {
    title: 'an OpenDocument text of 100,000 nested spans',
    filename: 'a.odt',
    content: () =>
      odf(
        'text',
        `<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:text><text:p>${nested('<text:span>', '</text:span>', 100_000)}</text:p></office:text></office:body></office:document-content>`,
      ),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a flat OpenDocument text of 100,000 nested spans',
    filename: 'a.fodt',
    content: () =>
      flatOpenDocument('text', `<text:p>${nested('<text:span>', '</text:span>', 100_000, 'deep')}</text:p>`),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a flat OpenDocument text of 70 MB of pictures',
    filename: 'a.fodt',
    content: () => flatOpenDocument('text', `<office:binary-data>${'QUFB'.repeat(17 * MIB + 1)}</office:binary-data>`),
    outcome: 'limits_exceeded',
  },
  {
    title: 'an e-book of 50,000 nested parts',
    filename: 'a.epub',
    content: () => epub(nested('<div>', '</div>', 50_000)),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a PDF of 200,000 nested lists',
    filename: 'a.pdf',
    content: () => pdfOf('BT ET', '', `/Extra ${nested('[', ']', 200_000)}`),
    outcome: 'corrupt',
  },
  {
    title: 'PDF operators in 100,000 nested lists',
    filename: 'a.pdf',
    content: () => pdfOf(`${nested('[', ']', 100_000)} TJ`),
    outcome: 'needs_ocr',
  },
  {
    title: 'RTF of 200,000 groups',
    filename: 'a.rtf',
    content: () => `{\\rtf1 ${nested('{', '}', 200_000, 'x')}}`,
    outcome: 'limits_exceeded',
  },
  {
    title: 'a mail of 500 nested parts',
    filename: 'a.eml',
    content: () => nestedMail(500),
    outcome: 'limits_exceeded',
  },
];

const pdfs: HostileFile[] = [
  {
    title: 'a page tree that contains itself',
    filename: 'a.pdf',
    content: () => pdf([[]], { loop: true }),
    outcome: 'corrupt',
  },
  {
    title: 'a PDF with a password',
    filename: 'a.pdf',
    content: () => pdf([[{ text: 'x', x: 72, y: 700 }]], { encrypted: true }),
    outcome: 'encrypted',
  },
  {
    title: 'a PDF that is cut off',
    filename: 'a.pdf',
    content: () => pdf([[{ text: 'x', x: 72, y: 700 }]]).slice(0, 300),
    outcome: 'corrupt',
  },
  { title: 'a PDF of a header alone', filename: 'a.pdf', content: () => '%PDF-1.7\n', outcome: 'corrupt' },
  {
    title: 'a PDF of noise',
    filename: 'a.pdf',
    content: () => Buffer.concat([latin('%PDF-1.7\n'), noise(50_000)]),
    outcome: 'corrupt',
  },
  {
    title: 'a PDF that runs a script when it is opened',
    filename: 'a.pdf',
    content: () =>
      Buffer.from(
        Buffer.from(pdf([[{ text: 'harmless words', x: 72, y: 700 }]]))
          .toString('latin1')
          .replace('/Type /Catalog', '/Type /Catalog /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>'),
        'latin1',
      ),
    outcome: 'read',
  },
  {
    title: 'a PDF whose content is itself',
    filename: 'a.pdf',
    content: () =>
      pdfOf(
        'q /X Do Q',
        '/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 4 0 R >> >>',
        '/Resources << /XObject << /X 4 0 R >> >>',
      ),
    outcome: 'needs_ocr',
  },
];

const disguised: HostileFile[] = [
  {
    title: 'a Windows program',
    filename: 'report.pdf',
    content: () => latin(`MZ\x90\0\x03\0\0\0${'\0'.repeat(60)}PE\0\0`),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a Linux program',
    filename: 'notes.txt',
    content: () => latin('\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0>\0\x01\0\0\0'),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a program of Java',
    filename: 'notes.txt',
    content: () => latin('\xca\xfe\xba\xbe\0\0\0\x41\0\x10'),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'WebAssembly',
    filename: 'a.md',
    content: () => latin('\0asm\x01\0\0\0'),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a Java archive',
    filename: 'a.docx',
    content: () => zip([{ name: 'META-INF/MANIFEST.MF', data: 'x' }]),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a PDF with an archive behind it',
    filename: 'a.pdf',
    content: () => Buffer.concat([pdf([[{ text: 'x', x: 72, y: 700 }]]), zip([{ name: 'a.exe', data: 'x' }])]),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a picture with an archive behind it',
    filename: 'a.png',
    content: () => Buffer.concat([png({ width: 1, height: 1 }), zip([{ name: 'a.exe', data: 'x' }])]),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a page with a PDF behind it',
    filename: 'a.html',
    content: () => Buffer.concat([latin('<html><script>1</script>\n'), pdf([[]])]),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a script that begins like a picture',
    filename: 'a.txt',
    content: () => 'GIF89a/*<script>alert(1)</script>*/=1',
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a drawing with a script',
    filename: 'a.svg',
    content: () => '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a drawing named as a page',
    filename: 'a.html',
    content: () => '<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    outcome: 'unsupported_media_type',
  },
  {
    title: 'macros in a Word document',
    filename: 'a.docx',
    content: () => docx(paragraph('x'), [{ name: 'word/vbaProject.bin', data: 'x' }]),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'macros under another name',
    filename: 'a.xlsx',
    content: () =>
      ooxml(
        'xl',
        [{ name: 'xl/harmless.bin', data: 'x' }],
        '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.ms-excel.sheet.macroEnabled.main+xml"/>',
      ),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'macros in an old Word document',
    filename: 'a.doc',
    content: () => cfb({ WordDocument: 'x', 'Macros/VBA/dir': 'x' }),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'macros in an OpenDocument text',
    filename: 'a.odt',
    content: () => odf('text', '<x/>', { 'Basic/Standard/Module1.xml': 'x' }),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'macros in a flat OpenDocument text',
    filename: 'a.fodt',
    content: () =>
      flatOpenDocument('text', '<text:p>x</text:p>', {
        extra: '<office:scripts><o:module xmlns:o="x"><o:source-code>Sub x</o:source-code></o:module></office:scripts>',
      }),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'an Office document with a password',
    filename: 'a.docx',
    content: () => cfb({ EncryptionInfo: 'x', EncryptedPackage: 'x' }),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'an old Word document with a password',
    filename: 'a.doc',
    content: () => doc('secret', { encrypted: true }),
    outcome: 'encrypted',
  },
  {
    title: 'an old presentation with a password',
    filename: 'a.ppt',
    content: () => ppt({ objects: {}, slides: [], encrypted: true }),
    outcome: 'encrypted',
  },
  {
    title: 'macros of a binary workbook under another name',
    filename: 'a.xlsb',
    content: () =>
      zip([
        {
          name: '[Content_Types].xml',
          data: '<Types><Override PartName="/xl/x.bin" ContentType="application/vnd.ms-office.vbaProject"/></Types>',
        },
        { name: 'xl/workbook.bin', data: '' },
        { name: 'xl/x.bin', data: 'x' },
      ]),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'macros in an old presentation',
    filename: 'a.ppt',
    content: () => ppt({ objects: {}, slides: [], macros: true }),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a Word document of encrypted parts',
    filename: 'a.docx',
    content: () =>
      zip([
        { name: '[Content_Types].xml', data: 'x', encrypted: true },
        { name: 'word/document.xml', data: 'x', encrypted: true },
      ]),
    outcome: 'encrypted',
  },
  {
    title: 'an OpenDocument text with a password',
    filename: 'a.odt',
    content: () => odf('text', 'x', { 'META-INF/manifest.xml': '<m><manifest:encryption-data/></m>' }),
    outcome: 'encrypted',
  },
  {
    title: 'a copy-protected e-book',
    filename: 'a.epub',
    content: () =>
      epub('x', [{ name: 'META-INF/encryption.xml', data: '<e><CipherReference URI="OPS/a.xhtml"/></e>' }]),
    outcome: 'encrypted',
  },
  {
    title: 'a 7z archive',
    filename: 'a.txt',
    content: () => latin("7z\xbc\xaf'\x1c\0\x04\0\0\0\0\0\0\0\0"),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a RAR archive',
    filename: 'a.pdf',
    content: () => latin('Rar!\x1a\x07\x01\0\0\0\0'),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'the test virus as a program',
    filename: 'eicar.com.zip',
    content: () => zip([{ name: 'eicar.com', data: EICAR }]),
    outcome: 'unsupported_media_type',
  },
];

const damaged: HostileFile[] = [
  {
    title: 'a part that lies behind the end',
    filename: 'a.docx',
    content: () => beyondEnd(docx(paragraph('x'))),
    outcome: 'corrupt',
  },
  {
    title: 'a compound file without an end',
    filename: 'a.doc',
    content: loopingCfb,
    outcome: 'unsupported_media_type',
  },
  {
    title: 'an old Word document of noise',
    filename: 'a.doc',
    content: () => cfb({ WordDocument: noise(6000), '1Table': noise(5000) }),
    outcome: 'corrupt',
  },
  {
    title: 'an old workbook of noise',
    filename: 'a.xls',
    content: () => cfb({ Workbook: noise(6000) }),
    outcome: 'empty',
  },
  {
    title: 'an old presentation of noise',
    filename: 'a.ppt',
    content: () => cfb({ 'PowerPoint Document': noise(20_000), 'Current User': noise(60) }),
    outcome: 'corrupt',
  },
  {
    title: 'an old presentation whose parts are longer than it is',
    filename: 'a.ppt',
    content: () => cfb({ 'PowerPoint Document': Buffer.alloc(20_000, 0xff), 'Current User': Buffer.alloc(60, 0xff) }),
    outcome: 'corrupt',
  },
  {
    title: 'a binary workbook of noise',
    filename: 'a.xlsb',
    content: () =>
      zip([
        { name: '[Content_Types].xml', data: '<Types/>' },
        { name: 'xl/workbook.bin', data: noise(5000) },
        { name: 'xl/worksheets/sheet1.bin', data: noise(5000) },
      ]),
    outcome: 'corrupt',
  },
  {
    title: 'a message of noise',
    filename: 'a.msg',
    content: () => cfb({ '__properties_version1.0': noise(6000) }),
    outcome: 'empty',
  },
  { title: 'a presentation without slides', filename: 'a.pptx', content: () => ooxml('ppt', []), outcome: 'empty' },
  {
    title: 'an e-book without a book',
    filename: 'a.epub',
    content: () =>
      zip([
        { name: 'META-INF/container.xml', data: '<x/>' },
        { name: 'a.opf', data: '<x/>' },
      ]),
    outcome: 'corrupt',
  },
  {
    title: 'an e-book that reaches out of itself',
    filename: 'a.epub',
    content: () =>
      zip([
        { name: 'META-INF/container.xml', data: CONTAINER.replace('OPS/book.opf', '../../../../etc/passwd') },
        { name: 'a.opf', data: '<x/>' },
      ]),
    outcome: 'corrupt',
  },
  { title: 'XML that breaks off', filename: 'a.xml', content: () => '<?xml version="1.0"?><a><b>', outcome: 'corrupt' },
  { title: 'a notebook that is none', filename: 'a.ipynb', content: () => '[1, 2, 3]', outcome: 'corrupt' },
  {
    title: 'a picture that breaks off',
    filename: 'a.png',
    content: () => png({ width: 200, height: 200, pixels: noise(40_000) }).slice(0, 600),
    outcome: 'corrupt',
  },
  {
    title: 'a scan that breaks off',
    filename: 'a.tif',
    content: () => tiff([{ width: 200, height: 200, compression: 4, strips: [noise(4000)] }]).slice(0, 2000),
    outcome: 'corrupt',
  },
  {
    title: 'a scan whose pages come round again',
    filename: 'a.tif',
    content: () => tiff([{ width: 200, height: 200, compression: 7, strips: [noise(4000)] }], () => 0),
    outcome: 'unsupported_media_type',
  },
  {
    title: 'a picture in motion that breaks off',
    filename: 'a.gif',
    content: () => gif([200, 200]).slice(0, 25),
    outcome: 'corrupt',
  },
  { title: 'subtitles without times', filename: 'a.srt', content: () => 'just words', outcome: 'corrupt' },
  {
    title: 'a table whose quotation never ends',
    filename: 'a.csv',
    content: () => `a,b\n1,"${'x\n'.repeat(3 * MIB)}`,
    outcome: 'limits_exceeded',
  },
  { title: 'noise', filename: 'a.txt', content: () => noise(100_000), outcome: 'unsupported_media_type' },
  { title: 'a megabyte of NULs', filename: 'a.txt', content: () => zeros(MIB), outcome: 'unsupported_media_type' },
];

const strange: HostileFile[] = [
  {
    title: 'NULs in text',
    filename: 'a.txt',
    content: () => `words\0 and more words, which make it long enough to be taken for a text with faults. `.repeat(50),
    outcome: 'read',
  },
  {
    title: 'halves of pairs in UTF-16',
    filename: 'a.txt',
    content: () => Buffer.from('\ufeffwords \ud83d and \ude00 more', 'utf16le'),
    outcome: 'read',
  },
  {
    title: 'halves of pairs in JSON',
    filename: 'a.json',
    content: () => '{"a":"\\ud83d","b":"\\ude00\\ud83d","\\u0000":"x"}',
    outcome: 'read',
  },
  { title: 'a line of 20 MB', filename: 'a.txt', content: () => 'word '.repeat(4 * MIB), outcome: 'read' },
  {
    title: 'a name of a megabyte in JSON',
    filename: 'a.json',
    content: () => `{"${'n'.repeat(MIB)}":1}`,
    outcome: 'read',
  },
  {
    title: 'an attribute of a megabyte',
    filename: 'a.html',
    content: () => `<p class="${'c'.repeat(MIB)}">words</p>`,
    outcome: 'read',
  },
  {
    title: 'an attribute of a megabyte in XML',
    filename: 'a.xml',
    content: () => `<?xml version="1.0"?><a b="${'c'.repeat(MIB)}">words</a>`,
    outcome: 'read',
  },
  { title: 'a file name of a megabyte', filename: `${'n'.repeat(MIB)}.txt`, content: () => 'words', outcome: 'read' },
  {
    title: 'a file name that climbs',
    filename: '../../../../etc/passwd\0.txt',
    content: () => 'words',
    outcome: 'read',
  },
  {
    title: 'parts whose names climb',
    filename: 'a.docx',
    content: () =>
      docx(paragraph('words'), [
        { name: '../../../../tmp/evil.xml', data: '<x/>' },
        { name: '/etc/passwd.xml', data: '<x/>' },
        { name: 'n'.repeat(60_000), data: '' },
      ]),
    outcome: 'read',
  },
  {
    title: 'an attachment whose name climbs',
    filename: 'a.eml',
    content: () =>
      eml({}, [
        { name: '../../../etc/cron.d/evil', type: 'text/plain', content: 'x' },
        { name: 'n'.repeat(100_000), type: 'text/plain', content: 'x' },
      ]),
    outcome: 'read',
  },
  {
    title: 'more attachments than a mail has',
    filename: 'a.eml',
    content: () =>
      eml(
        {},
        Array.from({ length: 1000 }, (_, i) => ({ name: `a${i}`, type: 'text/plain', content: 'x' })),
      ),
    outcome: 'limits_exceeded',
  },
  {
    title: 'more attachments than a message has, packed by Outlook',
    filename: 'winmail.dat',
    content: () => tnef({ attachments: Array.from({ length: 5000 }, () => ({ data: latin('x') })) }),
    outcome: 'limits_exceeded',
  },
  {
    title: 'a packed message of noise',
    filename: 'winmail.dat',
    content: () => Buffer.concat([tnef({}).subarray(0, 6), noise(50_000)]),
    outcome: 'corrupt',
  },
  {
    title: 'a virus test in a mail, which is a file of its own',
    filename: 'a.eml',
    content: () => eml({}, [{ name: 'eicar.com', type: 'application/octet-stream', content: EICAR }]),
    outcome: 'read',
  },
  {
    title: 'a table of 200,000 columns',
    filename: 'a.csv',
    content: () => `${'a,'.repeat(200_000)}b\n`,
    outcome: 'read',
  },
  {
    title: 'a feed with a script',
    filename: 'a.rss',
    content: () =>
      '<rss><channel><item><title>T</title><description>&lt;script&gt;alert(1)&lt;/script&gt;words</description></item></channel></rss>',
    outcome: 'read',
  },
  {
    title: 'a page of comments that never end',
    filename: 'a.html',
    content: () => `<html><body>words${'<!--'.repeat(200_000)}`,
    outcome: 'read',
  },
  { title: 'blanks alone', filename: 'a.txt', content: () => ' \n\t'.repeat(100_000), outcome: 'empty' },
  {
    title: 'a page of a script alone',
    filename: 'a.html',
    content: () => '<html><body><script>alert(1)</script></body></html>',
    outcome: 'empty',
  },
  {
    title: 'two parts of one name',
    filename: 'a.docx',
    content: () => docx(paragraph('words'), [{ name: 'word/document.xml', data: '<x/>' }]),
    outcome: 'read',
  },
  {
    title: 'a workbook that says it has more rows than exist',
    filename: 'a.xls',
    content: () =>
      workbook(
        {
          A: [
            ['a', 'b'],
            [1, 2],
          ],
        },
        'biff8',
      ),
    outcome: 'read',
  },
];

export const HOSTILE_FILES: readonly HostileFile[] = [
  ...[...bombs, ...entities, ...nesting, ...pdfs, ...disguised, ...damaged, ...strange],
];

/** The same bytes each time, and of no pattern. */
function noise(length: number): Uint8Array {
  let state = 0x2545f491;
  return Uint8Array.from({ length }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
}

/** Its list says that its last part has 16 MB more than there are. */
function beyondEnd(file: Uint8Array): Uint8Array {
  const claim = Buffer.from(file);
  claim.writeUInt8(1, claim.lastIndexOf(latin('PK\x01\x02')) + 23);
  return claim;
}
