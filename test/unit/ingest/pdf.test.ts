import { describe, expect, test } from 'bun:test';
import { layOutPage, type Run } from '../../../src/ingest/pdf-layout.ts';
import { toPnm } from '../../../src/ingest/pdf-pictures.ts';
import { readDocument } from '../../support/documents-extract.ts';
import { pdf } from '../../support/documents-pdf.ts';

const read = (bytes: Uint8Array, maxChars?: number) => readDocument(bytes, 'application/pdf', maxChars);
const lines = (texts: readonly string[], size = 12) => texts.map((text, i) => ({ text, x: 72, y: 700 - i * 14, size }));

describe('a PDF', () => {
  test('is read page by page, each with its exact place', async () => {
    const { text, pages, title } = await read(
      pdf([lines(['First line', 'second line']), [], lines(['Third page'])], { title: '年度报告 2024' }),
    );
    expect(pages.map(({ page, start, end }) => [page, text.slice(start, end)])).toEqual([
      [1, 'First line\nsecond line'],
      [2, ''],
      [3, 'Third page'],
    ]);
    expect(title).toBe('年度报告 2024');
  });

  test('is read in a Chinese font that is named but not embedded', async () => {
    const page = [
      { text: '员工手册', x: 72, y: 740, size: 20, chinese: true },
      { text: '第一条　公司实行每天八小时工作制，员工应当按时上下班，不得迟到早', x: 72, y: 700, chinese: true },
      { text: '退。违者按规定处理。', x: 72, y: 684, chinese: true },
    ];
    const { text, headings } = await read(pdf([page]));
    expect(text).toBe(
      '员工手册\n\n第一条 公司实行每天八小时工作制，员工应当按时上下班，不得迟到早退。违者按规定处理。',
    );
    expect(headings.map(({ title, start, end }) => [title, text.slice(start, end)])).toEqual([
      ['员工手册', '员工手册'],
    ]);
  });

  test('has the columns of a row behind tabs, and words joined over line ends', async () => {
    const row = [
      { text: 'Widget', x: 72, y: 700 },
      { text: '12', x: 200, y: 700 },
      { text: '3.50', x: 300, y: 700 },
    ];
    expect((await read(pdf([row]))).text).toBe('Widget\t12\t3.50');
    const broken = lines(['a general con-', 'firming of chat-', 'optimized chat, optimized']);
    expect((await read(pdf([broken]))).text).toBe('a general confirming of chat-optimized chat, optimized');
  });

  test('takes large lines for headings, with their places', async () => {
    const page = [{ text: 'Chapter One', x: 72, y: 740, size: 24 }, ...lines(Array(20).fill('some body text here'))];
    const { text, headings } = await read(pdf([page]));
    expect(headings).toEqual([{ level: 1, title: 'Chapter One', start: 0, end: 11 }]);
    expect(text.slice(0, 11)).toBe('Chapter One');
  });

  test('says why it cannot be read', async () => {
    const codeOf = (bytes: Uint8Array, chars?: number) =>
      read(bytes, chars).then(
        () => 'read',
        (error) => error.code,
      );
    expect(await codeOf(pdf([[], []]))).toBe('needs_ocr');
    expect(await codeOf(pdf([lines(['x'])], { encrypted: true }))).toBe('encrypted');
    expect(await codeOf(new TextEncoder().encode('%PDF-1.7\nnothing of a PDF'))).toBe('corrupt');
    expect(await codeOf(pdf([lines(['x'])]).slice(0, 300))).toBe('corrupt');
    expect(await codeOf(pdf([lines(['x'])], { loop: true }))).toBe('corrupt');
    expect(await codeOf(pdf([lines(['a long line of text'])]), 10)).toBe('too_large');
  });
});

describe('the pictures of a page', () => {
  // Three wide, two high: a b c over d e f.
  const rgb = Uint8Array.from([...'abcdef'].flatMap((letter) => Array(3).fill(letter.charCodeAt(0))));
  const shown = (quarters: 0 | 1 | 2 | 3) => {
    const file = Buffer.from(toPnm({ image: { width: 3, height: 2, kind: 2, data: rgb }, quarters })).toString(
      'latin1',
    );
    const [, width, pixels = ''] = /^P6\n(\d) \d\n255\n(.+)$/s.exec(file) ?? [];
    return pixels.replace(/(.)\1\1/g, '$1').match(new RegExp(`.{${width}}`, 'g'));
  };

  test('are turned as they are shown, clockwise', () => {
    expect(shown(0)).toEqual(['abc', 'def']);
    expect(shown(1)).toEqual(['da', 'eb', 'fc']);
    expect(shown(2)).toEqual(['fed', 'cba']);
    expect(shown(3)).toEqual(['cf', 'be', 'ad']);
  });

  test('of a bit a pixel are black where the bit is not set', () => {
    const image = { width: 9, height: 1, kind: 1 as const, data: Uint8Array.from([0b10100000, 0b10000000]) };
    expect([...toPnm({ image, quarters: 0 }).slice(-9)]).toEqual([255, 0, 255, 0, 0, 0, 0, 0, 255]);
  });
});

describe('the lines of a page', () => {
  const run = (text: string, x: number, y: number): Run => ({ text, x, y, width: text.length * 6, size: 12 });

  test('keep the order of the file where it goes down, column by column', () => {
    const runs = [
      run('left one', 50, 700),
      run('left two', 50, 686),
      run('right one', 300, 700),
      run('right two', 300, 686),
    ];
    expect(layOutPage(runs).map(({ text }) => text)).toEqual(['left one', 'left two', 'right one', 'right two']);
  });

  test('are sorted by place where the file is shuffled', () => {
    const y = [500, 600, 520, 700, 540, 680, 560, 660, 580, 640];
    expect(layOutPage(y.map((at) => run(`y${at}`, 50, at))).map(({ text }) => text)).toEqual(
      y.toSorted((a, b) => b - a).map((at) => `y${at}`),
    );
  });
});
