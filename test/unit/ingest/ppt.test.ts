/** Presentations of before 2007: what LibreOffice writes, and what its format allows beside. */
import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { PPT } from '../../../src/ingest/media-types.ts';
import { cfb } from '../../support/documents-cfb.ts';
import { outcomeOf, readDocument, readNamed } from '../../support/documents-extract.ts';
import { box, longs, notesPage, ppt, record, reference, slide, text } from '../../support/documents-ppt.ts';

const read = (content: Uint8Array) => readDocument(content, PPT);
const pagesOf = async (content: Uint8Array) => {
  const document = await read(content);
  return document.pages.map(({ start, end }) => document.text.slice(start, end));
};

test('a presentation that LibreOffice saved has its slides as shown, with titles, notes and tables', async () => {
  const file = await Bun.file(join(import.meta.dir, '../../support/office/talk.ppt.gz')).bytes();
  const { text, pages, headings, title } = await readNamed(gunzipSync(file), 'renamed.doc');
  expect(pages.map(({ page, start, end }) => [page, text.slice(start, end)])).toEqual([
    [
      1,
      '# 第一季度 2026\n\nRevenue rose by “four” percent\nCosts fell — at last\n\nNotes: Say thanks to the team 谢谢',
    ],
    [2, '# Outlook\n\nÜnïcödé words\n\nNotes: Ask for questions'],
    [3, '# Prices\n\n| Item | Price |\n| --- | --- |\n| Tea | 3 \\| kg |\n| 茶 | 4.5 |'],
  ]);
  expect(headings.map((heading) => heading.title)).toEqual(['第一季度 2026', 'Outlook', 'Prices']);
  expect(title).toBe('第一季度 2026');
});

describe('slides are read', () => {
  const two = { 2: slide([box(text(4, 'first'))]), 3: slide([box(text(4, 'second'))]) };

  test('in the order of their list, whatever lies first in the file', async () => {
    const slides = [
      { object: 3, id: 257 },
      { object: 2, id: 256 },
    ];
    expect(await pagesOf(ppt({ objects: two, slides }))).toEqual(['second', 'first']);
  });

  test('as they were saved last', async () => {
    const slides = [{ object: 2, id: 256 }];
    const replaced = { 2: slide([box(text(4, 'changed'))]) };
    expect(await pagesOf(ppt({ objects: two, slides, replaced }))).toEqual(['changed']);
  });

  test('with the texts that are kept with their list, and those that no box refers to', async () => {
    const outline = [text(0, 'The title'), text(1, 'Caf\xe9\rtwo', true), text(1, 'left over')];
    const objects = { 2: slide([reference(1), reference(0)]) };
    expect(await pagesOf(ppt({ objects, slides: [{ object: 2, id: 256, outline }] }))).toEqual([
      '# The title\n\nCafé\ntwo\n\nleft over',
    ]);
  });

  test('with the notes that they name, or that name them', async () => {
    const objects = {
      2: slide([box(text(0, 'One'))], 301),
      3: slide([box(text(0, 'Two'))]),
      4: notesPage(256, [box(text(2, 'said first')), box(text(4, '*'), record(0x0fd8, longs(0)))]),
      5: notesPage(257, [box(text(2, 'said then'))]),
    };
    const slides = [
      { object: 2, id: 256 },
      { object: 3, id: 257 },
    ];
    const notes = [
      { object: 4, id: 301 },
      { object: 5, id: 302 },
    ];
    expect(await pagesOf(ppt({ objects, slides, notes }))).toEqual([
      '# One\n\nNotes: said first',
      '# Two\n\nNotes: said then',
    ]);
  });

  test('without the marks of fields, with letters that are drawn and groups in groups', async () => {
    const drawn = Buffer.from('Drawn\0', 'utf16le');
    const property = Buffer.alloc(6);
    property.writeUInt16LE(0x80c0, 0);
    property.writeUInt32LE(drawn.length, 2);
    const art = record(0xf004, [record(0xf00b, Buffer.concat([property, drawn]), 1)]);
    const group = record(0xf003, [record(0xf004, []), record(0xf003, [record(0xf004, []), box(text(4, 'deep'))])]);
    const field = box(text(4, 'Page * of *'), record(0x0fd8, longs(5)));
    const objects = { 2: slide([art, group, field]) };
    expect(await pagesOf(ppt({ objects, slides: [{ object: 2, id: 256 }] }))).toEqual(['Drawn\n\ndeep\n\nPage  of *']);
  });

  test('with comments and the words below them, once', async () => {
    const words = (instance: number, value: string) => record(0x0fba, Buffer.from(value, 'utf16le'), instance);
    const comment = record(0x1388, [
      record(0x138a, [record(0x138b, [record(0x2ee0, [words(0, 'Ann'), words(1, 'Is this so?')])])]),
    ]);
    const footer = record(0x0fd9, [record(0x0fda, longs(0x20 << 16)), words(2, 'Confidential')]);
    const withMore = (shown: string, ...more: Buffer[]) =>
      record(0x03ee, [slide([box(text(4, shown))]).subarray(8), ...more]);
    const objects = { 2: withMore('a', comment, footer), 3: withMore('b', footer) };
    const slides = [
      { object: 2, id: 256 },
      { object: 3, id: 257 },
    ];
    expect(await pagesOf(ppt({ objects, slides }))).toEqual(['a\n\nConfidential\n\nComments: Is this so?', 'b']);
  });
});

describe('is refused by name', () => {
  const one = { objects: { 2: slide([box(text(4, 'x'))]) }, slides: [{ object: 2, id: 256 }] };
  const cases: [string, () => Promise<unknown>, string][] = [
    ['with a password', () => read(ppt({ ...one, encrypted: true })), 'encrypted'],
    ['with macros', () => read(ppt({ ...one, macros: true })), 'unsupported_media_type'],
    ['without a document', () => read(cfb({ 'PowerPoint Document': Buffer.alloc(5000, 7) })), 'corrupt'],
    ['of no container', () => read(Buffer.from('nothing')), 'corrupt'],
    ['of slides that are elsewhere', () => read(ppt({ ...one, objects: {} })), 'empty'],
    [
      'of PowerPoint 95',
      () => readNamed(cfb({ 'PowerPoint Document': 'x', 'PersistentStorage Directory': 'x' }), 'a.ppt'),
      'unsupported_media_type',
    ],
    [
      'that shows one large slide ten thousand times',
      () => {
        const large = slide(Array.from({ length: 5000 }, () => box(text(4, ''))));
        const slides = Array.from({ length: 10_000 }, (_, i) => ({ object: 2, id: 256 + i }));
        return read(ppt({ objects: { 2: large }, slides }));
      },
      'limits_exceeded',
    ],
    [
      'of groups without end',
      () => {
        let group = record(0xf003, [box(text(4, 'innermost'))]);
        for (let depth = 0; depth < 5000; depth++) group = record(0xf003, [record(0xf004, []), group]);
        return read(ppt({ objects: { 2: slide([group]) }, slides: one.slides }));
      },
      'empty',
    ],
  ];
  for (const [title, take, code] of cases) {
    test(`${title}: ${code}`, async () => expect(await outcomeOf(take())).toBe(code));
  }

  test('saves that follow each other in a circle end', async () => {
    expect(await pagesOf(ppt({ ...one, saveBefore: 'itself' }))).toEqual(['x']);
  });
});
