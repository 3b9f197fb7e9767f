/** Flat OpenDocument files: those that LibreOffice writes, and that they are read as the packed ones are. */
import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { FODP, FODS, FODT, ODP, ODT, XML } from '../../../src/ingest/media-types.ts';
import { sniffMediaType } from '../../../src/ingest/sniff.ts';
import { outcomeOf, readDocument, readNamed } from '../../support/documents-extract.ts';
import { flatOpenDocument, openDocument } from '../../support/documents-office.ts';

const saved = async (name: string) =>
  gunzipSync(await Bun.file(join(import.meta.dir, '../../support/office', `${name}.gz`)).bytes());

test('a flat text that LibreOffice saved has its headings, lists and tables', async () => {
  const { text, title, headings } = await readNamed(await saved('report.fodt'), 'renamed.xml');
  expect(text).toBe(
    '# 第一章 Results\n\nRevenue rose by four percent.\n\n- one\n- two\n\n| Item | Price |\n| --- | --- |\n| 茶 | 4.5 |',
  );
  expect(title).toBe('Report 报告');
  expect(headings.map((heading) => heading.title)).toEqual(['第一章 Results']);
});

test('a flat spreadsheet that LibreOffice saved has its rows with the names of their columns', async () => {
  const { text } = await readNamed(await saved('prices.fods'), 'prices.fods');
  expect(text).toBe('## prices\n\nItem | Price\nItem: Tea | Price: 3\nItem: 茶 | Price: 4.5');
});

describe('a flat document is read as the packed one', () => {
  const paragraph = '<text:p>One</text:p>';
  const slide = `<draw:page><draw:frame><draw:text-box>${paragraph}</draw:text-box></draw:frame></draw:page>`;
  const heading = '<text:h text:outline-level="1">二</text:h>';

  test('with its title and its pages', async () => {
    const [flat, packed] = await Promise.all([
      readDocument(flatOpenDocument('text', heading + paragraph, { title: 'Own' }), FODT),
      readDocument(openDocument('text', heading + paragraph, 'Own'), ODT),
    ]);
    expect(flat).toEqual(packed);
    expect([flat.text, flat.title]).toEqual(['# 二\n\nOne', 'Own']);
    const slides = await readDocument(flatOpenDocument('presentation', slide + slide), FODP);
    expect(slides).toEqual(await readDocument(openDocument('presentation', slide + slide), ODP));
    expect(slides.pages).toHaveLength(2);
  });

  test('without pictures and documents within it, ended or not', async () => {
    const picture = '<draw:frame><draw:image><office:binary-data>QUFB</office:binary-data></draw:image></draw:frame>';
    const inner = flatOpenDocument('text', '<text:p>chart</text:p>').replace(/^<\?xml.*\?>\n/, '');
    const object = `<draw:object>${inner}</draw:object><draw:object/>`;
    const read = (body: string) => readDocument(flatOpenDocument('text', body), FODT);
    expect((await read(`${picture}${paragraph}<text:p>${object}two</text:p>`)).text).toBe('One\n\ntwo');
    expect(await outcomeOf(read(`${paragraph}<office:binary-data>QUFB`))).toBe('corrupt');
  });

  test('in UTF-16', async () => {
    const wide = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(flatOpenDocument('text', heading), 'utf16le')]);
    expect((await readNamed(wide, 'a.fodt')).text).toBe('# 二');
  });
});

test('its type is what its first element says, after any number of names', async () => {
  const typeOf = async (content: string, filename = 'a.txt') =>
    (await sniffMediaType(Buffer.from(content), filename)).mediaType;
  expect(await typeOf(flatOpenDocument('text', ''))).toBe(FODT);
  expect(await typeOf(flatOpenDocument('spreadsheet', ''), 'a.fodt')).toBe(FODS);
  expect(await typeOf(flatOpenDocument('presentation', '', { prolog: '<!-- a -->\n' }))).toBe(FODP);
  const names = Array.from({ length: 200 }, (_, i) => `xmlns:n${i}="urn:oasis:names:of:no:importance:${i}"`).join(' ');
  expect(await typeOf(flatOpenDocument('text', '').replace('<office:document ', `<office:document ${names} `))).toBe(
    FODT,
  );
  expect(await typeOf(flatOpenDocument('graphics', ''))).toBe(XML);
  expect(await outcomeOf(readDocument('<office:document/>', FODT))).toBe('corrupt');
});
