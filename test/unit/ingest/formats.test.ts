/** Real documents in many formats, through the real sandbox, against what a good extractor gets from them. */
import { afterAll, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { ExtractError } from '../../../src/ingest/extract-error.ts';
import { createSandboxedExtractor } from '../../../src/ingest/sandbox.ts';
import { sniffFile } from '../../../src/ingest/sniff.ts';
import { AppError } from '../../../src/kernel/errors.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { printSkipped, printTable } from '../../support/documents-report.ts';

// Recognising text in scans takes seconds a page, and on a busy machine a minute.
setDefaultTimeout(400_000);

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
  'test.pptx': [
    '2cdda5c8-e50e-4db4-b5f0-9722a649f455',
    '04191ea8-5c73-4215-a1d3-1cfb43aaaf12',
    '1b92870d-e3b5-4e65-8153-919f4ff45592',
  ],
  'test.xlsx': [
    'Alpha | Beta | Gamma | Delta',
    'Beta: 6ff4173b-42a5-4784-9b19-f49caff4d93d',
    'ColD: affc7dad-52dc-4b98-9b5d-51e65d8a8ad0',
  ],
  'test.xls': ['Beta: 6ff4173b-42a5-4784-9b19-f49caff4d93d', 'ColD: affc7dad-52dc-4b98-9b5d-51e65d8a8ad0'],
  'test.epub': ['# Chapter 1: Test Content', "Here's a second chapter with a different style."],
  'test.rtf': ['This is a Sample RTF File', 'It is included to test if the MarkItDown sample plugin'],
  'test.json': ['5b64c88c-b3c3-4510-bcb8-da0b200602d8', '9700dc99-6685-40b4-9a3a-5e406dcb37f3'],
  'test_notebook.ipynb': ['# Test Notebook', '```python\nprint("markitdown")\n```', '## Code Cell Below'],
  'test_rss.xml': [
    '# The Official Microsoft Blog',
    '## Ignite 2024: Why nearly 70% of the Fortune 500',
    'In the case of AI, it is absolutely true that the industry is moving incredibly fast',
  ],
  'test_mskanji.csv': ['名前: 佐藤太郎 | 年齢: 30 | 住所: 東京', '名前: 髙橋淳'],
  'test_outlook_msg.msg': [
    '# Test Email Message',
    'test.sender@example.com',
    'test.recipient@example.com',
    'This is the body of the test email message',
  ],
  'test_llm.jpg': ['5bda1dd6'],
  'test.jpg': ['AutoGen: Enabling Next-Gen LLM'],
  'MEDRPT-2024-PAT-3847_medical_report_scan.pdf': ['COMPREHENSIVE MEDICAL REPORT', 'Jonathan Michael Harrison'],
  'masterformat_partial_numbering.pdf': [
    'RFP for Construction Management Services',
    'The intent of this Request for Proposal',
  ],
};
/** Everything else is read. */
const REFUSED: Readonly<Record<string, string>> = {
  'random.bin': 'unsupported_media_type',
  'test_files.zip': 'unsupported_media_type',
};

async function outcomeOf(name: string) {
  const path = join(FOLDER, name);
  const started = performance.now();
  try {
    const { mediaType } = await sniffFile(path, name);
    const document = await extractor.extract({ path, mediaType, filename: name }, new AbortController().signal);
    return { code: 'read', document, ms: performance.now() - started };
  } catch (error) {
    const ms = performance.now() - started;
    if (error instanceof AppError) return { code: error.kind, message: error.message, ms };
    if (error instanceof ExtractError) return { code: error.code, message: error.message, ms };
    throw error;
  }
}

test.skipIf(!hasData)('every real document yields its text or a clear refusal', async () => {
  const names = (await readdir(FOLDER, { withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
  const rows: Record<string, string | number>[] = [];
  for (const name of names.sort()) {
    const { code, document, message, ms } = await outcomeOf(name);
    const expected = Bun.file(join(FOLDER, 'expected', name.replace(/\.\w+$/, '.md')));
    const known = document && extname(name) === '.pdf' && (await expected.exists());
    const recall = known ? recallOf(await expected.text(), document.text) : undefined;
    const chars = document?.text.length ?? '';
    rows.push({
      name,
      outcome: code,
      chars,
      pages: document?.pages.length || '',
      recall: recall?.toFixed(3) ?? '',
      ms: Math.round(ms),
    });

    expect([name, code]).toEqual([name, REFUSED[name] ?? 'read']);
    if (message !== undefined) expect(message).toMatch(/^[A-Z].{20,}\.$/);
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
