/** Long documents in bounded memory: of the worker, and of the child that reads them. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Extractor } from '../../../src/contracts/index.ts';
import { createSandboxedExtractor } from '../../../src/ingest/sandbox.ts';
import { textPieces } from '../../../src/ingest/text-pieces.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import type { Service } from '../../../src/kernel/service.ts';
import { outcomeOf } from '../../support/documents-extract.ts';

setDefaultTimeout(120_000);

const never = new AbortController().signal;
const MIB = 1024 * 1024;
/** What reading may take of memory, whatever the length: Bun itself is some 60 MB of each. */
const CHILD_MB = 260;
const PARENT_GROWTH_MB = 160;

let folder: string;
let extractor: Extractor & Service;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dreamhub-streaming-'));
  extractor = createSandboxedExtractor({ logger: silentLogger, temporaryFolder: folder, maxChildren: 1 });
});
afterEach(async () => {
  await extractor.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A file of a part, as often as it takes to be of some length. */
function long(part: string, bytes: number, before = '', after = ''): string {
  const path = join(folder, crypto.randomUUID());
  const file = openSync(path, 'w');
  const block = Buffer.from(part.repeat(Math.ceil(MIB / Buffer.byteLength(part))));
  writeSync(file, before);
  for (let written = 0; written < bytes; written += block.length) writeSync(file, block);
  writeSync(file, after);
  closeSync(file);
  return path;
}

/** The most memory that any child of ours had at once, in MiB. */
function peakOfChildren(): number {
  const { stdout } = Bun.spawnSync(['ps', '-o', 'pid=,args=', '--ppid', String(process.pid)]);
  const pids = stdout
    .toString()
    .split('\n')
    .filter((line) => line.includes('extract-child'))
    .map((line) => Number.parseInt(line, 10));
  expect(pids.length).toBeGreaterThan(0);
  const peaks = pids.map((pid) => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]));
  return Math.max(...peaks) / 1024;
}

describe('a document of more text than anybody holds', () => {
  const sentence = 'The quick brown fox jumps over the lazy dog; 数据库连接失败，请稍后再试。\r\n';
  const cases: [string, string, () => string][] = [
    ['plain text', 'text/plain', () => long(sentence, 80 * MIB)],
    ['a single line', 'text/plain', () => long('words without an end ', 60 * MIB)],
    [
      'Markdown with headings',
      'text/markdown',
      () => long(`# A heading of some length\n\n${sentence.repeat(8)}`, 60 * MIB),
    ],
    ['JSON', 'application/json', () => long('{"id":1,"text":"lorem ipsum \\u6570\\n"},', 12 * MIB, '[', '1]')],
    [
      'XML',
      'application/xml',
      () => long('<item id="1"><name>Tea</name></item>', 6 * MIB, '<?xml version="1.0"?><list>', '</list>'),
    ],
    ['a table', 'text/csv', () => long('1,Ann,Oslo,3.5\n', 4 * MIB, 'id,name,city,amount\n')],
  ];
  for (const [title, mediaType, path] of cases) {
    test(`is read in pieces: ${title}`, async () => {
      const file = path();
      Bun.gc(true);
      const before = process.memoryUsage.rss();
      const extracted = await extractor.extractFile({ path: file, mediaType, filename: 'a' }, never);
      let chars = 0;
      let most = 0;
      for await (const piece of textPieces(extracted)) {
        chars += piece.length;
        most = Math.max(most, process.memoryUsage.rss());
        expect(piece.isWellFormed()).toBe(true);
      }
      expect(chars).toBe(extracted.chars);
      expect(chars).toBeGreaterThan(3 * MIB);
      expect(peakOfChildren()).toBeLessThan(CHILD_MB);
      expect((most - before) / MIB).toBeLessThan(PARENT_GROWTH_MB);
      await extracted.release();
    });
  }

  test('is too large only for who wants it whole', async () => {
    const file = long(sentence, 40 * MIB);
    const request = { path: file, mediaType: 'text/plain', filename: 'a' };
    expect(await outcomeOf(extractor.extract(request, never))).toBe('too_large');
    const { chars, release } = await extractor.extractFile(request, never);
    expect(chars).toBeGreaterThan(16_000_000);
    await release();
    await release();
    const [home = ''] = await readdir(folder).then((names) =>
      names.filter((name) => name.startsWith('dreamhub-extract-')),
    );
    expect(await readdir(join(folder, home))).toEqual([]);
  });
});
