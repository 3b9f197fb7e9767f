/** Files made to harm their reader, through the type decision and the real sandbox as an upload goes. */
import { afterAll, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSandboxedExtractor } from '../../../src/ingest/sandbox.ts';
import { needsWholeFile, sniffFile, sniffMediaType } from '../../../src/ingest/sniff.ts';
import { messageOf } from '../../../src/kernel/errors.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { MB, peakOf, resetPeak } from '../../bench/support/process-stats.ts';
import { outcomeOf } from '../../support/documents-extract.ts';
import { HOSTILE_FILES, type HostileFile } from '../../support/documents-hostile.ts';
import { printTable } from '../../support/documents-report.ts';

setDefaultTimeout(240_000);

const folder = await mkdtemp(join(tmpdir(), 'dreamhub-hostile-'));
/** What reading one may take: of the child that does it, and of the process that asked for it. */
const CHILD_MB = 400;
const OWN_GROWTH_MB = 150;
const extractor = createSandboxedExtractor({
  logger: silentLogger,
  temporaryFolder: folder,
  limits: { memoryMb: CHILD_MB },
});
afterAll(async () => {
  await extractor.stop();
  await rm(folder, { recursive: true, force: true });
});

const never = new AbortController().signal;

/** The most that any of them made this process grow, in bytes. */
let grown = 0;

async function take({ filename, content }: HostileFile): Promise<{ text: string; names: string[] }> {
  const path = join(folder, crypto.randomUUID());
  await writeFile(path, content());
  // What building the file took is not what reading it takes.
  Bun.gc(true);
  await resetPeak(process.pid);
  const before = await peakOf(process.pid);
  try {
    const head = new Uint8Array(await Bun.file(path).slice(0, 65_536).arrayBuffer());
    const sniff = needsWholeFile(head) ? sniffFile(path, filename) : sniffMediaType(head, filename);
    const { mediaType } = await sniff;
    const document = await extractor.extractFile({ path, mediaType, filename }, never);
    const text = await Bun.file(document.textPath).text();
    await document.release();
    return { text, names: document.files.map(({ name }) => name) };
  } finally {
    grown = Math.max(grown, (await peakOf(process.pid)) - before);
    await rm(path);
  }
}

test('every hostile file ends as it must, in bounded memory, and readers live on', async () => {
  expect(HOSTILE_FILES.length).toBeGreaterThanOrEqual(60);
  const rows: Record<string, string | number>[] = [];
  const wrong: string[] = [];
  for (const file of HOSTILE_FILES) {
    const started = performance.now();
    const taken = take(file);
    const outcome = await outcomeOf(taken);
    const ms = Math.round(performance.now() - started);
    rows.push({ file: file.title, name: file.filename.slice(0, 30), outcome, ms });
    if (outcome !== file.outcome)
      wrong.push(`${file.title} (${file.filename.slice(0, 30)}): ${outcome}, not ${file.outcome}`);
    const { text, names } = await taken.catch((error: unknown) => {
      // In words that a person understands, which a library's are not.
      const words = messageOf(error);
      if (!/^[A-Z].{15,}\.$/.test(words) || /undefined|null|Error|\bat \w+ \(|0x/.test(words)) wrong.push(words);
      return { text: '', names: [] };
    });
    expect(text).not.toContain('root:');
    expect(text).not.toContain('alert(');
    expect(text).not.toContain('\0');
    expect(names.filter((name) => name.length > 255 || /[/\\]|^\.\.?$/.test(name))).toEqual([]);
  }
  printTable('Hostile files', rows);
  expect(wrong).toEqual([]);
  process.stdout.write(`this process grew by ${(grown / MB).toFixed(0)} MB at most\n`);
  expect(grown / MB).toBeLessThan(OWN_GROWTH_MB);
  const plain = { title: '', filename: 'a.html', content: () => '<p>still here</p>', outcome: 'read' };
  expect((await take(plain)).text).toBe('still here');
});
