import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import type { Chunk, ExtractedDocument } from '../../../src/contracts/index.ts';
import { createStructuralChunker } from '../../../src/ingest/chunker.ts';
import { cleanText } from '../../../src/ingest/clean-text.ts';
import { markdownHeadings } from '../../../src/ingest/markdown-headings.ts';
import { hasChunkingData, readCorpus, readQuestions } from '../../support/documents-questions.ts';
import { printSkipped, printTable } from '../../support/documents-report.ts';

const documentOf = (text: string): ExtractedDocument => ({
  text,
  title: null,
  pages: [],
  headings: markdownHeadings(text),
});
const small = createStructuralChunker({ maxTokens: 40, targetTokens: 25, overlapTokens: 8, minTokens: 8 });
const usual = createStructuralChunker();
const texts = (chunks: readonly Chunk[]) => chunks.map(({ text }) => text);

/** What must hold for every text; `maxTokens` is the chunker's. */
function expectSound(document: ExtractedDocument, chunks: readonly Chunk[], maxTokens: number): void {
  const { text } = document;
  let covered = 0;
  let lastStart = -1;
  for (const [i, chunk] of chunks.entries()) {
    if (chunk.ordinal !== i) throw new Error(`ordinal ${chunk.ordinal} at ${i}`);
    if (chunk.text !== text.slice(chunk.start, chunk.end)) throw new Error('text is not the slice at its offsets');
    if (chunk.tokens > maxTokens) throw new Error(`${chunk.tokens} tokens`);
    if (chunk.text.trim() === '' || !chunk.text.isWellFormed()) throw new Error('blank or half a surrogate pair');
    if (chunk.start <= lastStart) throw new Error('does not go forward');
    if (chunk.start > covered && text.slice(covered, chunk.start).trim() !== '') throw new Error('text between chunks');
    lastStart = chunk.start;
    covered = Math.max(covered, chunk.end);
  }
  if (text.slice(covered).trim() !== '') throw new Error('text after the last chunk');
}

const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });
function expectWholeGraphemes(text: string, chunks: readonly Chunk[]): void {
  const starts = new Set([...graphemes.segment(text)].map(({ index }) => index)).add(text.length);
  for (const { start, end } of chunks) {
    if (!starts.has(start) || !starts.has(end)) throw new Error(`a grapheme is cut at ${start} or ${end}`);
  }
}

const piece = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: 'grapheme', maxLength: 30 }) },
  { weight: 2, arbitrary: fc.lorem({ maxCount: 4, mode: 'sentences' }) },
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '\n',
    '\n\n',
    '# 标题\n',
    '## Two\n',
    '```\n',
    '| a | b |\n',
    '- item\n',
    '1. one\n',
    '\t',
    ' ',
    '\u3000',
    '。',
    '！？',
    '数据库连接失败，请稍后再试。',
    '「はい。」と言った。',
    '👩‍👩‍👧‍👦',
    '🇨🇳🇯🇵',
    'e\u0301',
    ' \u0301',
    '\u0600 ',
    'नमस्ते ',
    '한국어 ',
    'a\u200db',
    'averyveryverylongwordwithoutanyplacetocutitcleanly'.repeat(8),
    '没有标点的长句子'.repeat(30),
    '👍🏽'.repeat(30),
  ),
);
const anyText = fc.array(piece, { maxLength: 40 }).map((pieces) => cleanText(pieces.join('')));

