import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  CHUNKING_STRATEGIES,
  type Chunk,
  type Chunking,
  type ExtractedDocument,
} from '../../../src/contracts/index.ts';
import { readChunking } from '../../../src/ingest/chunk-rules.ts';
import { createChunkStream } from '../../../src/ingest/chunk-stream.ts';
import { createChunker } from '../../../src/ingest/chunker.ts';
import { createCl100kCounter } from '../../../src/ingest/cl100k-counter.ts';
import { cleanText } from '../../../src/ingest/clean-text.ts';
import { markdownHeadings } from '../../../src/ingest/markdown-headings.ts';
import { estimatingCounter, type TokenCounter } from '../../../src/ingest/token-counter.ts';
import { hasChunkingData, readCorpus, readQuestions } from '../../support/documents-questions.ts';
import { printSkipped, printTable } from '../../support/documents-report.ts';

const documentOf = (text: string): ExtractedDocument => ({
  text,
  title: null,
  pages: [],
  headings: markdownHeadings(text),
});

const SMALL: Chunking = { strategy: 'structural', chunk_tokens: 40, chunk_overlap: 8 };
const USUAL = createChunker().defaults;

function cut(document: ExtractedDocument, chunking: Chunking, counter: TokenCounter = estimatingCounter): Chunk[] {
  const stream = createChunkStream(document, chunking, counter);
  return stream.push(document.text).concat(stream.end());
}
const small = { chunk: (document: ExtractedDocument) => cut(document, SMALL) };
const usual = { chunk: (document: ExtractedDocument) => cut(document, USUAL) };
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

const anyChunking = fc
  .record({
    strategy: fc.constantFrom(...CHUNKING_STRATEGIES),
    chunk_tokens: fc.integer({ min: 32, max: 120 }),
    share: fc.integer({ min: 0, max: 50 }),
  })
  .map(
    ({ strategy, chunk_tokens, share }): Chunking => ({
      strategy,
      chunk_tokens,
      chunk_overlap: Math.floor((chunk_tokens * share) / 100),
    }),
  );

describe('every text is cut', () => {
  test('without loss, at exact places, within the size, and never inside a grapheme, whatever was chosen', () => {
    fc.assert(
      fc.property(anyText, anyChunking, (text, chunking) => {
        const chunks = cut(documentOf(text), chunking);
        expectSound(documentOf(text), chunks, chunking.chunk_tokens);
        expectWholeGraphemes(text, chunks);
      }),
      { numRuns: 500 },
    );
  });

  test('by the vocabulary of a model as well', () => {
    const counter = createCl100kCounter();
    fc.assert(
      fc.property(anyText, anyChunking, (text, chunking) => {
        const chunks = cut(documentOf(text), chunking, counter);
        expectSound(documentOf(text), chunks, chunking.chunk_tokens);
        expectWholeGraphemes(text, chunks);
      }),
      { numRuns: 150 },
    );
  });

  test('alike, however the text is divided on its way', () => {
    const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 12 });
    fc.assert(
      fc.property(anyText, anyChunking, cuts, (text, chunking, lengths) => {
        const document = documentOf(text);
        const stream = createChunkStream(document, chunking, estimatingCounter);
        const chunks: Chunk[] = [];
        let at = 0;
        for (const length of lengths) {
          chunks.push(...stream.push(text.slice(at, at + length)));
          at += length;
        }
        chunks.push(...stream.push(text.slice(at)), ...stream.end());
        expect(chunks).toEqual(cut(document, chunking));
      }),
      { numRuns: 400 },
    );
  });

  test('alike in pieces where lines are too long to wait for', () => {
    const units = ['word ', '中', '👩‍👩‍👧‍👦', 'e\u0301', 'Some sentence. ', '| a ', '.'];
    for (const strategy of CHUNKING_STRATEGIES) {
      for (const unit of units) {
        const document = documentOf(unit.repeat(200_000 / unit.length));
        const chunking = { ...USUAL, strategy };
        const whole = cut(document, chunking);
        expectSound(document, whole, chunking.chunk_tokens);
        const stream = createChunkStream(document, chunking, estimatingCounter);
        const pieces: Chunk[] = [];
        for (let at = 0; at < document.text.length; at += 7_001) {
          pieces.push(...stream.push(document.text.slice(at, at + 7_001)));
        }
        pieces.push(...stream.end());
        expect(pieces.length).toBe(whole.length);
        expect(Bun.deepEquals(pieces, whole)).toBe(true);
      }
    }
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
    const chunks = cut(documentOf(sentences.join('')), { strategy: 'structural', chunk_tokens: 60, chunk_overlap: 20 });
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

describe('a strategy', () => {
  const text = `# One\n\n${'A sentence of eight words stands right here. '.repeat(6)}\n\n# Two\n\n${'Another sentence of words. '.repeat(30)}`;

  test('fills a chunk with whole sentences, across sections', () => {
    const chunks = cut(documentOf(text), { strategy: 'sentence', chunk_tokens: 100, chunk_overlap: 15 });
    for (const chunk of texts(chunks)) expect(chunk).toEndWith('.');
    expect(texts(chunks).some((chunk) => chunk.includes('right here.') && chunk.includes('# Two'))).toBe(true);
    for (const { tokens } of chunks.slice(0, -1)) expect(tokens).toBeGreaterThan(80);
  });

  test('cuts windows of one length at words, with what is asked for repeated', () => {
    const chunks = cut(documentOf(text), { strategy: 'fixed', chunk_tokens: 64, chunk_overlap: 16 });
    for (const [i, { start, end, tokens }] of chunks.slice(0, -1).entries()) {
      expect(tokens).toBeGreaterThan(52);
      const next = chunks[i + 1];
      expect(next?.start).toBeGreaterThan(start);
      expect(next?.start).toBeLessThan(end);
    }
    for (const chunk of texts(chunks)) expect(chunk).toMatch(/^\S.*\S$/s);
    expect(text.slice(chunks[0]?.end).startsWith(' ') || text.slice(chunks[0]?.end).startsWith('\n')).toBe(true);
  });

  test('is refused by name where it or its sizes cannot be', () => {
    const wrong = (choice: Parameters<typeof readChunking>[0]) => {
      const errors: { path: string }[] = [];
      readChunking(choice, errors as never);
      return errors.map(({ path }) => path);
    };
    expect(readChunking({}, [])).toBeNull();
    expect(readChunking({ chunk_tokens: 200 }, [])).toEqual({
      strategy: 'structural',
      chunk_tokens: 200,
      chunk_overlap: 23,
    });
    expect(wrong({ strategy: 'magic' })).toEqual(['strategy']);
    expect(wrong({ chunk_tokens: 31 })).toEqual(['chunk_tokens']);
    expect(wrong({ chunk_tokens: 4001 })).toEqual(['chunk_tokens']);
    expect(wrong({ chunk_tokens: 1.5 })).toEqual(['chunk_tokens']);
    expect(wrong({ chunk_tokens: 100, chunk_overlap: 51 })).toEqual(['chunk_overlap']);
    expect(wrong({ chunk_overlap: -1 })).toEqual(['chunk_overlap']);
  });
});

test('the version names everything that decides where is cut', () => {
  const version = (chunking: Partial<Chunking>) => createChunker({ defaults: { ...USUAL, ...chunking } }).version;
  expect(version({ chunk_overlap: 0 })).not.toBe(version({}));
  expect(version({ strategy: 'sentence' })).not.toBe(version({}));
  expect(version({})).toBe(createChunker().version);
  expect(() => version({ chunk_tokens: 100, chunk_overlap: 60 })).toThrow();
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
