/** Real documents of this formats, through the real sandbox, against what a good extractor gets from them. */
import { afterAll, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { chunkDocument, createChunker } from '../../../src/ingest/chunker.ts';
import { ExtractError } from '../../../src/ingest/extract-error.ts';
import { createSandboxedExtractor } from '../../../src/ingest/sandbox.ts';
import { sniffFile } from '../../../src/ingest/sniff.ts';
import { AppError } from '../../../src/kernel/errors.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { printSkipped, printTable } from '../../support/documents-report.ts';

setDefaultTimeout(120_000);

const FOLDER = join(import.meta.dir, '../../../../shared/data/formats');
const hasData = existsSync(FOLDER);
if (!hasData) printSkipped('../shared/data/formats is not here, so no real documents were read.');

const extractor = createSandboxedExtractor({ logger: silentLogger });
afterAll(() => extractor.stop());

/** What must be found in documents that have no expected text. */
const PHRASES: Readonly<Record<string, readonly string[]>> = {
  'test.docx': ['AutoGen: Enabling Next-Gen LLM Applications', '49e168b7-d2ae-407f-a055-2167576f39a1', '| 1 | 2 | 3 |'],
  'test_with_comment.docx': ['This is a test comment. 12df-321a', 'Yet another comment in the doc. 55yiyi-asd09'],
  'equations.docx': ['For m=1', 'The angle is'],
  'rlink.docx': ['Testing Linked Images', 'A red and blue square'],
  'test_blog.html': [
    'Large language models (LLMs) are powerful tools',
    'an example where high cost can easily prevent a generic complex',
  ],
  'test_wikipedia.html': [
    'Microsoft entered the operating system (OS) business in 1980',
    'Microsoft was founded by Bill Gates',
  ],
  'test_serp.html': [
    'American multinational corporation',
    '1995–2007: Foray into the Web, Windows 95, Windows XP, and Xbox',
  ],
  'masterformat_partial_numbering.pdf': [
    'RFP for Construction Management Services',
    'The intent of this Request for Proposal',
  ],
};
const REFUSED: Readonly<Record<string, string>> = {
  'MEDRPT-2024-PAT-3847_medical_report_scan.pdf': 'needs_ocr',
};
const READABLE = new Set(['.pdf', '.docx', '.html', '.txt', '.md']);

async function outcomeOf(name: string) {
  const path = join(FOLDER, name);
  const started = performance.now();
  try {
    const { mediaType } = await sniffFile(path, name);
    const document = await extractor.extract({ path, mediaType, filename: name }, new AbortController().signal);
    return { code: 'read', document, ms: performance.now() - started };
  } catch (error) {
    if (error instanceof AppError) return { code: error.kind, ms: performance.now() - started };
    if (error instanceof ExtractError) return { code: error.code, ms: performance.now() - started };
    throw error;
  }
}

test.skipIf(!hasData)('every real document yields its text or a clear refusal', async () => {
  const names = (await readdir(FOLDER, { withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
  const chunker = createChunker();
  const rows: Record<string, string | number>[] = [];
  for (const name of names.sort()) {
    const { code, document, ms } = await outcomeOf(name);
    const expected = Bun.file(join(FOLDER, 'expected', name.replace(/\.\w+$/, '.md')));
    const known = document && extname(name) === '.pdf' && (await expected.exists());
    const recall = known ? recallOf(await expected.text(), document.text) : undefined;
    const chunks = document ? (await chunkDocument(chunker, document)).length : '';
    const chars = document?.text.length ?? '';
    rows.push({
      name,
      outcome: code,
      chars,
      pages: document?.pages.length || '',
      chunks,
      recall: recall?.toFixed(3) ?? '',
      ms: Math.round(ms),
    });

    expect(code).toBe(REFUSED[name] ?? (READABLE.has(extname(name)) ? 'read' : 'unsupported_media_type'));
    if (recall !== undefined) expect(recall).toBeGreaterThanOrEqual(0.95);
    for (const phrase of PHRASES[name] ?? []) expect(document?.text).toContain(phrase);
  }
  printTable('Real documents', rows);
  expect(rows.length).toBeGreaterThan(20);
});

/** Share of the expected words that are in the text, each as often as it is expected. */
function recallOf(expected: string, text: string): number {
  const words = (source: string) => source.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const left = new Map<string, number>();
  for (const word of words(text)) left.set(word, (left.get(word) ?? 0) + 1);
  const wanted = words(expected);
  let found = 0;
  for (const word of wanted) {
    const count = left.get(word) ?? 0;
    if (count > 0) found += 1;
    left.set(word, count - 1);
  }
  return found / Math.max(1, wanted.length);
}