describe('every text is cut', () => {
  test('without loss, at exact places, within the size, and never inside a grapheme', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        for (const [chunker, max] of [
          [small, 40],
          [usual, 400],
        ] as const) {
          const chunks = chunker.chunk(documentOf(text));
          expectSound(documentOf(text), chunks, max);
          expectWholeGraphemes(text, chunks);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('alike each time', () => {
    fc.assert(
      fc.property(anyText, (text) => Bun.deepEquals(small.chunk(documentOf(text)), small.chunk(documentOf(text)))),
    );
  });

  test('in linear time, however little there is to cut at', () => {
    const n = 200_000;
    const hostile = [
      'a',
      '.',
      '中',
      '。',
      ' ',
      '\n',
      '\t',
      '|',
      '"',
      '."',
      'e\u0301',
      '\u0301',
      '\u0600',
      '👩‍👩‍👧‍👦',
      '🇨🇳',
      '# x\n',
      '```\n',
      '- ',
      'a\t',
      '| x |\n',
    ];
    const times = hostile.map((unit) => {
      const text = unit.repeat(n / unit.length);
      const started = performance.now();
      const chunks = usual.chunk(documentOf(text));
      const ms = performance.now() - started;
      expectSound(documentOf(text), chunks, 400);
      return { unit: JSON.stringify(unit), chunks: chunks.length, ms: Math.round(ms) };
    });
    printTable('Chunking 200,000 characters of one kind', times);
    // Quadratic would be minutes; the bound leaves room for a busy machine.
    for (const { ms } of times) expect(ms).toBeLessThan(3000);
  });
});

describe('a chunk', () => {
  test('ends with its section, and small sections share one', () => {
    const section = (title: string, sentences: number) =>
      `## ${title}\n\n${'Some words that fill the line here. '.repeat(sentences)}\n\n`;
    const chunks = small.chunk(documentOf(section('One', 3) + section('Two', 3)));
    expect(chunks.map(({ headings, text }) => [headings, text.startsWith('## ')])).toEqual([
      [['One'], true],
      [['Two'], true],
    ]);
    const tiny = small.chunk(documentOf('## A\n\nx\n\n## B\n\ny\n'));
    expect(texts(tiny)).toEqual(['## A\n\nx\n\n## B\n\ny']);
  });

  test('names the headings open where it starts', () => {
    const text = `# 手册\n\n## 请假\n\n${'员工请假应当提前申请。'.repeat(12)}\n\n### 病假\n\n${'病假需要医院证明。'.repeat(6)}\n\n## 加班\n\n加班须经批准。`;
    const paths = small.chunk(documentOf(text)).map(({ headings }) => headings.join(' / '));
    expect(paths[0]).toBe('手册');
    expect(paths).toContain('手册 / 请假');
    expect(paths).toContain('手册 / 请假 / 病假');
    expect(paths.at(-1)).toBe('手册 / 加班');
  });

  test('never ends with a heading', () => {
    const text = Array.from(
      { length: 30 },
      (_, i) => `## Section ${i}\n\n${'Words of a sentence. '.repeat((i % 7) + 1)}\n`,
    ).join('\n');
    for (const chunk of texts(small.chunk(documentOf(text)))) expect(chunk).not.toMatch(/(?:^|\n)## [^\n]*$/);
  });

  test('ends with a sentence, Chinese or English, and repeats the last one where a section goes on', () => {
    const sentences = Array.from({ length: 30 }, (_, i) => `第${i}条规定员工应当遵守。`);
    const chinese = small.chunk(documentOf(sentences.join('')));
    for (const { text } of chinese) expect(text).toEndWith('。');
    const english = Array.from({ length: 30 }, (_, i) => `Mr. Smith paid ${i}.50 for it. `).join('');
    for (const { text } of small.chunk(documentOf(english))) {
      expect(text).toStartWith('Mr. Smith');
      expect(text).toEndWith('for it.');
    }
    const overlapping = createStructuralChunker({ maxTokens: 60, targetTokens: 40, overlapTokens: 15, minTokens: 8 });
    const chunks = overlapping.chunk(documentOf(sentences.join('')));
    for (let i = 1; i < chunks.length; i++) expect(chunks[i]?.start).toBeLessThan(chunks[i - 1]?.end ?? 0);
  });

  test('holds whole rows of a table and whole items of a list', () => {
    const row = (i: number) => `| item ${i} | ${i * 3} | some note |`;
    const rows = Array.from({ length: 40 }, (_, i) => row(i)).join('\n');
    for (const { text } of small.chunk(documentOf(rows))) {
      for (const line of text.split('\n')) expect(line).toMatch(/^\| item \d+ \| \d+ \| some note \|$/);
    }
    const items = Array.from({ length: 40 }, (_, i) => `- point ${i} of the list`).join('\n');
    for (const { text } of small.chunk(documentOf(items))) {
      for (const line of text.split('\n')) expect(line).toMatch(/^- point \d+ of the list$/);
    }
  });

  test('knows the page it starts on', () => {
    const pages = ['First page of text. '.repeat(10), '', 'Third page of text. '.repeat(10)];
    let offset = 0;
    const spans = pages.map((page, i) => {
      const start = offset;
      offset += page.length + 2;
      return { page: i + 1, start, end: start + page.length };
    });
    const document = { text: pages.join('\n\n'), title: null, pages: spans, headings: [] };
    for (const { page, start } of small.chunk(document)) {
      const span = spans.findLast((candidate) => candidate.start <= start);
      expect(page).toBe(span?.page ?? null);
    }
  });

  test('does not exist where there is nothing to read', () => {
    expect(usual.chunk(documentOf(' \n\n\t \u3000'))).toEqual([]);
    expect(usual.chunk(documentOf(''))).toEqual([]);
  });
});

test('the version names everything that decides where is cut', () => {
  expect(createStructuralChunker({ overlapTokens: 0 }).version).not.toBe(usual.version);
  expect(createStructuralChunker().version).toBe(usual.version);
  expect(() => createStructuralChunker({ maxTokens: 100, targetTokens: 200 })).toThrow(RangeError);
});

describe('evidence of real questions', () => {
  if (!hasChunkingData)
    printSkipped('../shared/data/chunking is not here, so chunking is not measured on real questions.');

  test.skipIf(!hasChunkingData)('stands in the chunks at its exact offsets, nearly always in one', async () => {
    const byCorpus = Map.groupBy(await readQuestions(), ({ corpus }) => corpus);
    let whole = 0;
    let all = 0;
    const rows = [];
    for (const [corpus, questions] of byCorpus) {
      const document = documentOf(await readCorpus(corpus));
      const chunks = usual.chunk(document);
      expectSound(document, chunks, 400);
      const evidence = questions.flatMap((question) => question.evidence);
      for (const { start, end, content } of evidence) expect(document.text.slice(start, end)).toBe(content);
      const inOne = evidence.filter(({ start, end }) =>
        chunks.some((chunk) => chunk.start <= start && chunk.end >= end),
      );
      whole += inOne.length;
      all += evidence.length;
      const tokens = chunks.reduce((sum, chunk) => sum + chunk.tokens, 0) / chunks.length;
      rows.push({
        corpus,
        chunks: chunks.length,
        tokens: Math.round(tokens),
        evidence: evidence.length,
        inOneChunk: (inOne.length / evidence.length).toFixed(3),
      });
    }
    printTable('Evidence within one chunk', rows);
    expect(whole / all).toBeGreaterThan(0.97);
  });
});
